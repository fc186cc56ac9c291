"""A nation arranged for questions that every submission asks. Built once per nation, then only read."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from dure.model.datasets import Dataset
from dure.model.fleet import NodeGroup
from dure.model.jobs import Within
from dure.model.nation import Nation
from dure.model.organisations import UNLIMITED_MILLI, Organisation, Share
from dure.model.units import WHOLE_GPU_MILLI

MOST_REMEMBERED_SHAPES = 4_096


class NodeShape(Struct, frozen=True):
    """What one node must have. `gpu_class` is empty when any node will do; `gpus_milli` is in thousandths of a GPU."""

    gpu_class: str
    gpus_milli: int
    cpus: int
    memory_mib: int

    def fits(self, group: NodeGroup) -> bool:
        """Whether an empty node of this group has all of it."""
        return (
            (not self.gpu_class or group.gpu_class == self.gpu_class)
            and group.gpus * WHOLE_GPU_MILLI >= self.gpus_milli
            and group.cpus >= self.cpus
            and group.memory_mib >= self.memory_mib
        )


class Reach(Struct, frozen=True):
    """What a share could ever use of one GPU class, in thousandths of a GPU, and which share sets the bound.

    `guarantee_milli` is the largest guarantee that covers it (its own or an ancestor's); `limit_milli` is the smallest
    limit over it; `lent_milli` is what remains of the fleet when everybody else keeps what they never lend.
    """

    guarantee_milli: int
    limit_milli: int
    limited_by: str
    lent_milli: int


def _nodes_together(group: NodeGroup, within: Within) -> int:
    """Nodes of one unit of a group, spares left out."""
    near = group.topology
    nodes = {
        Within.NODE: 1,
        Within.DOMAIN: near.domain,
        Within.RACK: near.rack,
        Within.BLOCK: near.block,
        Within.SITE: group.count,
    }[within]
    return nodes - nodes // near.domain * near.spare


class NationIndex:
    """One nation, indexed by project, class and shape of node."""

    def __init__(self, nation: Nation) -> None:
        self.nation = nation
        self.gpu_classes = tuple(each.name for each in nation.gpu_classes)
        self.datasets: dict[str, Dataset] = {each.name: each for each in nation.datasets}
        self.groups = nation.node_groups()
        self._classes_by_lower = {each.lower(): each for each in self.gpu_classes}
        self._organisations = {project: each for each in nation.organisations for project in each.projects}
        self._projects = {each.name: each.projects for each in nation.organisations}
        self._shares = {each.name: each for each in nation.shares}
        self._children: dict[str | None, list[Share]] = {}
        for share in nation.shares:
            self._children.setdefault(share.parent, []).append(share)
        self.sites_that_fit = lru_cache(MOST_REMEMBERED_SHAPES)(self._count_nodes_that_fit)
        self.reach = lru_cache(MOST_REMEMBERED_SHAPES)(self._measure_reach)

    def organisation_of(self, project: str) -> Organisation | None:
        """The organisation that has this project."""
        return self._organisations.get(project)

    def projects_of(self, organisation: str) -> tuple[str, ...]:
        """The projects of an organisation; none for one that is not known."""
        return self._projects.get(organisation, ())

    def share_of(self, project: str) -> Share | None:
        """The share a project's jobs run under: as `Nation.share_of`."""
        owner = self._organisations.get(project)
        return self._shares.get(project) or (self._shares.get(owner.name) if owner else None)

    def gpu_class(self, written: str) -> str | None:
        """The declared class of this name, whatever its capitals; None when there is none."""
        return self._classes_by_lower.get(written.lower())

    def largest_node(self, gpu_class: str) -> NodeGroup | None:
        """The group with the most GPUs, CPUs and memory per node, in this order, among those with this class."""
        groups = [group for _, group in self.groups if not gpu_class or group.gpu_class == gpu_class]
        return max(groups, key=lambda group: (group.gpus, group.cpus, group.memory_mib), default=None)

    def _count_nodes_that_fit(self, shape: NodeShape, within: Within = Within.SITE) -> dict[str, int]:
        """The most nodes of this shape that a gang may have at each site; sites without any are left out.

        A gang stays within one group of nodes, and spares are not used.
        """
        counts: dict[str, int] = {}
        for site, group in self.groups:
            if shape.fits(group):
                counts[site.name] = max(counts.get(site.name, 0), _nodes_together(group, within))
        return counts

    def _measure_reach(self, share: str, gpu_class: str) -> Reach:
        """Walks from the share to the root, taking from the fleet what siblings on the way never lend."""
        amount = self.nation.amount
        reach = Reach(0, UNLIMITED_MILLI, share, self.nation.capacity_milli(gpu_class))
        node: Share | None = self._shares[share]
        while node is not None:
            own = amount(node, gpu_class)
            siblings = [each for each in self._children[node.parent] if each.name != node.name]
            limited = own.limit_milli < reach.limit_milli
            reach = Reach(
                guarantee_milli=max(reach.guarantee_milli, own.guarantee_milli),
                limit_milli=own.limit_milli if limited else reach.limit_milli,
                limited_by=node.name if limited else reach.limited_by,
                lent_milli=reach.lent_milli - sum(self._never_lent_milli(each, gpu_class) for each in siblings),
            )
            node = self._shares.get(node.parent) if node.parent else None
        return reach

    def _never_lent_milli(self, share: Share, gpu_class: str) -> int:
        amount = self.nation.amount(share, gpu_class)
        return max(0, amount.guarantee_milli - amount.lend_milli)
