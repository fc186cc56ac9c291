"""`make bench`: measure what Dure promises, and print it beside the promise and beside what others reach.

`make bench ARGS="kernel ledger"` measures only those rooms. Exit code 1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.expected import EXPECTED_FILE, as_toml, proposed, read_expected, verdict
from benchmarks.measurement import Figure
from benchmarks.printing import as_row, as_table, describe_machine
from dure.bootstrap import prepare_compilation

ROOMS = tuple(
    sorted(path.stem for path in Path(__file__).parent.glob("*.py") if "\ndef measure()" in path.read_text("utf-8"))
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, compare. Returns the exit code."""
    options = _parse(arguments)
    prepare_compilation()
    machine = describe_machine()
    figures: list[Figure] = []
    for room in options.rooms or ROOMS:
        print(f"measuring {room} ...", file=sys.stderr, flush=True)
        figures += importlib.import_module(f"benchmarks.{room}").measure()
    expected = read_expected(EXPECTED_FILE)
    if options.json:
        print(json.dumps({"machine": machine, "figures": [as_row(each, expected) for each in figures]}, indent=1))
    else:
        print(as_table(figures, expected))
        print("\n" + "\n".join(f"{name}: {value}" for name, value in machine.items()))
    if options.write_expected:
        EXPECTED_FILE.write_text(as_toml(expected | proposed(figures), machine), "utf-8")
        print(f"wrote {EXPECTED_FILE.name}: read what changed before you commit it", file=sys.stderr)
    return int(any(verdict(each, expected) == "MISSED" for each in figures))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure what Dure promises.")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"what to measure, of {', '.join(ROOMS)} (all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-expected", action="store_true", help="propose ranges around what is measured now")
    options = parser.parse_args(arguments)
    if unknown := [room for room in options.rooms if room not in ROOMS]:
        parser.error(f"there is no benchmark {unknown[0]!r}; choose from {', '.join(ROOMS)}")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
