"""An engine per test, and the proof that the test left no process behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from . import ray_cluster as ray_cluster_parts
from . import slurm_cluster
from .engines import ENGINES, Engine, eventually, local_engine, processes_of
from .ray_cluster import RayCluster
from .slurm_cluster import SlurmCluster


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each engine in turn, for what every engine must do alike."""
    yield from _closed_after_use(ENGINES[request.param](request, tmp_path / "state"))


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A real Slurm, started once for all tests of this process."""
    if reason := slurm_cluster.missing():
        pytest.skip(reason)
    with closing(SlurmCluster()) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """A real Ray, started once for all tests of this process."""
    if reason := ray_cluster_parts.missing():
        pytest.skip(reason)
    with closing(RayCluster(Path(tempfile.mkdtemp(prefix="ray")))) as cluster:
        cluster.start()
        yield cluster
    shutil.rmtree(cluster.folder)


@pytest.fixture
def own_slurm(slurm: SlurmCluster) -> Iterator[SlurmCluster]:
    """A Slurm for one test, which may leave it in disorder: it takes a minute to forget what happened to it."""
    with closing(SlurmCluster()) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Engine]:
    """The local engine, for what only it does."""
    yield from _closed_after_use(local_engine(tmp_path / "state"))


def _closed_after_use(engine: Engine) -> Iterator[Engine]:
    yield engine
    engine.executor.close(kill=True)
    eventually(lambda: not processes_of(engine.folder), "no process is left behind")
