"""Slurm's nodes: how many GPUs they have, whether they are in service, and what Dure calls them."""

from __future__ import annotations

import re

from msgspec import structs

from dure.executors.contract import ExecutorError, NodeCapacity
from dure.executors.slurm.commands import Commands
from dure.executors.slurm.site import SlurmSite

_IN_SERVICE = {"idle", "mixed", "allocated", "completing", "planned", "reserved"}
_FLAGS = "*~#!%$@^-+"
"""What Slurm appends to a node's state."""
_NOT_RESPONDING = "*"
_GPUS = re.compile(r"(?:^|,)gpu(?::[^:(,]+)?:(\d+)")
_QUERY = ("--noheader", "--Node", "--format=%N|%T|%c|%m|%G|%E")


class NodeNames:
    """The names of nodes in Dure and in Slurm. Raises `ExecutorError` when a host list cannot be read."""

    def __init__(self, site: SlurmSite, commands: Commands) -> None:
        self._by_group = {
            group: commands.run("scontrol", "show", "hostnames", hosts).split() for group, hosts in site.nodes.items()
        }
        self._ours = {
            name: f"{group}-{index:04d}" for group, names in self._by_group.items() for index, name in enumerate(names)
        }

    def in_slurm(self, node: str) -> str:
        """Slurm's name of one of Dure's nodes."""
        group, _, index = node.rpartition("-")
        names = self._by_group.get(group)
        if names is None:
            return node
        if not index.isdecimal() or int(index) >= len(names):
            raise ExecutorError(f"{node} has no counterpart: `nodes` names {len(names)} nodes of Slurm for {group}")
        return names[int(index)]

    def in_dure(self, name: str) -> str:
        """Dure's name of one of Slurm's nodes."""
        return self._ours.get(name, name)


def read_capacity(site: SlurmSite, commands: Commands, names: NodeNames) -> tuple[NodeCapacity, ...]:
    """Every node that the site's partition has, by Dure's name where it has one."""
    partition = (f"--partition={site.partition}",) if site.partition else ()
    listing = commands.run("sinfo", *_QUERY, *partition)
    # A node is listed once for each of its partitions.
    nodes = (read_node(line) for line in listing.splitlines())
    found = {names.in_dure(node.name): node for node in nodes}
    return tuple(structs.replace(found[name], name=name) for name in sorted(found))


def read_node(line: str) -> NodeCapacity:
    """One node, by Slurm's name, from what `sinfo` says of it."""
    try:
        name, state, cpus, memory, gres, reason = line.split("|", 5)
        return NodeCapacity(
            name=name,
            gpus=sum(map(int, _GPUS.findall(gres))),
            cpus=int(cpus.rstrip("+")),
            memory_mib=int(memory.rstrip("+")),
            problem=_problem(state, reason),
        )
    except ValueError:
        raise ExecutorError(f"sinfo said what Dure does not understand: {line[:200]!r}") from None


def _problem(state: str, reason: str) -> str:
    if state.rstrip(_FLAGS) in _IN_SERVICE and _NOT_RESPONDING not in state:
        return ""
    silent = " and does not respond" if _NOT_RESPONDING in state else ""
    why = "" if reason in ("", "none") else f": {reason}"
    return f"Slurm has it as {state.rstrip(_FLAGS)}{silent}{why}"
