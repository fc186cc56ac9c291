"""What every room's tests need before they start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from dure.bootstrap import compile_everything, compile_twin, prepare_compilation
from tests.postgres import PostgresServer, running_postgres

# How long something takes says more about the machine's other work than about a test.
settings.register_profile("dure", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dure")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server that a worker's tests share, each in a database of its own."""
    with running_postgres() as server:
        yield server


def pytest_configure(config: pytest.Config) -> None:
    """Compiled functions are cached under a name made from their sources, so a test never runs yesterday's kernel.

    They are compiled here, once, before workers start that would each compile them for themselves.
    """
    prepare_compilation()
    if not hasattr(config, "workerinput"):
        compile_everything()
        compile_twin()
