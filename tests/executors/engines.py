"""The engines under test, and how a test talks to one: real processes, no stand-ins."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import structs

from dure.executors.contract import Ended, Executor, Launch, NeverStarted, Observation, Refused, Started
from dure.executors.local.environment import USUAL_TERMS, Terms
from dure.executors.local.executor import LocalExecutor
from dure.executors.ray.executor import RayExecutor
from dure.executors.ray.site import RaySite
from dure.executors.slurm.executor import SlurmExecutor
from dure.executors.slurm.site import PlacedBy, SlurmSite
from dure.model.plan import Placement

from .ray_cluster import RayCluster

PATIENCE_S = 60.0
"""How long a test waits for what must happen; only a failing test ever waits so long."""


def launch(
    attempt_id: str = "job.1",
    *argv: str,
    ranks: int = 1,
    script: str = "",
    setup: str = "",
    workdir: str = "",
    env: dict[str, str] | None = None,
    secret_env: dict[str, str] | None = None,
    checkpoint_dir: str = "",
    placements: Sequence[Placement] | None = None,
) -> Launch:
    """An attempt on `ranks` nodes of two GPUs each."""
    whole_nodes = [Placement(node=f"seoul-{rank}", gpus=(0, 1), milli=1000) for rank in range(ranks)]
    return Launch(
        attempt_id=attempt_id,
        site="seoul",
        gpu_class="H100",
        organisation="hanbit",
        placements=tuple(whole_nodes if placements is None else placements),
        argv=argv,
        script=script,
        setup=setup,
        workdir=workdir,
        env=env or {},
        secret_env=secret_env or {},
        checkpoint_dir=checkpoint_dir,
    )


def shell(attempt_id: str, text: str, ranks: int = 1, env: dict[str, str] | None = None) -> Launch:
    """An attempt whose ranks run a line of shell."""
    return launch(attempt_id, "bash", "-c", text, ranks=ranks, env=env)


class Engine:
    """An engine and its state, which outlives the executor objects (one per life of a server) that use it."""

    def __init__(
        self,
        folder: Path,
        connect: Callable[[], Executor],
        *,
        adds: Callable[[str], bool] = lambda name: False,
        gives_parts: bool = True,
        chooses_gpus: bool = False,
    ) -> None:
        self.folder = folder
        self.adds = adds
        """True for a variable that the engine itself gives its jobs, besides Dure's."""
        self.gives_parts = gives_parts
        """It runs jobs on parts of a GPU."""
        self.chooses_gpus = chooses_gpus
        """Which GPUs of a node a rank gets is up to it."""
        self._connect = connect
        self.open()

    def open(self) -> None:
        """Begin a server's life."""
        self.seen: list[Observation] = []
        self._news = threading.Event()
        self.executor = self._connect()
        self.executor.on_observation(self._news.set)

    def wake(self) -> None:
        """Whoever waits for news looks for it."""
        self._news.set()

    def restart(self) -> None:
        """End a server's life, leaving everything running, and begin the next one."""
        self.executor.close(kill=False)
        self.open()

    def until(self, is_met: Callable[[list[Observation]], bool]) -> list[Observation]:
        """Wait for observations until they are as wanted; all that were seen."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self._news.clear()
            self.seen += self.executor.observe()
            if is_met(self.seen):
                return self.seen
            assert self._news.wait(deadline - time.monotonic()), f"waited in vain; seen so far: {self.seen}"

    def started(self, attempt_id: str) -> Started:
        """Wait until the attempt runs."""
        self.until(lambda seen: any(isinstance(each, Started) and each.attempt_id == attempt_id for each in seen))
        return next(each for each in self.seen if isinstance(each, Started) and each.attempt_id == attempt_id)

    def ended(self, attempt_id: str) -> Ended:
        """Wait until the attempt is over."""
        self.until(lambda seen: any(isinstance(each, Ended) and each.attempt_id == attempt_id for each in seen))
        return next(each for each in self.seen if isinstance(each, Ended) and each.attempt_id == attempt_id)

    def refused(self, attempt_id: str) -> Refused:
        """Wait until the engine says that it will never run the attempt."""
        self.until(lambda seen: any(isinstance(each, Refused) and each.attempt_id == attempt_id for each in seen))
        return next(each for each in self.seen if isinstance(each, Refused) and each.attempt_id == attempt_id)

    def never_started(self, attempt_id: str) -> NeverStarted:
        """Wait until the attempt is proven never to have run."""
        self.until(lambda seen: any(isinstance(each, NeverStarted) and each.attempt_id == attempt_id for each in seen))
        return next(each for each in self.seen if isinstance(each, NeverStarted) and each.attempt_id == attempt_id)

    def has_news(self) -> None:
        """Wait until there is something to observe, and leave it there."""
        assert self._news.wait(PATIENCE_S), "waited in vain for news"

    def run(self, order: Launch) -> Ended:
        """Start an attempt and wait for its end."""
        self.executor.start(order)
        return self.ended(order.attempt_id)

    def log(self, attempt_id: str, rank: int = 0) -> str:
        """What a rank has written."""
        path = self.executor.log_path(attempt_id, rank)
        assert path is not None
        return Path(path).read_text(encoding="utf-8")

    def processes(self) -> dict[int, str]:
        """Every living process that belongs to this engine's state, by number: what it was called with."""
        return processes_of(self.folder)


def local_engine(folder: Path, terms: Terms = USUAL_TERMS) -> Engine:
    """The engine that runs processes of this machine."""
    return Engine(folder, lambda: LocalExecutor(folder, terms))


def slurm_engine(folder: Path, conf: Path, **settings: object) -> Engine:
    """The engine that runs jobs of a Slurm, whose nodes Dure calls `seoul-0000` and so on."""
    site = SlurmSite(
        work_folder=str(folder),
        conf=str(conf),
        python=sys.executable,
        placement=PlacedBy.NODE,
        nodes={"seoul": "n[0-3]"},
        gpu_types={"H100": "h100"},
        poll_interval_s=1,
    )
    site = structs.replace(site, **settings)
    return Engine(folder, lambda: SlurmExecutor(site), adds=_is_slurms_own, gives_parts=False, chooses_gpus=True)


def ray_engine(folder: Path, cluster: RayCluster, **settings: object) -> Engine:
    """The engine that runs jobs of a Ray cluster, all on its one node."""
    site = RaySite(
        address=cluster.address,
        work_folder=str(folder),
        trust_domain=("hanbit",),
        token_file=str(cluster.token_file),
        spread=False,
        python=sys.executable,
        poll_interval_s=1,
    )
    site = structs.replace(site, **settings)
    return Engine(folder, lambda: RayExecutor(site), gives_parts=False, chooses_gpus=True)


def _is_slurms_own(variable: str) -> bool:
    return variable.startswith("SLURM_") or variable in {
        "GPU_DEVICE_ORDINAL",
        "ROCR_VISIBLE_DEVICES",
        "ZE_AFFINITY_MASK",
    }


def _on_this_machine(request: pytest.FixtureRequest, folder: Path) -> Engine:
    return local_engine(folder)


def _on_slurm(request: pytest.FixtureRequest, folder: Path) -> Engine:
    return slurm_engine(folder, request.getfixturevalue("slurm").conf)


def _on_ray(request: pytest.FixtureRequest, folder: Path) -> Engine:
    return ray_engine(folder, request.getfixturevalue("ray_cluster"))


ENGINES: dict[str, Callable[[pytest.FixtureRequest, Path], Engine]] = {
    "local": _on_this_machine,
    "ray": _on_ray,
    "slurm": _on_slurm,
}


def processes_of(folder: Path) -> dict[int, str]:
    """Every living process that was called with this folder, or carries it in its environment."""
    mark = os.fsencode(folder)
    found: dict[int, str] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            called_with = Path("/proc", name, "cmdline").read_bytes()
            if int(name) != os.getpid() and mark in called_with + Path("/proc", name, "environ").read_bytes():
                found[int(name)] = called_with.replace(b"\0", b" ").decode()
    return found


def helpers_of(folder: Path) -> tuple[list[int], list[int]]:
    """The local engine's supervisors and shims by number, told apart by the lock that each holds open."""
    supervisors, shims = [], []
    for pid, called_with in processes_of(folder).items():
        if "__main__.py" in called_with:
            open_files = _open_files(pid)
            if str(folder / "supervisor.lock") in open_files:
                supervisors.append(pid)
            elif any(each.endswith("/lock") for each in open_files):
                shims.append(pid)
    return supervisors, shims


def _open_files(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def eventually(is_met: Callable[[], bool], what: str) -> None:
    """Wait for something that no executor reports, such as a file that a job writes."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_met():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)
