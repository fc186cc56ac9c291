"""Tasks of arrays and replicas of services in the audit's books: which may begin, and which may be stopped."""

from __future__ import annotations

from msgspec.structs import replace

from dure.audit.page import Entry, Page
from dure.model.jobs import Replicas
from dure.model.plan import Claim, Decision, Start
from dure.model.units import DAY_MS


def wanted_at(replicas: Replicas, now_ms: int) -> int:
    """How many replicas a load profile wants: those of the day's latest step, or else of yesterday's last."""
    begun = [wanted for at_ms, wanted in replicas.steps if at_ms <= now_ms % DAY_MS]
    return begun[-1] if begun else replicas.steps[-1][1]


def fault_in_beginning(page: Page, decision: Decision, now_ms: int) -> tuple[str, str] | None:
    """The rule that is broken when something begins that is not in the books, and what there is to say; or None."""
    name, number = page.split(decision.job)
    template = page.jobs.get(name)
    if template is None or not isinstance(decision, Start | Claim):
        return "unknown-job", "it is not in the books"
    array, replicas = template.submitted.array, template.submitted.replicas
    if array is not None:
        if not array.first <= number <= array.last:
            return "task-beyond-array", f"tasks are {array.first} to {array.last}"
        if template.begun >> number & 1:
            return "task-begun-twice", "it has begun, or was cancelled before it did"
    elif replicas is not None:
        if number < template.begun:
            return "task-begun-twice", f"replicas are numbered upwards, the next is {template.begun}"
        if template.live >= wanted_at(replicas, now_ms):
            return "more-replicas-than-wanted", f"{template.live} of {wanted_at(replicas, now_ms)} are there"
    else:
        return "unknown-job", f"{name} is neither an array nor a service"
    return None


def fault_in_scaling_down(page: Page, entry: Entry, now_ms: int) -> tuple[str, str] | None:
    """The rule that is broken when a replica is stopped as surplus; or None."""
    template = page.jobs.get(entry.template)
    if template is None or template.submitted.replicas is None:
        return "scaled-down-no-replica", "only replicas of a service can be surplus"
    wanted = wanted_at(template.submitted.replicas, now_ms)
    if template.live <= wanted:
        return "scaled-down-needlessly", f"{template.live} replicas, {wanted} wanted"
    return None


def never_begins(page: Page, job: str) -> None:
    """A task was cancelled before it began."""
    name, number = page.split(job)
    template = page.jobs.get(name)
    if template is not None and template.submitted.array is not None and not template.begun >> number & 1:
        page.jobs[name] = replace(template, begun=template.begun | 1 << number)
        page.count_over(name)


def begins_no_more(page: Page, job: str) -> None:
    """It is too late for the tasks of an array that have not begun."""
    array = page.jobs[job].submitted.array
    for number in range(array.first, array.last + 1) if array is not None else ():
        never_begins(page, f"{job}_{number}")


def copies_of(page: Page, job: str) -> list[str]:
    """The tasks or replicas of a job that have begun and are not over."""
    return [name for name, entry in page.jobs.items() if entry.template == job]
