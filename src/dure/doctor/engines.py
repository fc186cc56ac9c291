"""The engines of other sites: whether each can be reached from here, and has what was declared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from dure.doctor.findings import Finding, failure, warning, well
from dure.executors.contract import ExecutorError, NodeCapacity
from dure.executors.engines_file import read_engines_file
from dure.executors.local.environment import Terms
from dure.executors.ray.site import RaySite
from dure.executors.slurm.site import SlurmSite
from dure.model.nation import Nation


def examine_engines(engines_file: Path, nation: Nation | None) -> Iterator[Finding]:
    """Every site that the engines file names; held against the nation where that is known."""
    try:
        sites = read_engines_file(engines_file)
    except ExecutorError as error:
        yield failure("engines-file", str(error), "see docs/operate/engines.md")
        return
    yield well("engines-file", f"{engines_file} names {', '.join(sorted(sites)) or 'no site'}")
    for name, site in sorted(sites.items()):
        if not isinstance(site, Terms):
            yield _work_folder(name, site.work_folder)
            yield from _site(name, site, nation)
    for declared in nation.sites if nation else ():
        if declared.engine.value != "local" and declared.name not in sites:
            advice = f"add it to {engines_file}; until then nothing starts there"
            yield failure(
                f"engine {declared.name}", "the nation declares it, but no way to its engine is set up", advice
            )


def _work_folder(name: str, folder: str) -> Finding:
    about = f"work-folder {name}"
    if not os.path.isdir(folder) or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        advice = "make it, on a file system that the server and every node see at this path, writable by this user"
        return failure(about, f"{folder} cannot be written to from here", advice)
    return well(about, f"{folder} can be written to from here")


def _site(name: str, site: SlurmSite | RaySite, nation: Nation | None) -> Iterator[Finding]:
    about = f"engine {name}"
    try:
        nodes = _capacity(site)
    except ExecutorError as error:
        yield failure(about, str(error), "see docs/operate/engines.md; running jobs are not harmed by it")
        return
    away = [node for node in nodes if node.problem]
    gpus = sum(node.gpus for node in nodes)
    yield well(about, f"it answers: {len(nodes)} nodes with {gpus} GPUs")
    if away:
        shown = "; ".join(f"{node.name}: {node.problem}" for node in away[:5])
        yield warning(about, f"{len(away)} of {len(nodes)} nodes are not in service ({shown})", "look at them there")
    yield from _held_against(name, gpus, nation)
    if isinstance(site, SlurmSite):
        yield from _settings(name, site)


def _settings(name: str, site: SlurmSite) -> Iterator[Finding]:
    from dure.executors.slurm.commands import Commands
    from dure.executors.slurm.settings import read_settings, unwise_settings

    for each in unwise_settings(read_settings(Commands(site)), site):
        yield warning(f"slurm.conf {name}", each.message, each.advice)


def _held_against(name: str, gpus: int, nation: Nation | None) -> Iterator[Finding]:
    declared = next((site for site in nation.sites if site.name == name), None) if nation else None
    about = f"capacity {name}"
    if nation is not None and declared is None:
        yield warning(about, "the nation declares no site of this name", "declare it, or take it out of the file")
    if declared is None:
        return
    wanted = sum(group.count * group.gpus for group in declared.nodes)
    if wanted > gpus:
        advice = "declare what is there: jobs that are placed on the rest wait in the engine's own queue"
        yield failure(about, f"the nation declares {wanted} GPUs, but the engine has {gpus}", advice)
    else:
        yield well(about, f"the nation declares {wanted} of its {gpus} GPUs")


def _capacity(site: SlurmSite | RaySite) -> tuple[NodeCapacity, ...]:
    match site:
        case SlurmSite():
            from dure.executors.slurm.commands import Commands
            from dure.executors.slurm.nodes import NodeNames, read_capacity

            commands = Commands(site)
            return read_capacity(site, commands, NodeNames(site, commands))
        case RaySite():
            from contextlib import closing

            from dure.executors.ray.api import RayApi
            from dure.executors.ray.executor import read_capacity as read_ray_capacity

            with closing(RayApi(site)) as api:
                return read_ray_capacity(api)
