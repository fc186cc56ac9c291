"""Makes Slurm's accounts what the nation says, again and again: when the nation changed, and every few minutes."""

from __future__ import annotations

import logging
import os
import pwd
import threading
from collections.abc import Callable

from msgspec import Struct

from dure.executors.contract import ExecutorError
from dure.executors.slurm.accounts import FIELDS, QUERY, commands, read_accounts, wanted_accounts
from dure.executors.slurm.commands import Commands, SlurmRefused
from dure.executors.slurm.settings import read_settings
from dure.executors.slurm.site import SlurmSite
from dure.model.nation import Nation

_LOG = logging.getLogger(__name__)
_EVERY_S = 300.0
"""How often accounts are compared although the nation has not changed: somebody may have changed Slurm."""
_LOOK_EVERY_S = 1.0
_CLOSING_PATIENCE_S = 1.0


class Reconciliation(Struct, frozen=True, kw_only=True):
    """What was told to Slurm, and what it would not do, in its words."""

    told: tuple[tuple[str, ...], ...]
    problems: tuple[str, ...] = ()


def reconcile_accounts(nation: Nation, site_name: str, site: SlurmSite) -> Reconciliation:
    """Compare once, and change what differs. Raises `ExecutorError` while Slurm's database does not answer."""
    slurm = Commands(site)
    user = pwd.getpwuid(os.getuid()).pw_name
    cluster = _cluster(slurm)
    listing = slurm.run("sacctmgr", *QUERY, f"cluster={cluster}", FIELDS)
    wanted = wanted_accounts(nation, site_name, site)
    told = commands(wanted, read_accounts(listing, site, user), cluster, user)
    problems = []
    for each in told:
        try:
            slurm.run("sacctmgr", "--immediate", *each)
        except SlurmRefused as refused:
            # Such as an account that still has jobs and cannot be deleted yet; the others are made all the same.
            problems.append(f"{' '.join(each)}: {refused}")
    return Reconciliation(told=tuple(told), problems=tuple(problems))


class AccountKeeper:
    """A thread that reconciles one site's accounts for as long as the platform runs."""

    def __init__(self, site_name: str, site: SlurmSite, nation_now: Callable[[], Nation]) -> None:
        self._site_name = site_name
        self._site = site
        self._nation_now = nation_now
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"slurm-accounts-{site_name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; what it is at may be cut short, and is done again by the next server."""
        self._closing.set()
        self._thread.join(_CLOSING_PATIENCE_S)

    def _keep(self) -> None:
        seen: Nation | None = None
        idle_s = 0.0
        while not self._closing.wait(_LOOK_EVERY_S):
            idle_s += _LOOK_EVERY_S
            nation = self._nation_now()
            if nation is seen and idle_s < _EVERY_S:
                continue
            seen = nation if self._reconcile(nation) else None
            idle_s = 0.0

    def _reconcile(self, nation: Nation) -> bool:
        """Compare once; False when it must be done again soon."""
        try:
            done = reconcile_accounts(nation, self._site_name, self._site)
        except ExecutorError as error:
            _LOG.warning("the accounts of site %s could not be compared: %s", self._site_name, error)
            return False
        for problem in done.problems:
            _LOG.warning("the accounts of site %s: %s", self._site_name, problem)
        return True


def _cluster(slurm: Commands) -> str:
    """The name that this Slurm has in its database."""
    name = read_settings(slurm).get("ClusterName")
    if not name:
        raise ExecutorError("scontrol shows no ClusterName; is slurm.conf complete?")
    return name
