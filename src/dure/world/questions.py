"""What people and the loop ask the world: who waits, who runs, what is due, and why nothing happens until when."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from msgspec.structs import replace

from dure.model.events import TooLate
from dure.model.jobs import JobState
from dure.model.plan import Placement, Reserved
from dure.world import transitions
from dure.world.cards import Copies, JobCard, NodeCard, ShareCard
from dure.world.columns import MOST_GPUS, NEVER, NODE_UP, NONE, QUEUED, RUNNING, STOPPING, WARNED
from dure.world.node_states import SUSPECT_PART
from dure.world.parts import SLICES
from dure.world.reserving import reserved_in
from dure.world.state import State
from dure.world.suspicion import is_suspect
from dure.world.turns import queue_order


class Questions(State):
    """A state that can be asked. Nothing here changes it."""

    def placements_of(self, row: int) -> tuple[Placement, ...]:
        """The GPUs a job holds, in rank order."""
        placements = []
        at = int(self.columns.jobs[row].first_allocation)
        while at != NONE:
            record = self.columns.allocations[at]
            mask = int(record.gpu_mask)
            gpus = tuple(gpu for gpu in range(MOST_GPUS) if mask >> gpu & 1)
            node = self.atlas.node_name(int(record.node))
            placement = Placement(node=node, gpus=gpus, milli=int(record.milli))
            placements.append(self._with_slices(placement, row, int(record.slices)) if record.slices else placement)
            at = int(record.next_of_job)
        return tuple(placements)

    def _with_slices(self, placement: Placement, row: int, mask: int) -> Placement:
        event = self.jobs[self._job_at_row[row]].submitted
        classes = [name for name, _ in event.gpus]
        profile = event.mig[classes.index(self.atlas.class_name(int(self.columns.jobs[row].gpu_class)))]
        slices = tuple(each for each in range(SLICES) if mask >> each & 1) if placement.gpus else ()
        return replace(placement, profile=profile, slices=slices)

    def shares(self) -> list[ShareCard]:
        """Every share and class, parents first, in the order of the nation's document."""
        return self.atlas.share_cards(self.columns)

    def nodes(self) -> list[NodeCard]:
        """Every node, in placement order."""
        return [self.node(name) for name in self.atlas.node_names]

    def node(self, name: str) -> NodeCard:
        """One node of the fleet."""
        node = self.atlas.node_index(name)
        return self.atlas.node_card(self.columns, node, self._names_on(node), self.suspect_until_ms.get(name))

    def _names_on(self, node: int) -> tuple[str, ...]:
        return tuple(sorted(self._job_at_row[row] for row in self.jobs_on(node)))

    def queue(self) -> list[JobCard]:
        """Jobs that hold no GPUs but want some (held, queued, claimed), in the order in which they will be tried."""
        return self.queue_head(self.rows)[0]

    def queue_head(self, most: int) -> tuple[list[JobCard], int]:
        """The first of these jobs, and how many there are."""
        rows = queue_order(self.columns, self.rows)
        return [self.jobs[self._job_at_row[row]] for row in rows[:most].tolist()], len(rows)

    def waits(self, card: JobCard) -> bool:
        """True when a job holds no GPUs but wants some, and when a service wants more replicas than it has."""
        if card.state.is_waiting or card.copies is None or card.row == NONE:
            return card.state.is_waiting
        return bool(self.columns.jobs[card.row].state == QUEUED)

    def copies_of(self, card: JobCard) -> Copies | None:
        """How the tasks or replicas of a job stand; of a service, those that it wants and does not have wait, too."""
        copies = card.copies
        if copies is None or card.row == NONE or card.submitted.replicas is None:
            return copies
        return replace(copies, total=copies.begun + int(self.columns.jobs[card.row].copies))

    def running(self) -> list[JobCard]:
        """Jobs that hold GPUs (starting, running, warned, stopping), oldest start first."""
        holds = np.isin(self.columns.jobs["state"][: self.rows], (RUNNING, WARNED, STOPPING))
        cards = (self.jobs[self._job_at_row[row]] for row in np.flatnonzero(holds).tolist() if self._job_at_row[row])
        running = [card for card in cards if not card.state.is_waiting and card.copies is None]
        return sorted(running, key=lambda card: (card.started_at_ms or 0, card.row))

    def latest_final(self, most: int) -> Iterator[JobCard]:
        """The jobs that became final last, latest first."""
        return (self.jobs[job] for job in islice(reversed(self._final), most))

    def _active_cards(self) -> Iterator[JobCard]:
        return (self.jobs[job] for job in self._job_at_row if job)

    def due_releases(self, now_ms: int) -> list[str]:
        """Held jobs whose dependencies all succeeded, or whose time has come: each wants a `JobReleased`.

        One that waited for both is held until its time when the first is applied, and wants a second one then.
        """
        freed = [job for job in self._held if all(map(self.has_succeeded, self.jobs[job].submitted.depends))]
        return freed + self._releases.due(now_ms)

    def too_late(self, now_ms: int) -> list[tuple[str, TooLate]]:
        """Waiting jobs that can no longer keep a date of their own: each wants a `CancelRequested` that says which."""
        return [(job, self.jobs[job].too_late) for job in self._last_calls.due(now_ms - 1)]

    def suspects(self) -> list[str]:
        """Nodes that failed too often to be given more: each wants a `NodeChanged` that sets it aside.

        No more than a tenth of all nodes (but one) is ever set aside: when everything fails, it is not the nodes.
        """
        room = max(1, self.atlas.node_count // SUSPECT_PART) - len(self.suspect_until_ms)
        accused = [node for node in sorted(self.accused) if is_suspect(self.columns, node)]
        self.accused = dict.fromkeys(accused)
        up = [node for node in accused if self.columns.nodes[node].state == NODE_UP]
        return [self.atlas.node_name(node) for node in up[: max(0, room)]]

    def over_probation(self, now_ms: int) -> list[str]:
        """Suspect nodes whose probation is over: each wants a `NodeChanged` that takes it back."""
        return [node for node, until_ms in self.suspect_until_ms.items() if until_ms <= now_ms]

    def doomed(self) -> list[str]:
        """Held jobs of which a dependency failed or was cancelled: each wants a `CancelRequested`."""
        return [job for job in self._held if any(self._has_failed(each) for each in self.jobs[job].submitted.depends)]

    def _has_failed(self, job: str) -> bool:
        card = self.jobs.get(job)
        if card is None:
            return False
        lost = card.copies is not None and card.copies.failed + card.copies.cancelled > 0
        return lost or card.state in {JobState.FAILED, JobState.CANCELLED}

    def next_wake_ms(self) -> int | None:
        """The earliest time at which something could change by itself.

        Deciding, releasing a held job, giving one up, or taking back a suspect node.
        """
        due = int(transitions.next_due_ms(self.columns))
        if (release_ms := self._releases.next_ms()) is not None:
            due = min(due, release_ms)
        if (last_call_ms := self._last_calls.next_ms()) is not None:
            due = min(due, last_call_ms + 1)
        due = min([due, *self.suspect_until_ms.values()])
        return None if due >= NEVER else due

    def share_of(self, project: str) -> str:
        """Name of the share the project's jobs run under; empty when it has none."""
        share = self.nation.share_of(project)
        return share.name if share else ""

    def newly_reserved(self) -> tuple[Reserved, ...] | None:
        """The starts reserved for waiting jobs, where a nation has several, if they differ from what was told last."""
        if self.columns.counters[0].backfill_reservations == 1:
            return None
        reserved = reserved_in(self.columns, self.atlas, self.job_at)
        return None if reserved == self.reserved else reserved
