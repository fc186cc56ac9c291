"""The output folder of an attempt, read without trusting anything that the job put there.

Every name is opened inside of its own folder, by that folder's descriptor, and never through a link; what was opened is
looked at again before a byte of it is read. So nothing outside of the folder is ever read or deleted, whatever the job
made of it, and no pipe or device is ever waited for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

import msgspec

from dure.executors.contract import ExecutorError
from dure.executors.local import records
from dure.executors.local.folders import open_up_and_retry
from dure.executors.local.limits import USUAL_OUTPUT_BYTES, USUAL_OUTPUT_FILES
from dure.governance.inspection.media_types import HEAD_BYTES, media_type
from dure.model.outputs import OutputFile, OutputListing, OutputProblem

DEEPEST_FOLDER = 16
LONGEST_PATH = 1024
_CHUNK_BYTES = 1 << 20
_LONGEST_SHOWN = 200
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: opening a pipe would wait for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OutputFolder:
    """What one attempt left. `folder` is the attempt's own."""

    def __init__(self, folder: str, most_bytes: int = USUAL_OUTPUT_BYTES, most_files: int = USUAL_OUTPUT_FILES) -> None:
        self._attempt = folder
        self._path = os.path.join(folder, records.OUTPUTS)
        self._most_bytes = most_bytes
        self._most_files = most_files

    def listing(self, *, is_over: bool) -> OutputListing | None:
        """All that is in it; None where there is no such folder. Types and digests are there once the attempt is over.

        They are found once and then kept beside the folder.
        """
        if is_over and (kept := self._kept()) is not None:
            return kept
        try:
            root = os.open(self._path, _FOLDER)
        except OSError:
            return None
        try:
            found = Listing(self._most_bytes, self._most_files, with_content=is_over).of(root)
        finally:
            os.close(root)
        if is_over:
            records.replace(self._attempt, records.LISTING, msgspec.to_builtins(found), durable=False)
        return found

    @contextmanager
    def open(self, path: str) -> Iterator[int]:
        """A descriptor of one of its files, for as long as it is needed. Raises `ExecutorError` when it has none."""
        *folders, name = path.split("/")
        opened: list[int] = []
        try:
            opened.append(os.open(self._path, _FOLDER))
            for each in folders:
                opened.append(os.open(_plain(each, path), _FOLDER, dir_fd=opened[-1]))
            opened.append(os.open(_plain(name, path), _FILE, dir_fd=opened[-1]))
            if _problem_of(os.fstat(opened[-1])):
                raise _no_file(path)
            yield opened[-1]
        except OSError as error:
            raise _no_file(path) from error
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def read(self, path: str) -> Iterator[bytes]:
        """The content of one of its files, in pieces. Raises `ExecutorError` when it has no such file."""
        with self.open(path) as file:
            while piece := os.read(file, _CHUNK_BYTES):
                yield piece

    def discard(self, path: str) -> None:
        """Delete one of its files, if it is still there."""
        *folders, name = path.split("/")
        opened: list[int] = []
        try:
            opened.append(os.open(self._path, _FOLDER))
            for each in folders:
                opened.append(os.open(_plain(each, path), _FOLDER, dir_fd=opened[-1]))
            os.unlink(_plain(name, path), dir_fd=opened[-1])
        except FileNotFoundError:
            return
        except OSError as error:
            raise ExecutorError(f"the output {path} cannot be deleted: {error.strerror}") from error
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def wipe(self) -> None:
        """Delete all that is in it, also what the job closed to its own user, and what was noted about it."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._path, onerror=open_up_and_retry)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self._attempt, records.LISTING))

    def _kept(self) -> OutputListing | None:
        record = records.read(self._attempt, records.LISTING)
        return msgspec.convert(record, OutputListing) if record else None


class Listing:
    """Makes one listing, within limits on what is read and how much is named."""

    def __init__(self, most_bytes: int, most_files: int, *, with_content: bool) -> None:
        self._most_bytes = most_bytes
        self._left = most_files
        self._with_content = with_content
        self._is_complete = True
        self._files: list[OutputFile] = []

    def of(self, root: int) -> OutputListing:
        """Everything below an open folder."""
        self._walk(root, "", 1)
        files = tuple(sorted(self._files, key=lambda each: each.path))
        return OutputListing(files=files, is_complete=self._is_complete)

    def _walk(self, folder: int, prefix: str, depth: int) -> None:
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in islice(entries, self._left + 1))
        except OSError:
            self._is_complete = False
            return
        for name in names:
            if self._left == 0:
                self._is_complete = False
                return
            self._left -= 1
            self._take(folder, name, prefix + name, depth)

    def _take(self, folder: int, name: str, path: str, depth: int) -> None:
        if not (name.isprintable() and len(os.fsencode(path)) <= LONGEST_PATH):
            self._note(path, OutputProblem.NAME)
            return
        try:
            seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(seen.st_mode):
                self._enter(folder, name, path, depth)
            elif problem := _problem_of(seen):
                self._note(path, problem)
            else:
                self._files.append(self._read(folder, name, path, seen))
        except OSError:
            self._note(path, OutputProblem.UNREADABLE)

    def _enter(self, folder: int, name: str, path: str, depth: int) -> None:
        if depth == DEEPEST_FOLDER:
            self._note(path, OutputProblem.DEPTH)
            return
        inner = os.open(name, _FOLDER, dir_fd=folder)
        try:
            self._walk(inner, path + "/", depth + 1)
        finally:
            os.close(inner)

    def _read(self, folder: int, name: str, path: str, seen: os.stat_result) -> OutputFile:
        """A regular file, with what its content says. A file full of holes counts by what it pretends to be."""
        if not self._with_content:
            return OutputFile(path=path, size_bytes=seen.st_size)
        if seen.st_size > self._most_bytes:
            return OutputFile(path=path, size_bytes=seen.st_size, problem=OutputProblem.TOO_LARGE)
        file = os.open(name, _FILE, dir_fd=folder)
        try:
            opened = os.fstat(file)
            if _problem_of(opened) or (opened.st_dev, opened.st_ino) != (seen.st_dev, seen.st_ino):
                return OutputFile(path=path, problem=OutputProblem.UNREADABLE)
            return _described(file, path, opened.st_size)
        finally:
            os.close(file)

    def _note(self, path: str, problem: OutputProblem) -> None:
        self._files.append(OutputFile(path=ascii(path)[1:-1][:_LONGEST_SHOWN], problem=problem))


def _described(file: int, path: str, size_bytes: int) -> OutputFile:
    head = b""
    digest = hashlib.sha256()
    read = 0
    while piece := os.read(file, _CHUNK_BYTES):
        head = head or piece[:HEAD_BYTES]
        digest.update(piece)
        read += len(piece)
    if read != size_bytes:
        return OutputFile(path=path, problem=OutputProblem.UNREADABLE)
    return OutputFile(path=path, size_bytes=read, media_type=media_type(head), sha256=digest.hexdigest())


def _problem_of(seen: os.stat_result) -> OutputProblem | None:
    if stat.S_ISLNK(seen.st_mode):
        return OutputProblem.LINK
    if not stat.S_ISREG(seen.st_mode):
        return OutputProblem.SPECIAL
    return OutputProblem.HARD_LINK if seen.st_nlink > 1 else None


def _plain(name: str, path: str) -> str:
    if name in ("", ".", "..") or not name.isprintable():
        raise _no_file(path)
    return name


def _no_file(path: str) -> ExecutorError:
    return ExecutorError(f"there is no file {ascii(path)[1:-1][:_LONGEST_SHOWN]} among the outputs")
