"""Reading a table of text (CSV, plain or gzip) column by column, with errors that name file, line, column and value."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from dure.model.units import SECOND_MS
from dure.sources.errors import BadTrace
from dure.sources.trace import Column


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of text by name. `lines` says on which line of the file each row stood."""

    path: Path
    lines: Sequence[int]
    columns: dict[str, Sequence[str]]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.lines)

    def __contains__(self, column: str) -> bool:
        """True when the file has this column."""
        return column in self.columns

    def whole_numbers(self, column: str, least: int, most: int) -> Column:
        """A column of whole numbers between `least` and `most`, both included."""
        expected = f"a whole number from {least:,} to {most:,}"
        values = self._converted(column, _floats, expected)
        self.require((values >= least) & (values <= most) & (values == np.rint(values)), column, expected)
        whole: Column = values.astype(np.int64)
        return whole

    def milliseconds(self, column: str, least_s: int, most_s: int) -> Column:
        """A column of seconds, with or without a fraction, as milliseconds."""
        expected = f"seconds from {least_s:,} to {most_s:,}"
        values = self._converted(column, _floats, expected)
        self.require((values >= least_s) & (values <= most_s), column, expected)
        rounded: Column = np.rint(values * SECOND_MS).astype(np.int64)
        return rounded

    def date_seconds(self, column: str) -> Column:
        """A column of dates like `2017-10-09 07:01:55`, as seconds since the epoch, with no time zone applied."""
        example = "2017-10-09 07:01:55"
        expected = f"a date and time like {example}"
        lengths = np.array([len(text) for text in self.columns[column]], dtype=np.int64)
        self.require(lengths == len(example), column, expected)
        seconds: Column = self._converted(column, _dates, expected).astype(np.int64)
        return seconds

    def only(self, rows: NDArray[np.bool_]) -> Table:
        """The table without the other rows."""
        kept = np.flatnonzero(rows).tolist()
        columns: dict[str, Sequence[str]] = {name: [texts[row] for row in kept] for name, texts in self.columns.items()}
        return Table(self.path, [self.lines[row] for row in kept], columns)

    def require(self, good: NDArray[np.bool_], column: str, expected: str) -> None:
        """Raise `BadTrace` for the first row that is not good."""
        if not good.all():
            raise self.complaint(int(np.argmin(good)), column, expected)

    def complaint(self, row: int, column: str, expected: str) -> BadTrace:
        """The error to raise for one row of a column."""
        return BadTrace(self.path, expected, line=self.lines[row], column=column, value=self.columns[column][row])

    def _converted(self, column: str, convert: Callable[[Sequence[str]], NDArray[Any]], expected: str) -> NDArray[Any]:
        """A whole column converted at once; only when that fails, one by one to find the row to blame."""
        texts = self.columns[column]
        try:
            return convert(texts)
        except ValueError:
            row = next(row for row, text in enumerate(texts) if not _converts(convert, text))
            raise self.complaint(row, column, expected) from None


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """The rows of a CSV file (plain or `.gz`) whose header names exactly these columns, in any order.

    Those in `optional` may be missing. Blank lines are skipped. Raises `BadTrace` for a file that cannot be read, is
    empty, has other columns, or has a row with too few or too many fields.
    """
    with _opened(path) as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = next(reader, [])
            _check_header(path, header, columns, optional)
            numbered = [(reader.line_num, row) for row in reader if row]
        except csv.Error as error:
            raise BadTrace(path, f"comma-separated values ({error})", line=reader.line_num) from None
    if not numbered:
        raise BadTrace(path, "at least one row below the header")
    for line, row in numbered:
        if len(row) != len(header):
            raise BadTrace(path, f"{len(header)} fields ({', '.join(header)}), but there are {len(row)}", line=line)
    lines, rows = zip(*numbered, strict=True)
    return Table(path, lines, dict(zip(header, zip(*rows, strict=True), strict=True)))


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> None:
    layout = f"the columns {', '.join(columns)}"
    if not header:
        raise BadTrace(path, f"{layout}, but the file is empty")
    if unknown := [name for name in header if name not in columns]:
        raise BadTrace(path, layout, line=1, column=str(header.index(unknown[0]) + 1), value=unknown[0])
    if missing := [name for name in columns if name not in header and name not in optional]:
        raise BadTrace(path, f"{layout}; {missing[0]!r} is missing", line=1)
    if len(header) > len(set(header)):
        raise BadTrace(path, f"{layout}, each once", line=1)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The file as text, whatever its packing, with every way in which reading can fail told as a `BadTrace`."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
                yield stream
        else:
            with path.open(encoding="utf-8", newline="") as stream:
                yield stream
    except FileNotFoundError:
        raise BadTrace(path, "a file, but there is none of this name") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadTrace(path, f"a complete gzip file ({error})") from None
    except UnicodeDecodeError as error:
        raise BadTrace(path, f"text in UTF-8 (byte {error.start} is not); packed files must end in .gz") from None
    except OSError as error:
        raise BadTrace(path, f"a file that can be read ({error.strerror})") from None


def _floats(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array(list(map(float, texts)), dtype=np.float64)


def _dates(texts: Sequence[str]) -> NDArray[np.datetime64]:
    return np.array(texts, dtype="datetime64[s]")


def _converts(convert: Callable[[Sequence[str]], object], text: str) -> bool:
    try:
        convert((text,))
    except ValueError:
        return False
    return True
