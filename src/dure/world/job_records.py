"""What a job asked for, as the record of `jobs` that stands for it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from operator import attrgetter

import numpy as np

from dure.model.events import JobSubmitted
from dure.world.atlas import Atlas
from dure.world.building import empty_jobs
from dure.world.columns import JOB, NEVER, WITHIN_BLOCK, WITHIN_DOMAIN, WITHIN_RACK, WITHIN_SITE, Records

_WITHIN_CODES = {"domain": WITHIN_DOMAIN, "rack": WITHIN_RACK, "block": WITHIN_BLOCK}
"""A job within one node has one node, and every gang stays within a site."""

_EMPTY_JOB: dict[str, int] = {name: int(empty_jobs(1)[name][0]) for name in JOB.names or ()}


def job_record(atlas: Atlas, event: JobSubmitted, sequence: int) -> tuple[int, ...]:
    """All fields in their order: a record array takes longer to find one of them than to take them all."""
    asked = {
        "share": atlas.share_index_of(event.project),
        "choices": atlas.pack_choices([name for name, _ in event.gpus]),
        "sites": atlas.site_mask(event.sites),
        "nodes": event.min_nodes or event.nodes,
        "least_nodes": event.min_nodes,
        "most_nodes": event.nodes,
        "within": _WITHIN_CODES.get(event.within, WITHIN_SITE) if event.nodes > 1 else WITHIN_SITE,
        "gpus_milli": event.gpus[0][1] if event.gpus else 0,
        "cpus_milli": event.cpus * 1000,
        "memory_mib": event.memory_mib,
        **atlas.slices_wanted(event),
        "limit_ms": event.time_ms or NEVER,
        "preemptible": int(event.preemptible),
        "checkpoint_every_ms": event.checkpoint_every_ms,
        "saves_when_warned": int(event.saves_when_warned),
        "priority": event.priority,
        "sequence": sequence,
        "submitted_ms": event.at_ms,
    }
    return tuple((_EMPTY_JOB | asked).values())


_what_it_asks = attrgetter(
    "project",
    "gpus",
    "mig",
    "sites",
    "nodes",
    "min_nodes",
    "within",
    "cpus",
    "memory_mib",
    "time_ms",
    "preemptible",
    "checkpoint_every_ms",
    "saves_when_warned",
    "priority",
)
"""All that `job_record` looks at, but for the time."""


def job_records(atlas: Atlas, events: Sequence[JobSubmitted], first_sequence: int) -> Records:
    """The records of several jobs in their order. Many of them ask for the same, which is worked out once."""
    kinds: dict[Hashable, int] = {}
    firsts: list[tuple[int, ...]] = []
    kind_of = []
    for event in events:
        kind = kinds.setdefault(_what_it_asks(event), len(firsts))
        if kind == len(firsts):
            firsts.append(job_record(atlas, event, first_sequence))
        kind_of.append(kind)
    records = np.array(firsts, dtype=JOB)[kind_of].view(np.recarray)
    records["sequence"] = np.arange(first_sequence, first_sequence + len(events))
    records["submitted_ms"] = [event.at_ms for event in events]
    return records
