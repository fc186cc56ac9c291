"""`python -m dure.executors.inspection`: reads results and the data beside them, and says what it found.

It runs at the site, at low priority, and reads only: a question comes in as JSON, the findings go out as JSON. Contents
do not leave it, and names leave it in no other way.
"""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from dure.executors.outputs import OutputFolder
from dure.governance.inspection import terms as judging
from dure.governance.inspection.copies import Copies
from dure.governance.inspection.media_types import HEAD_BYTES, JSON_LINES, TABULAR, delimiter_of, media_type
from dure.governance.inspection.rows import ResultTable, Row
from dure.governance.inspection.terms import InspectionTerms
from dure.governance.inspection.texts import TextCheck
from dure.model.results import Finding, InspectedResult, ResultKind

_CHUNK_BYTES = 1 << 20
_LONGEST_CELL = 1 << 20
_LOG_NAME = re.compile(r"rank\d+\.log")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Question(Struct, frozen=True, kw_only=True):
    """Which attempts to look at, by number and folder, and the files and folders of data to compare with."""

    attempts: dict[int, str]
    data: tuple[str, ...]
    terms: InspectionTerms


class _Result:
    """One result while it is inspected."""

    def __init__(self, attempt: int, kind: ResultKind, path: str, size_bytes: int) -> None:
        self.attempt = attempt
        self.kind = kind
        self.path = path
        self.size_bytes = size_bytes
        self.media_type = ""
        self.sha256 = ""
        self.findings: list[Finding] = []
        self.table: ResultTable | None = None

    def inspected(self) -> InspectedResult:
        """All that is known of it, under a salt of its own."""
        return InspectedResult(
            attempt=self.attempt,
            kind=self.kind,
            path=self.path,
            size_bytes=self.size_bytes,
            salt=os.urandom(16).hex(),
            media_type=self.media_type,
            sha256=self.sha256,
            findings=tuple(self.findings),
        )


class Inspection:
    """Inspects the results of one job."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._terms = question.terms
        self._deadline = time.monotonic() + question.terms.seconds
        self._results: list[_Result] = []
        self._compared_bytes = 0
        self._is_whole = True
        """All of the data was compared."""

    def run(self) -> tuple[InspectedResult, ...]:
        """List, read, compare. Results come by attempt, kind and path, which is the order of their numbers."""
        for attempt, folder in sorted(self._question.attempts.items()):
            self._list(attempt, folder)
        self._results.sort(key=lambda each: (each.attempt, each.kind, each.path))
        readable = [each for each in self._results if not each.findings]
        size_bytes = sum(each.size_bytes for each in readable)
        over = judging.budget_findings(self._terms, len(self._results), size_bytes)
        if over:
            # Nobody may make the inspection read without end; what is over the budget is not released by one person.
            self._note_all(over[0])
            self._note_all(judging.not_compared(0))
        else:
            self._look_into(readable, size_bytes)
        return tuple(each.inspected() for each in self._results)

    def _list(self, attempt: int, folder: str) -> None:
        listing = OutputFolder(folder).listing(is_over=True)
        for file in listing.files if listing else ():
            result = _Result(attempt, ResultKind.OUTPUT, file.path, file.size_bytes)
            result.media_type, result.sha256 = file.media_type, file.sha256
            if file.problem:
                result.findings.append(judging.NO_FILE)
            self._results.append(result)
        if listing and not listing.is_complete:
            too_many = judging.budget_findings(self._terms, self._terms.most_files + 1, 0)
            self._results.append(_Result(attempt, ResultKind.OUTPUT, "(more)", 0))
            self._results[-1].findings += [judging.NO_FILE, *too_many]
        for name in sorted(filter(_LOG_NAME.fullmatch, os.listdir(folder))):
            self._results.append(_log(attempt, folder, name))

    def _look_into(self, results: list[_Result], size_bytes: int) -> None:
        copies = Copies(size_bytes)
        for number, result in enumerate(results):
            copies.add(number, self._checked(result))
            result.findings += judging.type_findings(self._terms, result.media_type)
            if result.media_type in TABULAR:
                rows = _rows(self._chunks(result), result.media_type)
                result.table = ResultTable(rows, self._terms.smallest_group)
        self._compare(copies, [each.table for each in results if each.table])
        for number, result in enumerate(results):
            result.findings += judging.copy_findings(copies.copied_bytes(number))
            if result.table:
                result.findings += judging.row_findings(result.table)
            if not self._is_whole:
                result.findings.append(judging.not_compared(self._compared_bytes))

    def _checked(self, result: _Result) -> Iterator[bytes]:
        """The content of a result, which is judged by itself as it passes."""
        check = TextCheck()
        for piece in self._chunks(result):
            check.take(piece)
            yield piece
        result.findings += judging.text_findings(check, result.media_type)

    def _chunks(self, result: _Result) -> Iterator[bytes]:
        folder = self._question.attempts[result.attempt]
        if result.kind is ResultKind.OUTPUT:
            return OutputFolder(folder).read(result.path)
        return _read(os.path.join(folder, result.path))

    def _compare(self, copies: Copies, tables: list[ResultTable]) -> None:
        """Read all of the data past the results, as far as time allows."""
        for path in self._question.data:
            if not os.path.isabs(path):
                self._is_whole = False  # data that is not declared any more has only a name
                continue
            for file in _files(path):
                if not self._compare_file(file, copies, tables):
                    self._is_whole = False
                    return
            self._is_whole = self._is_whole and os.path.exists(path)

    def _compare_file(self, path: str, copies: Copies, tables: list[ResultTable]) -> bool:
        try:
            before = self._compared_bytes
            for read in copies.look_in(_read(path)):
                self._compared_bytes = before + read
                if time.monotonic() > self._deadline:
                    return False
            head = next(_read(path), b"")[:HEAD_BYTES]
            kind = media_type(head)
            for table in tables if kind in TABULAR else ():
                for _ in table.compare(_rows(_read(path), kind)):
                    if time.monotonic() > self._deadline:
                        return False
        except OSError:
            return False
        return True

    def _note_all(self, finding: Finding) -> None:
        for each in self._results:
            each.findings.append(finding)


def _log(attempt: int, folder: str, name: str) -> _Result:
    import hashlib

    digest = hashlib.sha256()
    size = 0
    head = b""
    for piece in _read(os.path.join(folder, name)):
        head = head or piece[:HEAD_BYTES]
        digest.update(piece)
        size += len(piece)
    result = _Result(attempt, ResultKind.LOG, name, size)
    result.media_type, result.sha256 = media_type(head), digest.hexdigest()
    return result


def _read(path: str) -> Iterator[bytes]:
    descriptor = os.open(path, _FILE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no file")
        while piece := os.read(descriptor, _CHUNK_BYTES):
            yield piece
    finally:
        os.close(descriptor)


def _files(path: str) -> Iterator[str]:
    """The files of a dataset's copy, in order. Links in it are not followed."""
    path = os.path.realpath(path)
    if not os.path.isdir(path):
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(file).st_mode):
                yield file


class _Pieces(io.RawIOBase):
    """Pieces as a file, so that text can be read from them line by line."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._pieces, b"")
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


def _rows(pieces: Iterable[bytes], kind: str) -> Iterator[Row]:
    """The rows of a table, the names of its columns first. What is no row ends it."""
    buffered = io.BufferedReader(_Pieces(pieces))
    head = buffered.peek(HEAD_BYTES)[:HEAD_BYTES]
    lines = io.TextIOWrapper(buffered, "utf-8-sig", errors="replace", newline="")
    if kind == JSON_LINES:
        yield from _objects(lines)
        return
    csv.field_size_limit(_LONGEST_CELL)
    try:
        yield from csv.reader(lines, delimiter=delimiter_of(head) or ",")
    except csv.Error:
        return


def _objects(lines: Iterable[str]) -> Iterator[Row]:
    names: list[str] = []
    for line in lines:
        try:
            found = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(found, dict):
            if not names:
                names = [str(name) for name in found]
                yield names
            yield [str(found.get(name, "")) for name in names]


def main() -> None:
    """Answer the question on standard input."""
    os.nice(10)
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    sys.stdout.buffer.write(msgspec.json.encode(Inspection(question).run()))


if __name__ == "__main__":
    main()
