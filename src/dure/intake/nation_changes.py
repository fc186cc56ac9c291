"""What applying a nation file would change, in lines an operator reads; and which changes must wait for jobs to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from msgspec import Struct, structs

from dure.intake.assurances import assurance_scheme_facts, describe_assurances
from dure.intake.datasets import data_class_facts, dataset_facts
from dure.intake.fractions import describe_mig, describe_parts, why_not_offered
from dure.intake.refusals import Refusal, RefusalCode
from dure.intake.reservations import reservation_facts
from dure.model.agreements import Agreement, Operation
from dure.model.fleet import GpuClass, NodeGroup
from dure.model.jobs import GpuRequest
from dure.model.nation import Nation
from dure.model.organisations import UNLIMITED_MILLI, ShareAmount
from dure.model.units import format_duration, format_gpus
from dure.world.cards import JobCard


class ChangeKind(StrEnum):
    """What happens to a thing; the value is the sign before its line."""

    ADDED = "+"
    REMOVED = "-"
    CHANGED = "~"


class Change(Struct, frozen=True, kw_only=True):
    """One line of a difference. `what` is the thing, `detail` what about it changes, from `old` to `new`."""

    kind: ChangeKind
    what: str
    detail: str = ""
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        if self.kind is not ChangeKind.CHANGED:
            return f"{self.kind} {self.what}"
        return f"{self.kind} {self.what} {self.detail}: {self.old or '(none)'} -> {self.new or '(none)'}"


Order = tuple[str, ...]
"""Names in an order that has a meaning of its own. Names that come or go are no change of order."""
Details = dict[str, str | Order]
Facts = dict[str, Details]
"""Everything a nation declares: what it is about, and each detail as people read it."""


def difference(old: Nation | None, new: Nation) -> tuple[Change, ...]:
    """What applying `new` would change, removals first in each section. Empty when, and only when, nothing changes."""
    before, after = _facts(old or Nation()), _facts(new)
    changes = [Change(kind=ChangeKind.REMOVED, what=what) for what in before if what not in after]
    for what, details in after.items():
        if what not in before:
            changes.append(Change(kind=ChangeKind.ADDED, what=what))
        else:
            changes += _changed_details(what, before[what], details)
    return tuple(changes)


def _changed_details(what: str, before: Details, after: Details) -> list[Change]:
    changes = []
    for each in dict.fromkeys((*before, *after)):
        old, new = _as_text(before.get(each, ""), after.get(each, ""))
        if old != new:
            changes.append(Change(kind=ChangeKind.CHANGED, what=what, detail=each, old=old, new=new))
    return changes


def _as_text(old: str | Order, new: str | Order) -> tuple[str, str]:
    """Both as people read them; of an order, only the names that stay."""
    if isinstance(old, str) or isinstance(new, str):
        return str(old), str(new)
    return _names(each for each in old if each in set(new)), _names(each for each in new if each in set(old))


def _facts(nation: Nation) -> Facts:
    facts: Facts = {"nation": _order_of_everything(nation), "timing": _timing_facts(nation)}
    facts |= {f"GPU class {each.name}": _gpu_class_facts(each) for each in nation.gpu_classes}
    facts |= _fleet_facts(nation)
    facts |= _people_facts(nation)
    facts |= _share_facts(nation)
    facts |= _data_facts(nation)
    return facts | {f"reservation {each.name}": {**reservation_facts(each)} for each in nation.reservations}


def _order_of_everything(nation: Nation) -> Details:
    """Order is the order of placement and of every listing."""
    return {
        "order of GPU classes": tuple(each.name for each in nation.gpu_classes),
        "order of sites": tuple(each.name for each in nation.sites),
        "order of organisations": tuple(each.name for each in nation.organisations),
        "order of shares": tuple(each.name for each in nation.shares),
        "order of datasets": tuple(each.name for each in nation.datasets),
        "order of assurance schemes": tuple(each.name for each in nation.assurance_schemes),
        "order of data classes": tuple(each.name for each in nation.data_classes),
    }


def _gpu_class_facts(gpu_class: GpuClass) -> Details:
    own_half_life = format_duration(gpu_class.half_life_ms) if gpu_class.half_life_ms else ""
    return {
        "exchange": f"{gpu_class.exchange_milli / 1000}",
        "half-life": own_half_life,
        "fractions": describe_parts(gpu_class.parts),
        "MIG": describe_mig(gpu_class),
    }


def _timing_facts(nation: Nation) -> Details:
    timing = nation.timing
    return {
        "protected": format_duration(timing.protected_ms),
        "warning": format_duration(timing.warning_ms),
        "grace": format_duration(timing.grace_ms),
        "half-life": format_duration(timing.half_life_ms),
        "backfill depth": str(timing.backfill_depth),
        "backfill interval": format_duration(timing.backfill_interval_ms),
        "backfill reservations": str(timing.backfill_reservations),
        "suspect after": str(timing.suspect_after),
        "suspect window": format_duration(timing.suspect_window_ms),
        "probation": format_duration(timing.probation_ms),
    }


def _fleet_facts(nation: Nation) -> Facts:
    facts: Facts = {}
    for site in nation.sites:
        facts[f"site {site.name}"] = {
            "country": site.country,
            "owner": site.owner,
            "engine": site.engine.value,
            "Korean title": site.title_ko,
            "English title": site.title_en,
            "assurances": describe_assurances(site.assurances),
            "order of node groups": tuple(group.name for group in site.nodes),
        }
        facts |= {f"node group {group.name}": _group_facts(site.name, group) for group in site.nodes}
    return facts


def _group_facts(site: str, group: NodeGroup) -> Details:
    return {
        "site": site,
        "count": str(group.count),
        "GPUs": f"{group.gpu_class}:{group.gpus}" if group.gpus else "",
        "CPUs": str(group.cpus),
        "memory": f"{group.memory_mib} MiB",
        "nodes per domain, rack, block; spare": ", ".join(map(str, structs.astuple(group.topology))),
    }


def _people_facts(nation: Nation) -> Facts:
    facts: Facts = {}
    for each in nation.organisations:
        facts[f"organisation {each.name}"] = {
            "kind": each.kind.value,
            "country": each.country,
            "parent country": each.parent_country,
            "Korean title": each.title_ko,
            "English title": each.title_en,
            "order of projects": each.projects,
        }
        facts |= {f"project {project}": {"organisation": each.name} for project in each.projects}
    return facts


def _share_facts(nation: Nation) -> Facts:
    facts: Facts = {}
    for share in nation.shares:
        details: Details = {"parent": share.parent or "", "weight": str(share.weight)}
        for amount in share.amounts:
            details |= _amount_facts(amount)
        facts[f"share {share.name}"] = details
    return facts


def _amount_facts(amount: ShareAmount) -> Details:
    """What goes without saying is left out, so that saying it is no change."""
    said = {
        "guarantee": (amount.guarantee_milli, 0),
        "lend": (amount.lend_milli, UNLIMITED_MILLI),
        "limit": (amount.limit_milli, UNLIMITED_MILLI),
        "reclaim per hour": (amount.reclaim_per_hour_milli, UNLIMITED_MILLI),
    }
    return {
        f"{kind} {amount.gpu_class}": format_gpus(milli) for kind, (milli, unsaid) in said.items() if milli != unsaid
    }


def _data_facts(nation: Nation) -> Facts:
    facts: Facts = {
        f"assurance scheme {each.name}": {**assurance_scheme_facts(each)} for each in nation.assurance_schemes
    }
    facts |= {f"data class {each.name}": {**data_class_facts(each)} for each in nation.data_classes}
    return facts | {f"dataset {each.name}": {**dataset_facts(each)} for each in nation.datasets}


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)


Guard = Callable[[Nation, Nation, Sequence[JobCard]], Refusal | None]


def refuse_nation_change(old: Nation, new: Nation, jobs: Iterable[JobCard]) -> Refusal | None:
    """Why `new` cannot replace `old` while these jobs are not over; None when it can. Final jobs stand in no way."""
    unfinished = [card for card in jobs if not card.state.is_final]
    for guard in GUARDS:
        if (refusal := guard(old, new, unfinished)) is not None:
            return refusal
    return None


def projects_with_jobs_stay(old: Nation, new: Nation, jobs: Sequence[JobCard]) -> Refusal | None:
    """A project keeps its organisation, and a share to run under, until its jobs are over."""
    for project, names in _jobs_by(jobs, lambda card: [card.submitted.project]).items():
        before, after = old.organisation_of(project), new.organisation_of(project)
        if before is not None and (after is None or after.name != before.name):
            what = "be removed" if after is None else f"move to {after.name}"
            return _in_use(RefusalCode.PROJECT_IN_USE, "organisations", f"project {project} cannot {what}", names)
        if before is not None and new.share_of(project) is None:
            message = f"project {project} cannot be left without a share"
            return _in_use(RefusalCode.PROJECT_IN_USE, "shares", message, names)
    return None


def nodes_with_jobs_stay(old: Nation, new: Nation, jobs: Sequence[JobCard]) -> Refusal | None:
    """A node keeps its site and its GPUs while a job holds some of it, and a group may shrink only by idle nodes."""
    groups = {group.name: (site.name, group) for site, group in new.node_groups()}
    before = {group.name: (site.name, group) for site, group in old.node_groups()}
    for node, names in _jobs_by(jobs, lambda card: [placement.node for placement in card.placements]).items():
        group_name, _, position = node.rpartition("-")
        if group_name not in before:
            continue
        if group_name not in groups:
            message = f"node group {group_name} cannot be removed"
        elif int(position) >= groups[group_name][1].count:
            message = f"node group {group_name} cannot shrink to {groups[group_name][1].count} nodes: {node} is in use"
        elif _hardware(*groups[group_name]) != _hardware(*before[group_name]):
            message = f"node group {group_name} cannot change its site or its GPUs, CPUs and memory per node"
        else:
            continue
        return _in_use(RefusalCode.NODE_GROUP_IN_USE, "sites", message, names)
    return None


def gpu_classes_that_jobs_wait_for_stay(old: Nation, new: Nation, jobs: Sequence[JobCard]) -> Refusal | None:
    """A class stays declared as long as a job names it."""
    declared = {each.name for each in new.gpu_classes}
    wanted = _jobs_by(jobs, lambda card: [gpu_class for gpu_class, _ in card.submitted.gpus])
    for gpu_class, names in wanted.items():
        if gpu_class not in declared:
            message = f"GPU class {gpu_class} cannot be removed"
            return _in_use(RefusalCode.GPU_CLASS_IN_USE, "gpu_classes", message, names)
    return None


def fractions_that_jobs_want_stay(old: Nation, new: Nation, jobs: Sequence[JobCard]) -> Refusal | None:
    """A part of a GPU stays on offer as long as a job that is not over asked for it, and a MIG profile what it is."""
    for gpu_class in new.gpu_classes:
        before = old.gpu_class(gpu_class.name)
        for request, names in _requests_of(gpu_class.name, jobs).items():
            same = before is None or before.mig_profile(request.profile) == gpu_class.mig_profile(request.profile)
            if why_not_offered(gpu_class, request) or not same:
                what = request.profile or format_gpus(request.milli)
                message = f"{gpu_class.name}:{what} cannot be withdrawn or changed"
                return _in_use(RefusalCode.FRACTION_IN_USE, f"gpu_classes.{gpu_class.name}", message, names)
    return None


def _requests_of(gpu_class: str, jobs: Sequence[JobCard]) -> dict[GpuRequest, list[str]]:
    """What unfinished jobs asked of a class, and which jobs."""
    requests: dict[GpuRequest, list[str]] = {}
    for card in jobs:
        for index, (name, milli) in enumerate(card.submitted.gpus):
            if name == gpu_class:
                profile = card.submitted.mig[index] if card.submitted.mig else ""
                requests.setdefault(GpuRequest(gpu_class=name, milli=milli, profile=profile), []).append(card.job)
    return requests


def jobs_keep_a_site(old: Nation, new: Nation, jobs: Sequence[JobCard]) -> Refusal | None:
    """Of the sites policy let a job run at, one is still there."""
    remaining = {site.name for site in new.sites}
    stranded = [card.job for card in jobs if not remaining.intersection(card.submitted.sites)]
    if not stranded:
        return None
    gone = _names(site.name for site in old.sites if site.name not in remaining)
    return _in_use(RefusalCode.SITE_IN_USE, "sites", f"site {gone} cannot be removed", stranded)


def datasets_with_jobs_stay(old: Nation, new: Nation, jobs: Sequence[JobCard]) -> Refusal | None:
    """A dataset stays declared until no job reads it or is going to."""
    declared = {each.name for each in new.datasets}
    for dataset, names in _jobs_by(jobs, lambda card: card.submitted.data).items():
        if dataset not in declared:
            return _in_use(RefusalCode.DATASET_IN_USE, "datasets", f"dataset {dataset} cannot be removed", names)
    return None


def refuse_new_copies(old: Nation, new: Nation, agreements: Iterable[Agreement]) -> Refusal | None:
    """A dataset gets another copy where its owner owns the site, or where an agreement in force lets it be copied to.

    The owner is who owned the data before. Of a dataset that was not declared before, all copies are taken as they are.
    """
    allowed = {
        (dataset, site)
        for each in agreements
        if Operation.COPY in each.terms.operations
        for dataset in each.terms.datasets
        for site in each.terms.sites
    }
    before = {each.name: each for each in old.datasets}
    owners = {site.name: site.owner for site in new.sites}
    for dataset in new.datasets:
        known = before.get(dataset.name)
        for site in dataset.sites if known is not None else ():
            if known is None or site in known.sites or owners.get(site) == known.owner:
                continue
            if (dataset.name, site) not in allowed:
                message = (
                    f"dataset {dataset.name} cannot get a copy at {site}: {known.owner} does not own that site, and no "
                    f"agreement in force lets it be copied there; offer one with the operation copy"
                )
                return Refusal(code=RefusalCode.COPY_NOT_AGREED, field="datasets", message=message)
    return None


GUARDS: tuple[Guard, ...] = (
    projects_with_jobs_stay,
    nodes_with_jobs_stay,
    gpu_classes_that_jobs_wait_for_stay,
    fractions_that_jobs_want_stay,
    jobs_keep_a_site,
    datasets_with_jobs_stay,
)
"""Changes that would pull something from under a job, in the order in which they are looked for."""


def _jobs_by(jobs: Sequence[JobCard], keys: Callable[[JobCard], Iterable[str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for card in jobs:
        for key in keys(card):
            grouped.setdefault(key, []).append(card.job)
    return grouped


def _hardware(site: str, group: NodeGroup) -> tuple[str, str, int, int, int]:
    return site, group.gpu_class, group.gpus, group.cpus, group.memory_mib


def _in_use(code: RefusalCode, field: str, message: str, jobs: Sequence[str]) -> Refusal:
    few = ", ".join(jobs[:3]) + (f" and {len(jobs) - 3:,} more" if len(jobs) > 3 else "")
    advice = "cancel them or wait for them to end" if len(jobs) > 1 else "cancel it or wait for it to end"
    return Refusal(code=code, field=field, message=f"{message} while in use by {few}; {advice}")
