"""What every room's tests need before they start."""

from __future__ import annotations

import pytest

from dure.bootstrap import prepare_compilation


def pytest_configure(config: pytest.Config) -> None:
    """Compiled functions are cached under a name made from their sources, so a test never runs yesterday's kernel."""
    prepare_compilation()
