"""What every room's tests need before they start."""

from __future__ import annotations

import pytest

from dure.bootstrap import compile_everything, compile_twin, prepare_compilation


def pytest_configure(config: pytest.Config) -> None:
    """Compiled functions are cached under a name made from their sources, so a test never runs yesterday's kernel.

    They are compiled here, once, before workers start that would each compile them for themselves.
    """
    prepare_compilation()
    if not hasattr(config, "workerinput"):
        compile_everything()
        compile_twin()
