"""The table of `make bench`, and the machine that the figures are from."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.expected import Range, verdict
from benchmarks.measurement import Figure, Skipped

HEAD = ("FIGURE", "VALUE", "UNIT", "MUST", "AIM", "VERDICT", "COMPARED TO")
RIGHT_ALIGNED = {1, 3, 4}


def describe_machine() -> dict[str, str]:
    """What the figures depend on; the load is that of the last minute, before anything was measured."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "software": f"Python {platform.python_version()}, NumPy {version('numpy')}, Numba {version('numba')}",
        "system": f"{platform.system()} {platform.machine()}",
        "load at start": f"{os.getloadavg()[0]:.2f}",
    }


def _processor() -> str:
    """The model where Linux tells it, else what Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"


def as_row(figure: Figure, expected: Mapping[str, Range]) -> dict[str, object]:
    """A figure for programs."""
    return asdict(figure) | {"verdict": verdict(figure, expected), "expected": expected.get(figure.name)}


def as_table(figures: Iterable[Figure], expected: Mapping[str, Range]) -> str:
    """All figures for people."""
    rows = [HEAD, *(_cells(each, expected) for each in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join("  ".join(_aligned(row, widths)).rstrip() for row in rows)


def _cells(figure: Figure, expected: Mapping[str, Range]) -> tuple[str, ...]:
    if isinstance(figure, Skipped):
        return (figure.name, "-", "", "", "", "skipped", figure.reason)
    numbers = [_number(each) for each in (figure.value, figure.must, figure.aim)]
    value, must, aim = numbers
    return (figure.name, value, figure.unit, must, aim, verdict(figure, expected), figure.compared_to)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell.rjust(width) if column in RIGHT_ALIGNED else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
