"""Where each figure is expected to lie, so that a loss is seen that no promise notices.

`expected.toml` is written by people; `--write-expected` only proposes. Its ranges hold for the machine it names.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.measurement import Figure, Measurement, Skipped

EXPECTED_FILE = Path(__file__).parent / "expected.toml"
LOWEST, HIGHEST = 0.6, 1.6
"""A proposed range reaches from this part of what was measured to this part: a shared machine varies so much."""

Range = tuple[float, float]


def read_expected(path: Path) -> dict[str, Range]:
    """Lowest and highest expected value of each figure by name."""
    text = path.read_text("utf-8") if path.exists() else ""
    return {name: (float(low), float(high)) for name, (low, high) in tomllib.loads(text).items()}


def proposed(figures: Iterable[Figure]) -> dict[str, Range]:
    """A range around each measured value."""
    measured = [each for each in figures if isinstance(each, Measurement)]
    return {each.name: (_rounded(each.value * LOWEST), _rounded(each.value * HIGHEST)) for each in measured}


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def as_toml(ranges: Mapping[str, Range], machine: Mapping[str, str]) -> str:
    """The file's text, figures in alphabetical order."""
    lines = [
        "# Where each figure of `make bench` is expected to lie: [lowest, highest]. The table marks what lies outside.",
        "# Edit by hand, or have ranges proposed by `make bench ARGS=--write-expected` and look at the difference.",
        "#",
        *(f"# {name}: {value}" for name, value in machine.items()),
        "",
        *(f"{json.dumps(name)} = [{low:.15g}, {high:.15g}]" for name, (low, high) in sorted(ranges.items())),
    ]
    return "\n".join(lines) + "\n"


def verdict(figure: Figure, expected: Mapping[str, Range]) -> str:
    """What is to be said about a figure: skipped, MISSED, kept, and whether it lies where it was expected."""
    if isinstance(figure, Skipped):
        return "skipped"
    if not figure.keeps_promise:
        return "MISSED"
    said = ["kept"] if figure.must is not None else []
    low, high = expected.get(figure.name, (figure.value, figure.value))
    if not low <= figure.value <= high:
        is_worse = (figure.value < low) == (figure.better == "more")
        said.append("WORSE than expected" if is_worse else "better than expected")
    return ", ".join(said)
