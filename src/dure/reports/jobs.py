"""Jobs as people read them: one line in a listing, the whole queue, and everything about one job."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from dure.model.blockers import Blocker, Why
from dure.model.events import JobSubmitted
from dure.model.jobs import GpuUse, JobSpec, JobState
from dure.model.plan import Placement, StopReason
from dure.reports.viewer import Viewer
from dure.reports.wording import copies_text, gpus_text, short_reason, what_happened
from dure.world.cards import JobCard, Moment, MomentCode

if TYPE_CHECKING:
    # The world brings the compiler along; whoever only reads reports (the command line) need not pay for it.
    from dure.world.world import World

MOST_QUEUED = 200
"""Lines of those that run, and of those that wait, unless another number is asked for."""
MOST_EXPLAINED = 200
"""Jobs at the head of the queue that a listing explains in full; `why` does so for any of them."""

ExplainJob = Callable[[str], Why]
FirstBlockers = Mapping[str, Blocker]
"""By job, the first reason why it waits."""
SpecOf = Callable[[str], JobSpec | None]
SpecsOf = Callable[[Iterable[str]], Mapping[str, JobSpec]]
"""Those of many jobs at once, without those that were erased."""


class CopiesLine(Struct, frozen=True, kw_only=True):
    """How the tasks of an array, or the replicas of a service, stand; and the same as an English phrase."""

    total: int
    waiting: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    note: str


class JobLine(Struct, frozen=True, kw_only=True):
    """One job in a listing. What a viewer may not see is null, and `visible` is false."""

    job: str
    share: str
    state: JobState
    gpus: str
    """As people write it, per node: `H100:8`, `2 × H100:8`."""
    gpu_class: str
    gpus_milli: int
    """Over all nodes, in thousandths of a GPU."""
    nodes: int
    """Those it has; while it waits, those it cannot do without."""
    min_nodes: int | None = None
    max_nodes: int | None = None
    """Of an elastic job, the most it may have."""
    visible: bool = True
    name: str | None = None
    project: str | None = None
    organisation: str | None = None
    site: str | None = None
    attempt: int | None = None
    preemptions: int | None = None
    borrowed: bool | None = None
    submitted_at_ms: int | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    stop_at_ms: int | None = None
    """When a warned job will be stopped."""
    exit_code: int | None = None
    position: int | None = None
    """Place in its own queue; 1 is next."""
    reason: str | None = None
    """The first blocker of a waiting job as a phrase."""
    blockers: tuple[Blocker, ...] = ()
    """All of them for the jobs at the head of the queue, only the first for those far behind."""
    tasks: CopiesLine | None = None
    """Of an array or service: how its tasks or replicas stand."""


class QueueReport(Struct, frozen=True, kw_only=True):
    """Who runs, oldest start first, and who waits, in the order in which they will be tried."""

    at_ms: int
    running: tuple[JobLine, ...]
    waiting: tuple[JobLine, ...]
    running_in_all: int
    """How many run; `running` has as many of them as were asked for. The same of those that wait."""
    waiting_in_all: int


class JobsReport(Struct, frozen=True, kw_only=True):
    """Jobs of any state, newest first."""

    at_ms: int
    jobs: tuple[JobLine, ...]


class TimelineLine(Struct, frozen=True, kw_only=True):
    """One step of a job's life: its code, what the code is about, and both as an English phrase."""

    at_ms: int
    state: JobState
    what: MomentCode
    jobs: tuple[str, ...] = ()
    """The jobs it waits for, or the one it must yield to."""
    site: str = ""
    attempt: int = 0
    """The attempt that began or ended; 0 when the step is about none."""
    exit_code: int | None = None
    reservation: str = ""
    """The reservation for whose sake it must leave its node."""
    detail: str = ""
    """Why an engine did not run it, in its words."""
    note: str


class JobReport(Struct, frozen=True, kw_only=True):
    """Everything about one job: what was asked, where it stands, why it waits, and how it came there."""

    at_ms: int
    line: JobLine
    purpose: str | None = None
    by: str | None = None
    """Opaque id of who submitted it."""
    command: str | None = None
    wanted_gpus: tuple[str, ...] = ()
    """Per node, in order of preference."""
    cpus: int | None = None
    memory_mib: int | None = None
    time_ms: int | None = None
    not_before_ms: int | None = None
    not_after_ms: int | None = None
    deadline_ms: int | None = None
    within: str | None = None
    priority: int | None = None
    preemptible: bool | None = None
    checkpoint_every_ms: int | None = None
    retry_limit: int | None = None
    failures: int | None = None
    depends: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    allowed_sites: tuple[str, ...] = ()
    placements: tuple[Placement, ...] = ()
    engine_nodes: tuple[str, ...] = ()
    """By rank, in the names of the site's engine, when that chose the nodes."""
    gpu_use: GpuUse | None = None
    """Of the latest attempt, where its GPUs are metered."""
    engine_waits: str | None = None
    """Why the site's engine does not start it yet, in its words, although it was told to."""
    first_started_at_ms: int | None = None
    waited_ms: int | None = None
    """From submission to the first start, or until now."""
    ran_ms: int | None = None
    """Length of the latest attempt so far."""
    claimant: str | None = None
    stop_reason: StopReason | None = None
    cancel_requested: bool | None = None
    timeline: tuple[TimelineLine, ...] = ()
    why: Why | None = None


def job_line(world: World, card: JobCard, viewer: Viewer, spec_of: SpecOf, why: Why | None = None) -> JobLine:
    """One job for a listing, as far as `viewer` may see it. A waiting job's `why` adds its place and its reason."""
    gpu_class, per_node_milli, profile = _gpus_per_node(card)
    everyones = JobLine(
        job=card.job,
        share=world.share_of(card.submitted.project),
        state=card.state,
        gpus=gpus_text(gpu_class, per_node_milli, card.nodes, profile, 0 if card.placements else card.submitted.nodes),
        gpu_class=gpu_class,
        gpus_milli=per_node_milli * card.nodes,
        nodes=card.nodes,
        min_nodes=card.submitted.min_nodes or None,
        max_nodes=card.submitted.nodes if card.submitted.min_nodes else None,
        visible=False,
    )
    if not viewer.may_see(world.nation, card.submitted.project):
        return everyones
    return _explained(_in_full(everyones, world, card, spec_of(card.job)), why)


def _in_full(line: JobLine, world: World, card: JobCard, spec: JobSpec | None) -> JobLine:
    owner = world.nation.organisation_of(card.submitted.project)
    return replace(
        line,
        visible=True,
        name=spec.name if spec else "",
        project=card.submitted.project,
        organisation=owner.name if owner else "",
        # A job that was preempted remembers where it ran; in the queue it is nowhere.
        site=card.site if card.placements or card.state.is_final else "",
        attempt=card.attempt,
        preemptions=card.preemptions,
        borrowed=card.borrowed and not card.state.is_waiting,
        submitted_at_ms=card.submitted.at_ms,
        started_at_ms=card.started_at_ms,
        ended_at_ms=card.ended_at_ms,
        stop_at_ms=card.stop_at_ms,
        exit_code=card.exit_code,
        tasks=_copies_line(world, card),
    )


def _copies_line(world: World, card: JobCard) -> CopiesLine | None:
    copies = world.copies_of(card)
    if copies is None:
        return None
    return CopiesLine(
        total=copies.total,
        waiting=copies.waiting,
        running=copies.running,
        succeeded=copies.succeeded,
        failed=copies.failed,
        cancelled=copies.cancelled,
        note=copies_text(copies, card.submitted.replicas is not None),
    )


def _explained(line: JobLine, why: Why | None) -> JobLine:
    if why is None:
        return line
    return replace(
        line,
        position=why.position,
        reason=short_reason(why.blockers[0]) if why.blockers else None,
        blockers=why.blockers,
    )


def _briefly_explained(line: JobLine, first: Blocker | None) -> JobLine:
    if first is None or not line.visible:
        return line
    return replace(line, reason=short_reason(first), blockers=(first,))


def queue_report(
    world: World,
    explain: ExplainJob,
    firsts: FirstBlockers,
    viewer: Viewer,
    specs_of: SpecsOf,
    now_ms: int,
    limit: int = MOST_QUEUED,
) -> QueueReport:
    """The first `limit` of the queue, and of what runs.

    Every waiting job this viewer may see has its first blocker; the first `MOST_EXPLAINED` of them have all blockers,
    with who holds what they need.
    """
    queue, waiting_in_all = world.queue_head(limit)
    runs = world.running()
    spec_of = _specs(world, (*queue, *runs[:limit]), viewer, specs_of).get
    waiting = []
    explained = 0
    for card in queue:
        is_seen = viewer.may_see(world.nation, card.submitted.project)
        if is_seen and explained < MOST_EXPLAINED:
            explained += 1
            waiting.append(job_line(world, card, viewer, spec_of, explain(card.job)))
        else:
            waiting.append(_briefly_explained(job_line(world, card, viewer, spec_of), firsts.get(card.job)))
    return QueueReport(
        at_ms=now_ms,
        running=tuple(job_line(world, card, viewer, spec_of) for card in runs[:limit]),
        waiting=tuple(waiting),
        running_in_all=len(runs),
        waiting_in_all=waiting_in_all,
    )


def _specs(world: World, cards: Iterable[JobCard], viewer: Viewer, specs_of: SpecsOf) -> Mapping[str, JobSpec]:
    """Of all jobs that this viewer may see, asked for together: old ones are read from the ledger."""
    return specs_of([card.job for card in cards if viewer.may_see(world.nation, card.submitted.project)])


def jobs_report(
    world: World, cards: Iterable[JobCard], viewer: Viewer, specs_of: SpecsOf, now_ms: int, limit: int = 100
) -> JobsReport:
    """The newest `limit` of `cards`."""
    newest = heapq.nlargest(limit, cards, key=lambda card: (card.submitted.at_ms, card.job))
    spec_of = _specs(world, newest, viewer, specs_of).get
    return JobsReport(at_ms=now_ms, jobs=tuple(job_line(world, card, viewer, spec_of) for card in newest))


def finished_report(world: World, viewer: Viewer, specs_of: SpecsOf, now_ms: int, limit: int = 20) -> JobsReport:
    """The `limit` jobs that finished last, newest end first."""
    finished = list(world.latest_final(limit))
    spec_of = _specs(world, finished, viewer, specs_of).get
    return JobsReport(at_ms=now_ms, jobs=tuple(job_line(world, card, viewer, spec_of) for card in finished))


def job_report(
    world: World, card: JobCard, explain: ExplainJob, viewer: Viewer, spec_of: SpecOf, now_ms: int
) -> JobReport:
    """Everything about one job, or only its line when the viewer may not see more."""
    if not viewer.may_see(world.nation, card.submitted.project):
        return JobReport(at_ms=now_ms, line=job_line(world, card, viewer, spec_of))
    why = explain(card.job) if world.waits(card) else None
    asked = card.submitted
    spec = spec_of(card.job)
    return JobReport(
        at_ms=now_ms,
        line=job_line(world, card, viewer, spec_of, why),
        purpose=asked.purpose,
        by=asked.by,
        command=_command(spec),
        wanted_gpus=_wanted_gpus(asked),
        cpus=asked.cpus,
        memory_mib=asked.memory_mib,
        time_ms=asked.time_ms,
        not_before_ms=asked.not_before_ms or None,
        not_after_ms=asked.not_after_ms or None,
        deadline_ms=asked.deadline_ms or None,
        within=asked.within,
        priority=asked.priority,
        preemptible=asked.preemptible,
        checkpoint_every_ms=asked.checkpoint_every_ms,
        retry_limit=asked.retry_limit,
        failures=card.failures,
        depends=asked.depends,
        data=asked.data,
        allowed_sites=asked.sites,
        placements=card.placements,
        engine_nodes=card.engine_nodes,
        first_started_at_ms=card.first_started_at_ms,
        waited_ms=_waited_ms(card, now_ms),
        ran_ms=_ran_ms(card, now_ms),
        claimant=card.claimant,
        stop_reason=card.stop_reason,
        cancel_requested=card.cancel_requested,
        timeline=tuple(_timeline_line(moment) for moment in card.timeline),
        why=why,
    )


def _timeline_line(moment: Moment) -> TimelineLine:
    return TimelineLine(
        at_ms=moment.at_ms,
        state=moment.state,
        what=moment.what,
        jobs=moment.jobs,
        site=moment.site,
        attempt=moment.attempt,
        exit_code=moment.exit_code,
        reservation=moment.reservation,
        detail=moment.detail,
        note=what_happened(moment),
    )


def _gpus_per_node(card: JobCard) -> tuple[str, int, str]:
    """Class, thousandths of a GPU and MIG profile: what it has, or else wants first. A claim has no GPUs until free."""
    asked = card.submitted
    if card.placements and not card.state.is_waiting:
        first = card.placements[0]
        return card.gpu_class, len(first.gpus) * first.milli, first.profile
    return (*asked.gpus[0], asked.mig[0] if asked.mig else "") if asked.gpus else ("", 0, "")


def _wanted_gpus(asked: JobSubmitted) -> tuple[str, ...]:
    profiles = asked.mig or ("",) * len(asked.gpus)
    return tuple(
        gpus_text(gpu_class, milli, profile=profile)
        for (gpu_class, milli), profile in zip(asked.gpus, profiles, strict=True)
    )


def _command(spec: JobSpec | None) -> str | None:
    """The command as one line. A script is shown by its first line that does something."""
    if spec is None:
        return None
    if spec.command:
        return " ".join(spec.command)
    lines = (line.strip() for line in spec.script.splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")


def _waited_ms(card: JobCard, now_ms: int) -> int:
    until_ms = card.first_started_at_ms or card.ended_at_ms or now_ms
    return max(0, until_ms - card.submitted.at_ms)


def _ran_ms(card: JobCard, now_ms: int) -> int | None:
    if card.started_at_ms is None or card.state.is_waiting:
        return None
    return max(0, (card.ended_at_ms or now_ms) - card.started_at_ms)
