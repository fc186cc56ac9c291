"""What can be wrong with data from outside, each as one sentence a person can act on.

BadSource
├── BadTrace     a trace file, or a row of it
├── BadFleet     a description of a fleet
├── BadFolder    a folder of data that no manifest can name
└── BadWorkload  a wish the generator cannot fulfil, or a trace that cannot run on the fleet
"""

from __future__ import annotations

from pathlib import Path


class BadSource(ValueError):
    """Data from outside cannot be used; the message says what, where and what to do."""


class BadTrace(BadSource):
    """A trace file is not what its format promises. `line` counts from 1; 0 and empty texts mean the whole file."""

    def __init__(self, path: Path, expected: str, *, line: int = 0, column: str = "", value: str = "") -> None:
        self.path = path
        self.line = line
        self.column = column
        self.value = value
        self.expected = expected
        where = f"{path}, line {line}" if line else str(path)
        if column:
            where += f", column {column}"
        found = f"found {shortened(value)!r}, " if column else ""
        super().__init__(f"{where}: {found}expected {expected}")


class BadFleet(BadSource):
    """A fleet cannot be read, or is larger than the twin can hold."""


class BadFolder(BadSource):
    """A folder of data cannot be read, or holds what no content manifest can name."""


class BadWorkload(BadSource):
    """The asked workload cannot exist on this fleet."""


LONGEST_QUOTED_VALUE = 40


def shortened(value: str) -> str:
    """A value short enough to quote: a broken file can hold a megabyte in one field."""
    return value if len(value) <= LONGEST_QUOTED_VALUE else value[: LONGEST_QUOTED_VALUE - 1] + "…"
