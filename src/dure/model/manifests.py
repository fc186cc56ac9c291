"""What a copy of a dataset holds, file by file, so that two copies can be told to be the same by one digest."""

from __future__ import annotations

import hashlib

from msgspec import Struct


class ManifestEntry(Struct, frozen=True, kw_only=True):
    """One file: its path inside the dataset with `/` between the parts, its size, and its SHA-256 in hexadecimal."""

    path: str
    size_bytes: int
    sha256: str


class ContentManifest(Struct, frozen=True, kw_only=True):
    """All files of a dataset, ordered by path."""

    entries: tuple[ManifestEntry, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes in all files together."""
        return sum(each.size_bytes for each in self.entries)

    @property
    def text(self) -> str:
        """A line per file: digest, size, path. No path has a line break, so the text can be read in one way only."""
        return "".join(f"{each.sha256} {each.size_bytes} {each.path}\n" for each in self.entries)

    @property
    def digest(self) -> str:
        """SHA-256 of the text in hexadecimal: what the nation file has as a dataset's `digest`."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def manifest_from_text(text: str) -> ContentManifest:
    """The manifest that this text is. Raises `ValueError`, naming the line, when it is none."""
    lines = text.removesuffix("\n").split("\n") if text else []
    manifest = ContentManifest(entries=tuple(_entry(number, line) for number, line in enumerate(lines, 1)))
    if manifest.text != text:
        raise ValueError("it is not written as `dure data manifest` writes it")
    return manifest


def _entry(number: int, line: str) -> ManifestEntry:
    sha256, _, rest = line.partition(" ")
    size, _, path = rest.partition(" ")
    if len(sha256) != 64 or not path or not (size.isascii() and size.isdigit() and len(size) <= 18):
        raise ValueError(f"line {number} is not a digest, a size and a path")
    return ManifestEntry(path=path, size_bytes=int(size), sha256=sha256)


def differences(declared: ContentManifest, found: ContentManifest) -> tuple[str, ...]:
    """How what was found differs from what was declared, a line per file, by path."""
    before = {each.path: each for each in declared.entries}
    after = {each.path: each for each in found.entries}
    lines = []
    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            lines.append(f"missing: {path}")
        elif path not in before:
            lines.append(f"added: {path}")
        elif before[path] != after[path]:
            lines.append(f"changed: {path}")
    return tuple(lines)
