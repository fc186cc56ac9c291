"""What a run starts from: a fleet, a share tree and a trace as columns that are ready to run.

The fleet and the shares become a declared nation first, so that the twin builds its world exactly as the live platform
does, and so that a run's ledger can be applied to a `World` like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dure.model.fleet import GpuClass, NodeGroup, Site, Timing
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind, Share
from dure.sources.faults import NEVER_BACK_MS, Faults, no_faults
from dure.sources.fleet import NO_GPU_CLASS, TwinFleet
from dure.sources.trace import Trace
from dure.twin.events import FAULT, Run, new_run
from dure.world import building
from dure.world.atlas import Atlas
from dure.world.columns import NODE_DOWN, NODE_UP, ORDER_DURE, ORDER_FIFO, ORDER_SJF, Columns, Records, records

ORDERS = {"fifo": ORDER_FIFO, "sjf": ORDER_SJF, "dure": ORDER_DURE}

TIE_RULE = (
    "nodes: fewest idle GPUs that fit, then lowest in fleet order; "
    "jobs: priority, then order of submission; shares: below guarantee, least used for its weight, document order"
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One run about to begin. `checkpoint_every_ms` is how often every job saves its work; 0 is never.

    `faults` are of the same fleet.
    """

    trace: Trace
    fleet: TwinFleet
    shares: Sequence[Share]
    policy: str
    timing: Timing = Timing()  # noqa: RUF009 (an immutable value)
    checkpoint_every_ms: int = 0
    faults: Faults = no_faults()  # noqa: RUF009 (an immutable value)

    def nation(self) -> Nation:
        """The fleet and shares as an operator would declare them. Every share of the trace is an organisation."""
        return Nation(
            gpu_classes=tuple(GpuClass(name=name) for name in self.fleet.gpu_classes),
            sites=tuple(_site(self.fleet, index) for index in range(len(self.fleet.sites))),
            organisations=tuple(_organisation(name) for name in self.trace.shares),
            shares=tuple(self.shares),
            timing=self.timing,
        )

    def begin(self, keep_log: bool) -> tuple[Atlas, Columns, Run]:
        """The world before the first arrival, with all jobs of the trace in their rows but none submitted yet."""
        atlas = Atlas(self.nation())
        shape = replace(atlas.shape(), order=ORDERS[self.policy])
        columns = building.build(shape, max(1, len(self.trace)))
        self._fill_jobs(columns, atlas)
        return atlas, columns, new_run(self.trace.submit_ms, self._faults(atlas), max(1, len(self.trace)), keep_log)

    def _faults(self, atlas: Atlas) -> Records:
        """What happens to nodes, in order; at one instant nodes return before others fail."""
        faults = self.faults
        first_rows = [atlas.node_index(f"g{number}-0000") for number in range(len(self.fleet.groups))]
        rows_of_groups = [
            row + np.arange(group.count) for row, group in zip(first_rows, self.fleet.groups, strict=True)
        ]
        rows = np.concatenate(rows_of_groups)[faults.node]
        events = records(FAULT, 2 * len(faults))
        events["at_ms"] = np.concatenate((faults.up_ms, faults.down_ms))
        events["node"] = np.concatenate((rows, rows))
        events["state"] = np.repeat([NODE_UP, NODE_DOWN], len(faults))
        order = np.argsort(events["at_ms"], kind="stable")
        last = np.searchsorted(events["at_ms"][order], NEVER_BACK_MS)
        return events[order[:last]].view(np.recarray)

    def _fill_jobs(self, columns: Columns, atlas: Atlas) -> None:
        trace, jobs = self.trace, columns.jobs[: len(self.trace)]
        share_rows = np.array([atlas.share_index_of(name) for name in trace.shares] or [0], dtype=np.int64)
        jobs["share"] = share_rows[trace.share]
        jobs["choices"] = np.where(trace.choices == 0, atlas.pack_choices(()), trace.choices)
        for name in ("nodes", "gpus_milli", "cpus_milli", "memory_mib", "limit_ms"):
            jobs[name] = getattr(trace, name)
        jobs["work_left_ms"] = trace.duration_ms
        jobs["submitted_ms"] = trace.submit_ms
        jobs["sequence"] = np.arange(len(trace))
        jobs["preemptible"] = 1
        jobs["checkpoint_every_ms"] = self.checkpoint_every_ms


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
            )
            for number, group in groups
        ),
    )


def _organisation(name: str) -> Organisation:
    return Organisation(name=name, kind=OrganisationKind.SME, country="", parent_country="", projects=(name,))
