"""Traces of real clusters are not part of the project; tests that need one are skipped by name when it is absent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dure.sources.locate import TRACE_FILES, VARIABLE, trace_folder


@pytest.fixture(scope="session")
def traces() -> Callable[[str], Path]:
    """The path of a file in the trace folder, by a name in `TRACE_FILES` or its path; skips the test without it."""

    def find(name: str) -> Path:
        folder = trace_folder()
        wanted = TRACE_FILES.get(name, Path(name))
        if folder is None or not (folder / wanted).is_file():
            pytest.skip(f"trace file {wanted} is absent; name a folder that has it in {VARIABLE}")
        return folder / wanted

    return find
