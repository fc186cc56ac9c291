"""Puts bugs into a copy of the sources, one at a time, and sees that a test finds each: `make mutants`.

The list is `mutants.toml`; MUTANTS.md says how to add to it. Everything runs as plain Python, so nothing is compiled.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "dure"
PATIENCE_S = 240
"""A bug may make the kernel go round for ever; that is found, too."""
FAILED = 1
"""Exit code of pytest when tests ran and some failed; anything else is no verdict."""


class Mutant(Struct, frozen=True, kw_only=True):
    """A bug: `old`, which the file has exactly once, becomes `new`; then `test` fails."""

    bug: str
    file: str
    old: str
    new: str
    test: str


def mutants() -> list[Mutant]:
    """The whole list, in the order of the file."""
    listed = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text("utf-8"))["mutant"]
    return msgspec.convert(listed, list[Mutant])


@contextmanager
def copied_sources() -> Iterator[Path]:
    """A copy of the package, to be spoilt."""
    with tempfile.TemporaryDirectory(prefix="dure-mutants-") as folder:
        copy = Path(folder) / "src" / "dure"
        shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__"))
        yield copy


def passes(copy: Path, tests: Sequence[str]) -> bool:
    """True when the tests pass on a copy of the sources, False when one fails or never ends.

    Raises `RuntimeError` when there was no verdict, because a test does not exist or the sources cannot be imported.
    """
    environment = os.environ | {
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(copy.parent), str(ROOT)]),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:randomly", *tests]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, FAILED):
        raise RuntimeError(f"pytest gave no verdict on {', '.join(tests)}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def survives(mutant: Mutant, copy: Path) -> bool:
    """True when the test that should find the bug passes with it. The copy is whole again afterwards."""
    path = copy / mutant.file
    whole = path.read_text("utf-8")
    path.write_text(whole.replace(mutant.old, mutant.new), "utf-8")
    try:
        return passes(copy, [mutant.test])
    finally:
        path.write_text(whole, "utf-8")


def main() -> int:
    """Try the mutants whose bug contains one of the words given, or all; 1 when one survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.mutants", description=main.__doc__)
    parser.add_argument("words", nargs="*", help="only bugs that contain one of these")
    words = parser.parse_args().words
    chosen = [each for each in mutants() if not words or any(word in each.bug for word in words)]
    with copied_sources() as copy:
        if not passes(copy, sorted({each.test for each in chosen})):
            print("a test fails without any bug put in; mend that first")
            return 1
        survivors = [each for each in chosen if _told(each, survives(each, copy))]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} found")
    return 1 if survivors else 0


def _told(mutant: Mutant, survived: bool) -> bool:
    print(f"{'SURVIVED' if survived else 'found   '}  {mutant.bug}  ({mutant.test})", flush=True)
    return survived


if __name__ == "__main__":
    sys.exit(main())
