"""The executors: this machine's, and those of the sites that the engines file names."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dure.bootstrap.state import StartError

if TYPE_CHECKING:
    from dure.control.control import Control
    from dure.control.orders import EngineAddress, Engines
    from dure.control.ports import Executor
    from dure.executors.engines_file import EngineSite
    from dure.executors.ray.site import RaySite
    from dure.executors.slurm.site import SlurmSite

ENGINE_PATIENCE_S = 10.0
"""How long a new leader waits for the engine of one that is just ending."""


def make_engines(state: Path, engine_sites: Mapping[str, EngineSite] | None = None) -> Engines:
    """The executors of this machine, and of each site that the engines file names. Raises `StartError`."""
    from dure.control.orders import LOCAL, Engines
    from dure.executors.contract import ExecutorError
    from dure.executors.local.environment import USUAL_TERMS, Terms
    from dure.executors.local.executor import LocalExecutor

    sites = engine_sites or {}
    # Local sites are all this machine, and have one executor.
    terms = next((site for site in sites.values() if isinstance(site, Terms)), USUAL_TERMS)
    opened: dict[EngineAddress, Executor] = {}
    try:
        opened[LOCAL] = LocalExecutor(state / "local", terms)
        for name, site in sites.items():
            if not isinstance(site, Terms):
                address, executor = _open_engine(name, site)
                opened[address] = executor
    except ExecutorError as error:
        Engines(opened).close(kill=False)
        raise StartError(str(error)) from None
    return Engines(opened)


def _open_engine(name: str, site: SlurmSite | RaySite) -> tuple[EngineAddress, Executor]:
    from dure.control.orders import EngineAddress
    from dure.executors.ray.site import RaySite
    from dure.model.fleet import Engine

    # Each is loaded only where it is used: the server starts sooner without.
    if isinstance(site, RaySite):
        from dure.executors.ray.executor import RayExecutor

        return EngineAddress(Engine.RAY, name), RayExecutor(site)
    from dure.executors.slurm.executor import SlurmExecutor

    return EngineAddress(Engine.SLURM, name), SlurmExecutor(site)


def read_engines(path: Path | None) -> dict[str, EngineSite]:
    """What the engines file says, if there is one. Raises `StartError`."""
    if path is None:
        return {}
    from dure.executors.contract import ExecutorError
    from dure.executors.engines_file import read_engines_file

    try:
        return read_engines_file(path)
    except ExecutorError as error:
        raise StartError(str(error)) from None


@contextmanager
def keeping_accounts(sites: Mapping[str, EngineSite], control: Control) -> Iterator[None]:
    """Have Slurm's accounts follow the nation, at the sites where Dure keeps them."""
    if not sites:
        yield
        return
    from dure.executors.slurm.reconciling import AccountKeeper
    from dure.executors.slurm.site import SlurmSite

    with ExitStack() as stack:
        for name, site in sites.items():
            if isinstance(site, SlurmSite) and site.account_root:
                stack.enter_context(closing(AccountKeeper(name, site, lambda: control.world.nation)))
        yield


def engines_when_free(state: Path, sites: Mapping[str, EngineSite]) -> Engines:
    """The executors, which a leader that has just been replaced may hold for another moment."""
    deadline = time.monotonic() + ENGINE_PATIENCE_S
    while True:
        try:
            return make_engines(state, sites)
        except StartError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
