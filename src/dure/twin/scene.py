"""What a run starts from: a fleet, a share tree and a trace as columns that are ready to run.

The fleet and the shares become a declared nation first, so that the twin builds its world exactly as the live platform
does, and so that a run's ledger can be applied to a `World` like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from msgspec.structs import replace as replace_struct

from dure.kernel.policies import POLICIES, Lending, Policy
from dure.model.fleet import GpuClass, NodeGroup, Site, Timing
from dure.model.jobs import ArrayRange, Replicas
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind, Share
from dure.sources.errors import BadWorkload
from dure.sources.faults import NEVER_BACK_MS, Faults, no_faults
from dure.sources.fleet import NO_GPU_CLASS, TwinFleet
from dure.sources.trace import Trace
from dure.twin.declared import Declared, declared_under
from dure.twin.events import FAULT, Run, new_run
from dure.world import building, templates
from dure.world.atlas import Atlas
from dure.world.columns import HELD, NEVER, NODE_DOWN, NODE_UP, NONE, Columns, Records, records


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One run about to begin, under a policy. Every job saves its work every `checkpoint_every_ms`; 0 is never.

    Fleet, shares and trace are as they were read; what the policy makes of them is `declared`.
    `faults` are of the fleet as it was read.
    """

    trace: Trace
    fleet: TwinFleet
    shares: Sequence[Share]
    policy: str
    timing: Timing = Timing()  # noqa: RUF009 (an immutable value)
    checkpoint_every_ms: int = 0
    faults: Faults = no_faults()  # noqa: RUF009 (an immutable value)
    copies: Mapping[int, ArrayRange | Replicas] = field(default_factory=dict)
    """Jobs of the trace that are arrays or services, by their place in it. Each task is what the trace says of it."""
    elastic: Mapping[int, int] = field(default_factory=dict)
    """Jobs of the trace that are elastic, by their place in it: with how few nodes they run. They save when warned."""
    until_ms: int = NEVER
    """When the run ends if it is not over before; a service never is."""

    @property
    def rules(self) -> Policy:
        """The policy itself."""
        return POLICIES[self.policy]

    @cached_property
    def declared(self) -> Declared:
        """Fleet, shares and jobs under the policy."""
        return declared_under(self.rules, self.fleet, self.shares, self.trace)

    def nation(self) -> Nation:
        """The fleet and shares as an operator would declare them. Every share of the trace is an organisation."""
        fleet = self.declared.fleet
        return Nation(
            gpu_classes=tuple(GpuClass(name=name) for name in fleet.gpu_classes),
            sites=tuple(_site(fleet, index) for index in range(len(fleet.sites))),
            organisations=tuple(_organisation(name) for name in self.trace.shares),
            shares=self.declared.shares,
            timing=self._timing(),
        )

    def _timing(self) -> Timing:
        """How many are tried behind the first job that does not fit, and how many keep their start, is the policy's."""
        if not self.rules.backfills:
            return replace_struct(self.timing, backfill_depth=1)
        if self.rules.reservations > 1:
            return replace_struct(self.timing, backfill_reservations=self.rules.reservations)
        return self.timing

    def begin(self, keep_log: bool) -> tuple[Atlas, Columns, Run]:
        """The world before the first arrival, with all jobs of the trace in their rows but none submitted yet.

        Raises `BadWorkload` for arrays and services under a policy that leaves jobs out, and for services without end.
        """
        if (self.copies or self.elastic) and self.rules.lending is Lending.NOTHING:
            what = "arrays, services and elastic jobs cannot be played"
            raise BadWorkload(f"{self.policy} leaves out jobs that do not fit: {what}")
        if self.until_ms == NEVER and any(isinstance(each, Replicas) for each in self.copies.values()):
            raise BadWorkload("a service never ends: say how long the run is")
        atlas = Atlas(self.nation())
        rules, trace = self.rules, self.declared.trace
        shape = replace(
            atlas.shape(),
            order=int(rules.order),
            placement=rules.placement.code,
            remembers=rules.remembers_usage,
            reclaims=rules.reclaims,
        )
        columns = building.build(shape, max(1, len(trace)))
        self._fill_jobs(columns, atlas)
        columns = self._make_templates(columns)
        run = new_run(columns, trace.submit_ms, self._faults(atlas), keep_log)
        return atlas, columns, run

    def _make_templates(self, columns: Columns) -> Columns:
        """All rows are the trace's, so that tasks and replicas begin by asking for room."""
        columns.counters[0].first_free_job = NONE
        for row, what in self.copies.items():
            record = columns.jobs[row]
            if isinstance(what, ArrayRange):
                record.copies, record.number = what.last - what.first + 1, what.first
            else:
                columns = building.with_steps_for(columns, len(what.steps))
                templates.lay_steps(columns, row, what.steps)
                record.limit_ms, record.work_left_ms, record.checkpoint_every_ms = NEVER, NEVER, 0
        return columns

    def _faults(self, atlas: Atlas) -> Records:
        """What happens to nodes, in order; at one instant nodes return before others fail.

        Raises `BadWorkload` under a policy that does not have the nodes of the fleet.
        """
        faults = self.faults
        if len(faults) and self.rules.lending is Lending.NOTHING:
            raise BadWorkload(f"{self.policy} divides nodes among owners: failures of nodes cannot be played under it")
        groups = self.declared.fleet.groups
        first_rows = [atlas.node_index(f"g{number}-0000") for number in range(len(groups))]
        rows_of_groups = [row + np.arange(group.count) for row, group in zip(first_rows, groups, strict=True)]
        rows = np.concatenate(rows_of_groups)[faults.node]
        events = records(FAULT, 2 * len(faults))
        events["at_ms"] = np.concatenate((faults.up_ms, faults.down_ms))
        events["node"] = np.concatenate((rows, rows))
        events["state"] = np.repeat([NODE_UP, NODE_DOWN], len(faults))
        order = np.argsort(events["at_ms"], kind="stable")
        last = np.searchsorted(events["at_ms"][order], NEVER_BACK_MS)
        return events[order[:last]].view(np.recarray)

    def _fill_jobs(self, columns: Columns, atlas: Atlas) -> None:
        trace = self.declared.trace
        jobs = columns.jobs[: len(trace)]
        share_rows = np.array([atlas.share_index_of(name) for name in trace.shares] or [0], dtype=np.int64)
        jobs["share"] = share_rows[trace.share]
        jobs["choices"] = np.where(trace.choices == 0, atlas.pack_choices(()), trace.choices)
        for name in ("nodes", "gpus_milli", "cpus_milli", "memory_mib", "limit_ms"):
            jobs[name] = getattr(trace, name)
        jobs["work_left_ms"] = trace.duration_ms
        jobs["submitted_ms"] = trace.submit_ms
        jobs["state"] = HELD
        jobs["sequence"] = np.arange(len(trace))
        jobs["preemptible"] = 1
        jobs["checkpoint_every_ms"] = self.checkpoint_every_ms
        for row, least in self.elastic.items():
            jobs[row].least_nodes, jobs[row].most_nodes = least, trace.nodes[row]
            jobs[row].saves_when_warned = 1


def _site(fleet: TwinFleet, index: int) -> Site:
    groups = [(number, group) for number, group in enumerate(fleet.groups) if group.site == index]
    return Site(
        name=fleet.sites[index],
        country="",
        owner="",
        nodes=tuple(
            NodeGroup(
                name=f"g{number}",
                count=group.count,
                gpu_class="" if group.class_index == NO_GPU_CLASS else fleet.gpu_classes[group.class_index],
                gpus=group.gpus,
                cpus=group.cpus_milli // 1000,
                memory_mib=group.memory_mib,
                topology=group.topology,
            )
            for number, group in groups
        ),
    )


def _organisation(name: str) -> Organisation:
    return Organisation(name=name, kind=OrganisationKind.SME, country="", parent_country="", projects=(name,))
