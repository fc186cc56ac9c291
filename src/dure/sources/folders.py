"""A folder of files becomes a content manifest. Only what the folder itself holds counts: no link is followed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dure.model.manifests import ContentManifest, ManifestEntry
from dure.sources.errors import BadFolder


def manifest_of(folder: Path) -> ContentManifest:
    """The files in a folder and those below it. Raises `BadFolder` for what no manifest can name, or nobody read."""
    if not folder.is_dir():
        raise BadFolder(f"{folder}: there is no such folder")
    try:
        entries = tuple(sorted(_entries(folder, ""), key=lambda each: each.path))
    except OSError as error:
        raise BadFolder(f"{error.filename or folder}: cannot be read ({error.strerror})") from None
    if not entries:
        raise BadFolder(f"{folder}: the folder holds no file, so there is no data in it")
    return ContentManifest(entries=entries)


def _entries(folder: Path, inside: str) -> Iterator[ManifestEntry]:
    with os.scandir(folder) as found:
        for each in found:
            path = f"{inside}{each.name}"
            if not _is_plain(path):
                raise BadFolder(f"{folder}: the name {each.name!r} is not plain text; rename it")
            if each.is_symlink():
                raise BadFolder(f"{each.path}: a link is not content; put the file itself there, or remove it")
            if each.is_dir(follow_symlinks=False):
                yield from _entries(Path(each.path), f"{path}/")
            else:
                yield _entry(each.path, path)


def _entry(name: str, path: str) -> ManifestEntry:
    # The entry may have become something else since it was listed, so the open file is asked what it is.
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BadFolder(f"{name}: is not a regular file; a dataset holds files and folders only")
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if os.fstat(file.fileno()).st_size != status.st_size:
            raise BadFolder(f"{name}: it changed while it was read; try again when nobody writes to it")
    return ManifestEntry(path=path, size_bytes=status.st_size, sha256=digest)


def _is_plain(path: str) -> bool:
    """Names that are not text, or that would break a line, cannot be told apart by people."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return path.isprintable()
