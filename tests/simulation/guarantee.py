"""Owners get what they are guaranteed, on time: watched for single GPUs, where no other question comes into it.

A job that asks for one whole GPU, within what its share is guaranteed with all else that the share wants, starts
within protected time, warning and grace, whoever borrows. That is watched while the GPUs in service are enough for all
guarantees: no scheduler gives a GPU that is out of service. A watch ends without a verdict when something happens that
the promise does not cover: a fault, a change of nation or nodes, more demand of the share, or parts of GPUs in use.
"""

from __future__ import annotations

from msgspec import Struct

from dure.model.events import (
    AnyEvent,
    AttemptEnded,
    CancelRequested,
    JobSubmitted,
    NationApplied,
    NodeChanged,
    Planned,
    SiteContact,
    SiteContactChanged,
)
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.plan import Start

WHOLE_GPU = 1000
SLACK_MS = 3_000
"""What disk, orders and reports may take together while nothing goes wrong."""

OVER = {Outcome.SUCCEEDED, Outcome.TIME_LIMIT, Outcome.CANCELLED}


class Watch(Struct):
    """A job that must start by a time."""

    share: str
    gpu_class: str
    by_ms: int


class GuaranteeWatch:
    """Follows the ledger, and says which jobs were kept waiting for what is their owner's."""

    def __init__(self) -> None:
        self.nation = Nation()
        self.kept = 0
        """Watches that ended well."""
        self.missed: list[str] = []
        self._watched: dict[str, Watch] = {}
        self._wanted: dict[str, JobSubmitted] = {}
        """Jobs that want GPUs or have them."""
        self._out_of_service: set[str] = set()
        """Nodes that take no new work."""
        self._lost_sites: set[str] = set()

    def void(self) -> None:
        """Something happened that the promise does not cover."""
        self._watched.clear()

    def take_in(self, event: AnyEvent) -> None:
        """An event became durable."""
        match event:
            case NationApplied():
                self.nation = event.nation
                self._out_of_service &= {node for _, group in self.nation.node_groups() for node in group.node_names()}
                self.void()
            case NodeChanged():
                self._out_of_service -= {event.node}
                self._out_of_service |= {event.node} if event.state != "up" else set()
                self.void()
            case SiteContactChanged():
                self._lost_sites -= {event.site}
                self._lost_sites |= {event.site} if event.contact is SiteContact.LOST else set()
                self.void()
            case JobSubmitted():
                self._wanted[event.job] = event
                self._void_where_too_much_is_wanted()
                self._watch(event)
            case CancelRequested():
                self._wanted.pop(event.job, None)
                self._watched.pop(event.job, None)
            case AttemptEnded() if self._is_last(event):
                self._wanted.pop(event.job, None)
            case Planned():
                for decision in event.plan.decisions:
                    watch = self._watched.pop(decision.job, None) if isinstance(decision, Start) else None
                    self.kept += watch is not None
            case _:
                pass

    def look(self, now_ms: int) -> None:
        """Time passes."""
        for job, watch in list(self._watched.items()):
            if now_ms > watch.by_ms:
                self.missed.append(f"{job} still waits for a GPU that {watch.share} is guaranteed")
                del self._watched[job]

    def _is_last(self, event: AttemptEnded) -> bool:
        job = self._wanted.get(event.job)
        gives_up = event.outcome is Outcome.FAILED and job is not None and not job.retry_limit
        return gives_up or event.outcome in OVER

    def _watch(self, job: JobSubmitted) -> None:
        is_plain = job.nodes == 1 and not (job.array or job.replicas or job.depends or job.not_before_ms or job.mig)
        if not is_plain or [milli for _, milli in job.gpus] != [WHOLE_GPU]:
            return
        gpu_class = job.gpus[0][0]
        share = self._share(job)
        everywhere = {site.name for site in self.nation.sites}
        may_have_it = self._is_covered(share, gpu_class) and everywhere <= set(job.sites)
        if may_have_it and self._guaranteed_milli(gpu_class) <= self._in_service_milli(gpu_class):
            timing = self.nation.timing
            within_ms = timing.protected_ms + timing.warning_ms + timing.grace_ms + SLACK_MS
            self._watched[job.job] = Watch(share=share, gpu_class=gpu_class, by_ms=job.at_ms + within_ms)

    def _void_where_too_much_is_wanted(self) -> None:
        for job, watch in list(self._watched.items()):
            if not self._is_covered(watch.share, watch.gpu_class):
                del self._watched[job]

    def _is_covered(self, share: str, gpu_class: str) -> bool:
        """All that the share wants of the class is guaranteed, and nobody at all asks for parts of its GPUs."""
        wanted = 0
        for job in self._wanted.values():
            for name, milli in job.gpus:
                if name == gpu_class and (milli % WHOLE_GPU or job.mig):
                    return False
            if self._share(job) == share and any(name == gpu_class for name, _ in job.gpus):
                if job.array or job.replicas or len(job.gpus) > 1:
                    return False
                wanted += job.nodes * job.gpus[0][1]
        amounts = [self.nation.amount(each, gpu_class) for each in self.nation.shares if each.name == share]
        return bool(amounts) and wanted <= amounts[0].guarantee_milli

    def _guaranteed_milli(self, gpu_class: str) -> int:
        highest = [share for share in self.nation.shares if share.parent is None]
        return sum(self.nation.amount(share, gpu_class).guarantee_milli for share in highest)

    def _in_service_milli(self, gpu_class: str) -> int:
        return sum(
            group.gpus * WHOLE_GPU
            for site, group in self.nation.node_groups()
            for node in group.node_names()
            if group.gpu_class == gpu_class and site.name not in self._lost_sites and node not in self._out_of_service
        )

    def _share(self, job: JobSubmitted) -> str:
        share = self.nation.share_of(job.project)
        return share.name if share else ""
