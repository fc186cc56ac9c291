"""Everything an operator declares in one document: fleet, organisations, share tree, datasets."""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct

from dure.model.datasets import DataClassDefinition, Dataset
from dure.model.fleet import AssuranceScheme, GpuClass, NodeGroup, Site, Timing
from dure.model.organisations import Organisation, Share, ShareAmount
from dure.model.reservations import Reservation


class Nation(Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """The declared state of the whole platform. Applying it twice changes nothing the second time.

    It never changes, so what is asked of it for every job is looked up once and kept beside its fields.
    """

    gpu_classes: tuple[GpuClass, ...] = ()
    sites: tuple[Site, ...] = ()
    organisations: tuple[Organisation, ...] = ()
    shares: tuple[Share, ...] = ()
    """Parents before children."""
    datasets: tuple[Dataset, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    timing: Timing = Timing()
    data_classes: tuple[DataClassDefinition, ...] = ()
    """The programme's own classes of data, beside those that the law knows."""
    assurance_schemes: tuple[AssuranceScheme, ...] = ()

    def organisation_of(self, project: str) -> Organisation | None:
        """The organisation that has this project."""
        return self._owners.get(project)

    def share_of(self, project: str) -> Share | None:
        """The share a project's jobs run under."""
        own = self._shares_by_name.get(project)
        if own is not None:
            return own
        owner = self.organisation_of(project)
        return self._shares_by_name.get(owner.name) if owner else None

    def share_path(self, name: str) -> tuple[str, ...]:
        """A share and those above it, nearest first; empty for no share."""
        path = []
        share = self._shares_by_name.get(name)
        while share is not None:
            path.append(share.name)
            share = self._shares_by_name.get(share.parent) if share.parent else None
        return tuple(path)

    def node_groups(self) -> list[tuple[Site, NodeGroup]]:
        """Every node group with its site, in placement order."""
        return [(site, group) for site in self.sites for group in site.nodes]

    def gpu_class(self, name: str) -> GpuClass | None:
        """The class of exactly this name."""
        return self._classes_by_name.get(name)

    def capacity_milli(self, gpu_class: str) -> int:
        """GPUs of a class in the whole fleet, in thousandths; those kept as spares are not there to be shared."""
        return sum(group.shared_gpus * 1000 for _, group in self.node_groups() if group.gpu_class == gpu_class)

    def amount(self, share: Share, gpu_class: str) -> ShareAmount:
        """What a share has of a class; nothing guaranteed and no limit where the tree is silent."""
        return next((each for each in share.amounts if each.gpu_class == gpu_class), ShareAmount(gpu_class=gpu_class))

    @cached_property
    def _owners(self) -> dict[str, Organisation]:
        """Organisations by project; the first that names a project has it."""
        return {project: each for each in reversed(self.organisations) for project in each.projects}

    @cached_property
    def _classes_by_name(self) -> dict[str, GpuClass]:
        return {each.name: each for each in self.gpu_classes}

    @cached_property
    def _shares_by_name(self) -> dict[str, Share]:
        return {share.name: share for share in self.shares}
