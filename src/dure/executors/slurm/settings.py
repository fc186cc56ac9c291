"""Settings of Slurm that work badly with Dure, and what to set instead; `docs/operate/engines-slurm.md` says why."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from dure.executors.slurm.commands import Commands
from dure.executors.slurm.site import SlurmSite

_SLOWEST_BACKFILL_S = 10


class Unwise(Struct, frozen=True):
    """One setting as it is, and what to do about it."""

    message: str
    advice: str


def read_settings(slurm: Commands) -> dict[str, str]:
    """Slurm's configuration as its controller has it. Raises `ExecutorError` when that does not answer."""
    pairs = (line.partition("=") for line in slurm.run("scontrol", "show", "config").splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def unwise_settings(settings: Mapping[str, str], site: SlurmSite) -> list[Unwise]:
    """What should be set otherwise, in the order of how much it may cost."""
    found = []
    if settings.get("ProctrackType") != "proctrack/cgroup":
        message = f"ProctrackType is {settings.get('ProctrackType')}: what loses its parents may outlive its job"
        found.append(Unwise(message, "set ProctrackType=proctrack/cgroup"))
    if _backfill_interval_s(settings) > _SLOWEST_BACKFILL_S:
        message = f"the backfill scheduler looks every {_backfill_interval_s(settings)} s, so starts may take as long"
        found.append(Unwise(message, "add bf_interval=5 to SchedulerParameters"))
    if site.account_root:
        found.extend(_about_accounts(settings, site))
    return found


def _about_accounts(settings: Mapping[str, str], site: SlurmSite) -> list[Unwise]:
    found = []
    if "limits" not in settings.get("AccountingStorageEnforce", ""):
        message = "accounts are kept (`account_root`), but Slurm does not enforce their limits"
        found.append(Unwise(message, "set AccountingStorageEnforce=associations,limits,safe"))
    tracked = settings.get("AccountingStorageTRES", "").split(",")
    wanted = ["gres/gpu", *(f"gres/gpu:{kind}" for kind in site.gpu_types.values())]
    missing = [each for each in wanted if each not in tracked]
    if missing:
        advice = f"add {','.join(missing)} to AccountingStorageTRES"
        found.append(Unwise("limits and usage of GPUs are not kept in Slurm's database", advice))
    if "job_env" in settings.get("AccountingStoreFlags", ""):
        message = "Slurm keeps the environment of jobs for good, and half of each job's secrets with it"
        found.append(Unwise(message, "take job_env out of AccountingStoreFlags"))
    return found


def _backfill_interval_s(settings: Mapping[str, str]) -> int:
    parameters = dict(part.partition("=")[::2] for part in settings.get("SchedulerParameters", "").split(","))
    interval = parameters.get("bf_interval", "30")
    return int(interval) if interval.isdecimal() else 30
