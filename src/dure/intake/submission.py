"""May this job be submitted? One flat list of rules, one code per rule, effects last."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from operator import attrgetter
from typing import Any

from msgspec import Struct

from dure.intake.fractions import as_offered, why_not_offered
from dure.intake.nation_index import NationIndex, NodeShape
from dure.intake.policy_refusals import refused_by_policy
from dure.intake.refusals import Refusal, RefusalCode, did_you_mean
from dure.model.dates import format_moment
from dure.model.events import JobSubmitted
from dure.model.fleet import NodeGroup
from dure.model.jobs import MOST_ALTERNATIVES, GpuRequest, JobSpec, Within
from dure.model.units import SECOND_MS, format_duration, format_gpus
from dure.policy import PermittedSites, PolicyInForce
from dure.world.cards import JobCard
from dure.world.templates import split_copy


class Submission(Struct, frozen=True, kw_only=True):
    """A job with everything it is judged by. The rules below read it; nothing changes it."""

    spec: JobSpec
    nation: NationIndex
    policy: PolicyInForce
    organisation: str
    known_jobs: Mapping[str, JobCard]
    now_ms: int

    def choices(self) -> tuple[GpuRequest, ...]:
        """The GPUs wanted, with classes as declared and "any class" written out, each once, in order of preference."""
        wanted = (choice for request in self.spec.gpus for choice in self._classes(request))
        return tuple(dict.fromkeys(wanted))[:MOST_ALTERNATIVES]

    def permitted(self) -> PermittedSites:
        """Where policy lets it run."""
        return self.policy.permitted_sites(self.organisation, self.spec.purpose, self.spec.data)

    @property
    def nodes(self) -> int:
        """Nodes without which it cannot run: of an elastic job the least."""
        return self.spec.min_nodes or self.spec.nodes

    def shape(self, choice: GpuRequest) -> NodeShape:
        """What each node must have for this choice."""
        return NodeShape(choice.gpu_class, choice.milli, self.spec.cpus, self.spec.memory_mib)

    def _classes(self, request: GpuRequest) -> list[GpuRequest]:
        declared = self.nation.gpu_class(request.gpu_class)
        names = self.nation.gpu_classes if not request.gpu_class else (declared or request.gpu_class,)
        return [as_offered(self.nation.nation.gpu_class(name), name, request) for name in names]


Rule = Callable[[Submission], Refusal | None]
ChoiceRule = Callable[[Submission, GpuRequest], Refusal | None]


def accept_job(
    spec: JobSpec,
    *,
    nation: NationIndex,
    policy: PolicyInForce,
    by: str,
    principal_organisation: str,
    known_jobs: Mapping[str, JobCard],
    job_id: str,
    at_ms: int,
    commitment: str,
) -> JobSubmitted | Refusal:
    """What to write to the ledger for this job, array or service; or why it cannot be.

    `policy` must be in force over the same nation. `principal_organisation` is whose caller it is. A job may depend on
    those of `known_jobs`, which are everyone's, that are its own organisation's. `commitment` is kept as it is.
    """
    submission = Submission(
        spec=spec,
        nation=nation,
        policy=policy,
        organisation=principal_organisation,
        known_jobs=known_jobs,
        now_ms=at_ms,
    )
    for rule in RULES:
        if (refusal := rule(submission)) is not None:
            return refusal
    choices, refusal = _possible_choices(submission)
    if refusal is not None:
        return refusal
    if (refusal := site_is_permitted_and_capable(submission, choices)) is not None:
        return refusal
    return _event(submission, choices, by=by, job_id=job_id, at_ms=at_ms, commitment=commitment)


UNJUDGED_FIELDS = frozenset(
    {"name", "command", "script", "setup", "workdir", "env", "secrets", "sandbox", "trains", "precision"}
)
"""What a job runs, and how, is nobody's business here; secrets are asked about elsewhere."""
JUDGED_FIELDS = tuple(field for field in JobSpec.__struct_fields__ if field not in UNJUDGED_FIELDS)
_judged = attrgetter(*JUDGED_FIELDS)


def likeness(spec: JobSpec, organisation: str) -> Hashable | None:
    """Jobs of one likeness are accepted with the same event, or refused for the same reason, under one nation.

    None for a job that is judged by more than itself: by other jobs, or by the time.
    """
    if spec.depends or spec.not_before_ms or spec.not_after_ms or spec.deadline_ms:
        return None
    return organisation, _judged(spec)


def project_is_known(submission: Submission) -> Refusal | None:
    """The project exists. Only the caller's own projects are suggested: others' names are not ours to tell."""
    project = submission.spec.project
    if submission.nation.organisation_of(project) is not None:
        return None
    hint = did_you_mean(project, submission.nation.projects_of(submission.organisation), "ask the operator to add it")
    return _refusal(RefusalCode.UNKNOWN_PROJECT, "project", f"there is no project {project!r}; {hint}")


def project_is_the_callers(submission: Submission) -> Refusal | None:
    """The project belongs to the organisation that asks."""
    project = submission.spec.project
    if project in submission.nation.projects_of(submission.organisation):
        return None
    message = f"project {project!r} does not belong to {submission.organisation or 'you'}; use a project that does"
    return _refusal(RefusalCode.NOT_YOUR_PROJECT, "project", message)


def project_has_a_share(submission: Submission) -> Refusal | None:
    """Some share takes the project's jobs."""
    project = submission.spec.project
    if submission.nation.share_of(project) is not None:
        return None
    message = f"neither project {project!r} nor its organisation has a share; ask the operator for one"
    return _refusal(RefusalCode.PROJECT_HAS_NO_SHARE, "project", message)


def gpu_classes_are_known(submission: Submission) -> Refusal | None:
    """Every class that is named is declared, even those that come second."""
    for request in submission.spec.gpus:
        if request.gpu_class and submission.nation.gpu_class(request.gpu_class) is None:
            hint = did_you_mean(request.gpu_class, submission.nation.gpu_classes)
            message = f"there is no GPU class {request.gpu_class!r}; {hint or 'the nation has no GPUs'}"
            return _refusal(RefusalCode.UNKNOWN_GPU_CLASS, "gpus", message)
    return None


def dependencies_are_known(submission: Submission) -> Refusal | None:
    """Every job it waits for is its own organisation's, for others' are not to be watched, and not long forgotten."""
    for job in submission.spec.depends:
        if _dependency(job, submission) is None:
            message = f"your organisation has no job {job!r}, or it ended long ago; remove it from depends"
            return _refusal(RefusalCode.UNKNOWN_DEPENDENCY, "depends", message)
    return None


def dependencies_end(submission: Submission) -> Refusal | None:
    """No job it waits for is a service, which never succeeds."""
    for job in submission.spec.depends:
        card = _dependency(job, submission)
        if card is not None and card.submitted.replicas is not None:
            message = f"{job} is a service, which runs until it is cancelled; remove it from depends"
            return _refusal(RefusalCode.DEPENDENCY_NEVER_ENDS, "depends", message)
    return None


def datasets_are_known(submission: Submission) -> Refusal | None:
    """Every dataset it reads is declared. Only datasets the caller may compute on are suggested."""
    for dataset in submission.spec.data:
        if dataset not in submission.nation.datasets:
            hint = did_you_mean(dataset, _readable_datasets(submission), "ask its owner to declare it")
            return _refusal(RefusalCode.UNKNOWN_DATASET, "data", f"there is no dataset {dataset!r}; {hint}")
    return None


def dates_are_ahead(submission: Submission) -> Refusal | None:
    """Nothing is asked of a moment that is over."""
    spec = submission.spec
    dates = {"not_before": spec.not_before_ms, "not_after": spec.not_after_ms, "deadline": spec.deadline_ms}
    for field, at_ms in dates.items():
        if 0 < at_ms < submission.now_ms:
            now = format_moment(submission.now_ms // SECOND_MS * SECOND_MS)
            message = f"{format_moment(at_ms)} is past; it is {now} now"
            return _refusal(RefusalCode.TIME_IN_THE_PAST, field, message)
    return None


def deadline_leaves_enough_time(submission: Submission) -> Refusal | None:
    """Started at once, it would end by its deadline."""
    spec = submission.spec
    if spec.deadline_ms == 0 or submission.now_ms + spec.time_ms <= spec.deadline_ms:
        return None
    left = format_duration(spec.deadline_ms - submission.now_ms)
    message = (
        f"it may run for {format_duration(spec.time_ms)}, but only {left} are left until its deadline; "
        "ask for less time, or for a later deadline"
    )
    return _refusal(RefusalCode.DEADLINE_TOO_EARLY, "deadline", message)


def policy_permits_some_site(submission: Submission) -> Refusal | None:
    """There is a site at which the organisation may run this, with this data, for this purpose."""
    permitted = submission.permitted()
    if permitted.sites:
        return None
    return refused_by_policy(submission.policy, submission.organisation, submission.spec, permitted)


RULES: tuple[Rule, ...] = (
    project_is_known,
    project_is_the_callers,
    project_has_a_share,
    gpu_classes_are_known,
    dependencies_are_known,
    dependencies_end,
    datasets_are_known,
    dates_are_ahead,
    deadline_leaves_enough_time,
    policy_permits_some_site,
)
"""Rules about the job as a whole, in the order in which they are tried."""


def fraction_is_offered(submission: Submission, choice: GpuRequest) -> Refusal | None:
    """The class gives such a part of a GPU."""
    gpu_class = submission.nation.nation.gpu_class(choice.gpu_class)
    reason = why_not_offered(gpu_class, choice) if gpu_class else ""
    return _refusal(RefusalCode.FRACTION_NOT_OFFERED, "gpus", reason) if reason else None


def some_node_is_large_enough(submission: Submission, choice: GpuRequest) -> Refusal | None:
    """One empty node somewhere has the GPUs, CPUs and memory."""
    if submission.nation.sites_that_fit(submission.shape(choice)):
        return None
    largest = submission.nation.largest_node(choice.gpu_class)
    has = f"the largest has {_describe(largest)}" if largest else "no node has any"
    message = (
        f"no node is large enough for {_per_node(submission, choice)}; {has}: ask for less per node, or more nodes"
    )
    return _refusal(RefusalCode.NO_NODE_LARGE_ENOUGH, _field_too_large(submission, choice, largest), message)


def enough_nodes_at_one_site(submission: Submission, choice: GpuRequest) -> Refusal | None:
    """A gang stays within one group of nodes, or nearer where it says so, and that must be large enough."""
    within = submission.spec.within
    counts = submission.nation.sites_that_fit(submission.shape(choice), within)
    site, most = max(counts.items(), key=lambda item: item[1])
    if submission.nodes <= most:
        return None
    place = "any site" if within in (Within.SITE, Within.NODE) else f"one {within.value} at any site"
    message = (
        f"{_nodes(submission)} with {_per_node(submission, choice)} are more than {place} has; "
        f"{site} has the most, {most:,}"
    )
    return _refusal(RefusalCode.NOT_ENOUGH_NODES, "nodes", message)


def share_limit_allows_it(submission: Submission, choice: GpuRequest) -> Refusal | None:
    """The job alone stays under the limits of its share and of every share above it."""
    reach = submission.nation.reach(_share(submission), choice.gpu_class)
    if _total_milli(submission, choice) <= reach.limit_milli:
        return None
    limit = _gpus(choice.gpu_class, reach.limit_milli)
    message = (
        f"{_total(submission, choice)} can never run: share {reach.limited_by} is limited to {limit}; ask for less"
    )
    return _refusal(RefusalCode.ABOVE_SHARE_LIMIT, "gpus", message)


def guarantee_covers_what_may_not_be_preempted(submission: Submission, choice: GpuRequest) -> Refusal | None:
    """Borrowed GPUs must be given back, so a job that may not be preempted must fit in a guarantee over its share."""
    reach = submission.nation.reach(_share(submission), choice.gpu_class)
    if submission.spec.preemptible or _total_milli(submission, choice) <= reach.guarantee_milli:
        return None
    guarantee = _gpus(choice.gpu_class, reach.guarantee_milli)
    message = (
        f"{_total(submission, choice)} would have to be borrowed: share {_share(submission)} is guaranteed "
        f"{guarantee}, and what is borrowed can be taken back; allow it with preemptible: true, or ask for less"
    )
    return _refusal(RefusalCode.NEEDS_PREEMPTIBLE, "preemptible", message)


def others_lend_enough(submission: Submission, choice: GpuRequest) -> Refusal | None:
    """With everything lent that others ever lend, the job fits."""
    reach = submission.nation.reach(_share(submission), choice.gpu_class)
    if _total_milli(submission, choice) <= reach.lent_milli:
        return None
    lent = _gpus(choice.gpu_class, max(0, reach.lent_milli))
    message = (
        f"{_total(submission, choice)} can never run: share {_share(submission)} can have at most {lent}, "
        "because the rest is never lent; ask for less"
    )
    return _refusal(RefusalCode.ABOVE_WHAT_IS_LENT, "gpus", message)


NODE_RULES: tuple[ChoiceRule, ...] = (some_node_is_large_enough, enough_nodes_at_one_site)
"""Rules that a job without GPUs is held to as well."""

CHOICE_RULES: tuple[ChoiceRule, ...] = (
    fraction_is_offered,
    *NODE_RULES,
    share_limit_allows_it,
    guarantee_covers_what_may_not_be_preempted,
    others_lend_enough,
)
"""Rules about one choice of GPUs. A choice that breaks one is dropped; the job is refused when none is left."""

_NO_GPUS = GpuRequest(gpu_class="", milli=0)


def _possible_choices(submission: Submission) -> tuple[tuple[GpuRequest, ...], Refusal | None]:
    """The choices that could ever run, or why the most preferred cannot."""
    choices = submission.choices()
    if not choices:
        for rule in NODE_RULES:
            if (refusal := rule(submission, _NO_GPUS)) is not None:
                return (), refusal
        return (), None
    refusals = [_first_refusal(submission, choice) for choice in choices]
    possible = tuple(choice for choice, refusal in zip(choices, refusals, strict=True) if refusal is None)
    return possible, slices_are_alike(submission, possible) if possible else refusals[0]


def slices_are_alike(submission: Submission, choices: tuple[GpuRequest, ...]) -> Refusal | None:
    """Whichever class it gets, a job has the same memory slices: what it counts is known before where it runs."""
    profiles: dict[tuple[int, tuple[int, ...]], str] = {}
    for choice in choices if choices[0].profile else ():
        gpu_class = submission.nation.nation.gpu_class(choice.gpu_class)
        profile = gpu_class.mig_profile(choice.profile) if gpu_class else None
        if profile is not None:
            profiles.setdefault((profile.memory_slices, profile.starts), _gpus_of(choice))
    if len(profiles) < 2:
        return None
    message = (
        f"{' and '.join(profiles.values())} are slices of different sizes; name one class, or profiles of one size"
    )
    return _refusal(RefusalCode.SLICES_DIFFER, "gpus", message)


def _first_refusal(submission: Submission, choice: GpuRequest) -> Refusal | None:
    for rule in CHOICE_RULES:
        refusal = rule(submission, choice)
        if refusal is not None:
            return refusal
    return None


def site_is_permitted_and_capable(submission: Submission, choices: tuple[GpuRequest, ...]) -> Refusal | None:
    """One site is both permitted by policy and large enough for the whole job."""
    permitted = submission.permitted()
    for choice in choices or (_NO_GPUS,):
        counts = submission.nation.sites_that_fit(submission.shape(choice))
        if any(counts.get(site, 0) >= submission.nodes for site in permitted.sites):
            return None
    rules = f" (elsewhere: {', '.join(permitted.rules)})" if permitted.rules else ""
    message = (
        f"policy lets this job run at {', '.join(permitted.sites)}{rules}, but no site there has "
        f"{_nodes(submission)} with {_per_node(submission, (choices or (_NO_GPUS,))[0])}"
    )
    return Refusal(code=RefusalCode.NO_SITE_ALLOWED_AND_CAPABLE, message=message, field="data", rules=permitted.rules)


def _dependency(job: str, submission: Submission) -> JobCard | None:
    """The job, or the array of which it is a task that has not begun; None if it is not the organisation's."""
    card = submission.known_jobs.get(job) or _array_of(job, submission.known_jobs)
    own = submission.nation.projects_of(submission.organisation)
    return card if card is not None and card.submitted.project in own else None


def _array_of(job: str, known_jobs: Mapping[str, JobCard]) -> JobCard | None:
    name, number = split_copy(job)
    card = known_jobs.get(name)
    array = card.submitted.array if card is not None and not card.state.is_final else None
    return card if array is not None and array.first <= number <= array.last else None


def _event(
    submission: Submission, choices: tuple[GpuRequest, ...], *, by: str, job_id: str, at_ms: int, commitment: str
) -> JobSubmitted:
    """The job as the ledger keeps it."""
    spec = submission.spec
    fields: dict[str, Any] = {
        "at_ms": at_ms,
        "job": job_id,
        "project": spec.project,
        "by": by,
        "commitment": commitment,
        "gpus": tuple((choice.gpu_class, choice.milli) for choice in choices),
        "mig": tuple(choice.profile for choice in choices if choice.profile),
        "nodes": spec.nodes,
        "min_nodes": spec.min_nodes,
        "cpus": spec.cpus,
        "memory_mib": spec.memory_mib,
        "time_ms": spec.time_ms,
        "within": spec.within.value,
        "priority": spec.priority,
        "preemptible": spec.preemptible,
        "checkpoint_every_ms": spec.checkpoint.every_ms,
        "saves_when_warned": bool(spec.checkpoint.signal),
        "retry_limit": spec.retry.limit,
        "retry_backoff_ms": spec.retry.backoff_ms,
        "depends": tuple(dict.fromkeys(spec.depends)),
        "data": spec.data,
        "purpose": spec.purpose.value,
        "sites": submission.permitted().sites,
        "agreements": submission.permitted().agreements,
        "not_before_ms": spec.not_before_ms,
        "not_after_ms": spec.not_after_ms,
        "deadline_ms": spec.deadline_ms,
        "array": spec.array,
        "replicas": spec.replicas,
    }
    return JobSubmitted(**fields)


def _readable_datasets(submission: Submission) -> tuple[str, ...]:
    return tuple(
        dataset.name
        for dataset in submission.nation.datasets.values()
        if submission.policy.may_read_somewhere(submission.organisation, dataset.name)
    )


def _refusal(code: RefusalCode, field: str, message: str) -> Refusal:
    return Refusal(code=code, field=field, message=message)


def _share(submission: Submission) -> str:
    """Name of the share it runs under; `project_has_a_share` was asked before."""
    share = submission.nation.share_of(submission.spec.project)
    assert share is not None
    return share.name


def _total_milli(submission: Submission, choice: GpuRequest) -> int:
    """Thousandths of a GPU at once: of a job or one task of an array, of a service with all its replicas."""
    replicas = submission.spec.replicas
    return submission.nodes * choice.milli * (replicas.most if replicas else 1)


def _total(submission: Submission, choice: GpuRequest) -> str:
    if choice.profile:
        return f"{_gpus_of(choice)} ({format_gpus(choice.milli)} of a GPU)"
    return _gpus(choice.gpu_class, _total_milli(submission, choice))


def _gpus_of(choice: GpuRequest) -> str:
    """What is asked of a class on each node, as people write it."""
    return f"{choice.gpu_class}:{choice.profile}" if choice.profile else _gpus(choice.gpu_class, choice.milli)


def _gpus(gpu_class: str, milli: int) -> str:
    return f"{gpu_class}:{format_gpus(milli)}"


def _nodes(submission: Submission) -> str:
    count = submission.nodes
    return "1 node" if count == 1 else f"{count:,} nodes"


def _per_node(submission: Submission, choice: GpuRequest) -> str:
    """What the job wants of each node, as people write it."""
    spec = submission.spec
    parts = [_gpus_of(choice)] if choice.milli else []
    parts += [f"{spec.cpus} CPUs"] if spec.cpus else []
    parts += [f"{spec.memory_mib:,} MiB"] if spec.memory_mib else []
    return ", ".join(parts)


def _describe(group: NodeGroup) -> str:
    gpus = f"{group.gpu_class}:{group.gpus}, " if group.gpus else ""
    return f"{gpus}{group.cpus} CPUs, {group.memory_mib:,} MiB"


def _field_too_large(submission: Submission, choice: GpuRequest, largest: NodeGroup | None) -> str:
    """The field to blame: the first of GPUs, CPUs and memory of which the largest node has too little."""
    if largest is None or choice.milli > largest.gpus * 1000:
        return "gpus"
    return "cpus" if submission.spec.cpus > largest.cpus else "memory"
