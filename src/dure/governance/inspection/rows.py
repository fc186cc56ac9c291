"""Rows of a result that point at few rows of the data: the smallest group rule of statistical disclosure control.

A row of a result is held against the data on the columns that both have by name. One that fits fewer rows than the
smallest group says something about somebody; one that has all columns of the data is a copy of it, in whatever order.
See Hundepool et al., "Handbook on Statistical Disclosure Control" (2010), 3.2 and 5.2: minimum frequency.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

MOST_ROWS = 500_000
"""Rows of one result that are held in memory. A larger table is not checked, which its check says."""

COUNT_COLUMNS = frozenset(
    {"n", "count", "counts", "size", "freq", "frequency", "support", "건수", "빈도", "인원", "명수"}
)
"""Columns that say how many there are of something."""

Row = Sequence[str]


class ResultTable:
    """One table among the results. The first row has the names of its columns."""

    def __init__(self, rows: Iterable[Row], smallest_group: int) -> None:
        self._smallest_group = smallest_group
        every = iter(rows)
        self._columns = _names(next(every, ()))
        self._rows: list[Row] = []
        self.is_whole = True
        """False when it has more rows than can be checked."""
        for row in every:
            if len(self._rows) == MOST_ROWS:
                self.is_whole = False
                break
            self._rows.append(tuple(cell.strip() for cell in row))
        self.copied_rows = 0
        self.rare_rows = 0

    @property
    def rare_groups(self) -> int:
        """Rows whose own count is below the smallest group, but not zero."""
        counted = [place for place, name in enumerate(self._columns) if name in COUNT_COLUMNS]
        return sum(any(self._is_small(row, place) for place in counted) for row in self._rows)

    def compare(self, data: Iterable[Row]) -> Iterator[int]:
        """Hold it against a table of the data. Yields how many rows it has read, now and then."""
        every = iter(data)
        names = _names(next(every, ()))
        shared = [(self._columns.index(name), place) for place, name in enumerate(names) if name in self._columns]
        if not shared:
            return
        own = [self._projected(row, [mine for mine, _ in shared]) for row in self._rows]
        fitting = dict.fromkeys(own, 0)
        theirs = [place for _, place in shared]
        for number, row in enumerate(every, 1):
            key = self._projected([cell.strip() for cell in row], theirs)
            if key in fitting:
                fitting[key] += 1
            if number % 10_000 == 0:
                yield number
        counts = [fitting[key] for key in own]
        if len(shared) == len(names) > 1:
            self.copied_rows = max(self.copied_rows, sum(count > 0 for count in counts))
        rare = sum(0 < count < self._smallest_group for count in counts)
        self.rare_rows = max(self.rare_rows, rare)

    def _is_small(self, row: Row, place: int) -> bool:
        cell = row[place] if place < len(row) else ""
        return cell.isascii() and cell.isdigit() and len(cell) < 18 and 0 < int(cell) < self._smallest_group

    @staticmethod
    def _projected(row: Row, places: list[int]) -> Row:
        return tuple(row[place] if place < len(row) else "" for place in places)


def _names(header: Row) -> list[str]:
    return [name.strip().lower() for name in header]
