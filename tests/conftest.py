"""What every room's tests need before they start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dure.bootstrap import compile_everything, prepare_compilation


def pytest_configure(config: pytest.Config) -> None:
    """Compiled functions are cached under a name made from their sources, so a test never runs yesterday's kernel.

    They are compiled here, once, before workers start that would each compile them for themselves.
    """
    prepare_compilation()
    if not hasattr(config, "workerinput"):
        compile_everything()
        _compile_the_twin()


def _compile_the_twin() -> None:
    finished = Path(os.environ["NUMBA_CACHE_DIR"]) / "twin-finished"
    if not finished.exists() and os.environ.get("NUMBA_DISABLE_JIT", "0") == "0":
        from dure.twin.run import warm_up

        warm_up()
        finished.touch()
