"""Jobs are asked about again when what policy knows has changed: rules, agreements, stop orders, the nation, or a date.

One that waits goes only where it may run now, and is cancelled when that is nowhere. One that runs where it may not run
any more is stopped at once: within the shortest limit of the stop orders that hit it, or else after the usual grace.
"""

from __future__ import annotations

from dure.control.access import PLATFORM
from dure.control.attempts import attempt_id, holds_gpus
from dure.control.draft import Draft
from dure.control.launching import engine_of
from dure.control.memory import Memory
from dure.control.orders import StopOrder as StopAttempt
from dure.model.datasets import Purpose
from dure.model.events import CancelRequested, SitesChanged
from dure.model.nation import Nation
from dure.model.stop_orders import StopOrder
from dure.policy import PermittedSites
from dure.world.cards import JobCard


def redecide(memory: Memory, draft: Draft) -> None:
    """Ask again about every job that is not over. Does nothing while nothing has changed that policy knows of."""
    if not memory.bind_policy(draft.now_ms):
        return
    draft.settle()
    moved = {}
    for card in [card for card in draft.world.jobs.values() if not card.state.is_final]:
        permitted = _permitted_to(card, draft.world.nation, memory)
        asked = card.submitted
        if _must_go(card, permitted):
            _withdraw(card, permitted, draft)
        elif permitted.sites != asked.sites:
            moved[asked.project, asked.purpose, asked.data] = permitted.sites
    if moved:
        draft.record(SitesChanged(at_ms=draft.now_ms, cases=tuple((*alike, sites) for alike, sites in moved.items())))


def _permitted_to(card: JobCard, nation: Nation, memory: Memory) -> PermittedSites:
    """Where a job may run now. One whose project is gone may run nowhere."""
    asked = card.submitted
    owner = nation.organisation_of(asked.project)
    return memory.policy.permitted_sites(owner.name if owner else "", Purpose(asked.purpose), asked.data)


def _must_go(card: JobCard, permitted: PermittedSites) -> bool:
    """An array or service holds nothing itself; each of its tasks and replicas is judged by where it runs."""
    if not permitted.sites:
        return True
    return card.copies is None and holds_gpus(card) and card.site not in permitted.sites


def _stop_orders_against(card: JobCard, draft: Draft) -> list[StopOrder]:
    nation = draft.world.nation
    owner = nation.organisation_of(card.submitted.project)
    sites = [site for site in nation.sites if site.name == card.site] or nation.sites
    return [
        order
        for order in draft.register.stop_orders.values()
        if owner and any(order.hits(owner, site, dataset) for site in sites for dataset in card.submitted.data)
    ]


def _withdraw(card: JobCard, permitted: PermittedSites, draft: Draft) -> None:
    orders = _stop_orders_against(card, draft)
    within_ms = min((each.within_ms for each in orders), default=0)
    if not card.cancel_requested:
        draft.record(
            CancelRequested(
                at_ms=draft.now_ms,
                job=card.job,
                by=PLATFORM.id,
                rules=permitted.rules,
                stop_orders=tuple(each.id for each in orders),
                within_ms=within_ms,
            )
        )
    elif within_ms and holds_gpus(card):
        # It was being stopped already, perhaps with more time than the order leaves.
        name = attempt_id(card.job, card.attempt)
        draft.orders.append(StopAttempt(engine=engine_of(draft.world, card), attempt_id=name, grace_ms=within_ms // 2))
