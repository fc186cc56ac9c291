"""What was asked is asked again under changed rules, with the facts of its own moment."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dure.bootstrap import make_policy_set
from dure.governance.policy_replay import Changed, Replayed, replay
from dure.model.agreements import Operation, Terms
from dure.model.datasets import Dataset, Purpose
from dure.model.events import AccessRefused, AnyEvent, JobSubmitted, NationApplied
from dure.model.fleet import Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind
from dure.model.oversight import AgreementAccepted, AgreementOffered, ChangeApproved, ChangeProposed, StopOrdered
from dure.model.proposals import PolicyChange
from dure.model.stop_orders import StopOrder
from dure.policy import PolicySet

SHIPPED = make_policy_set()
TITLES = '@title_ko("규칙") @title_en("A rule") @remedy_ko("도움") @remedy_en("Help")'
NO_SCANS = f'@id("no-scans") {TITLES} forbid (principal, action, resource == Dataset::"scans");'
FIRM = Organisation(name="firm", kind=OrganisationKind.SME, country="KR", parent_country="KR", projects=("work",))
SCANS = Dataset(
    name="scans",
    owner="owner",
    classes=("public",),
    jurisdiction="KR",
    purposes=(Purpose.RESEARCH,),
    sites=("here",),
    readers=(),
    embargo_until_ms=500,
)
NATION = Nation(
    sites=(Site(name="here", country="KR", owner="owner", nodes=()),),
    organisations=(FIRM, Organisation(name="owner", kind=FIRM.kind, country="KR", parent_country="KR", projects=())),
    datasets=(SCANS,),
)
TERMS = Terms(
    provider="owner",
    recipient="firm",
    datasets=("scans",),
    purposes=(Purpose.RESEARCH,),
    operations=(Operation.COMPUTE,),
    sites=("here",),
    from_ms=100,
    until_ms=900,
)
AGREED: tuple[AnyEvent, ...] = (
    NationApplied(at_ms=1, by="o", nation=NATION),
    AgreementOffered(at_ms=2, agreement="a1", terms=TERMS, organisation="owner", by="o"),
    AgreementAccepted(at_ms=3, agreement="a1", version=1, organisation="firm", by="f"),
)


def submitted(at_ms: int, job: str = "j1", project: str = "work") -> JobSubmitted:
    return JobSubmitted(
        at_ms=at_ms,
        job=job,
        project=project,
        by="f",
        commitment="",
        gpus=(),
        nodes=1,
        cpus=1,
        memory_mib=0,
        time_ms=1,
        within="site",
        priority=0,
        preemptible=True,
        checkpoint_every_ms=0,
        retry_limit=0,
        retry_backoff_ms=0,
        depends=(),
        data=("scans",),
        purpose="research",
        sites=("here",),
    )


def replayed(events: Sequence[AnyEvent], changed: PolicySet) -> tuple[list[Changed], Replayed]:
    counts = Replayed()
    return list(replay(enumerate(events), SHIPPED, changed, counts)), counts


def test_an_accepted_request_that_would_be_refused_is_listed_with_both_answers() -> None:
    found, counts = replayed([*AGREED, submitted(600)], SHIPPED.with_own([("no.cedar", NO_SCANS)]))
    [change] = found
    assert (change.position, change.at_ms, change.job, change.organisation) == (3, 600, "j1", "firm")
    assert (change.purpose, change.data) == ("research", ("scans",))
    assert (change.before.sites, change.before.agreements) == (("here",), ("a1",))
    assert (change.after.sites, change.after.rules) == ((), ("no-scans",))
    assert (counts.requests, counts.changed) == (1, 1)


def test_a_refused_request_that_would_be_refused_by_another_rule_is_listed() -> None:
    refused = AccessRefused(
        at_ms=600, by="f", project="work", data=("scans",), purpose="research", rules=("reader-must-be-named",)
    )
    found, _ = replayed([AGREED[0], refused], SHIPPED.with_own([("no.cedar", NO_SCANS)]))
    assert [(each.job, each.before.rules, each.after.rules) for each in found] == [
        ("", ("reader-must-be-named",), ("no-scans", "reader-must-be-named"))
    ]


def test_the_same_rules_change_nothing() -> None:
    found, counts = replayed([*AGREED, submitted(600), submitted(950, "j2")], SHIPPED)
    assert found == []
    assert counts.requests == 2


@pytest.mark.parametrize(("at_ms", "changes"), [(400, False), (499, False), (500, True), (899, True), (900, False)])
def test_facts_are_those_of_the_moment_of_the_request(at_ms: int, changes: bool) -> None:
    """Before the embargo is over and after the agreement is, it is refused under either set, if for other rules."""
    earlier = submitted(110, "j0")
    found, _ = replayed([*AGREED, earlier, submitted(at_ms)], SHIPPED.with_own([("no.cedar", NO_SCANS)]))
    assert [bool(each.before.sites) for each in found] == [False, changes]


def test_a_stop_order_that_held_then_is_part_of_the_facts() -> None:
    order = StopOrdered(at_ms=550, order=StopOrder(id="s1", within_ms=1, reason="r", dataset="scans"), by="o")
    found, _ = replayed([*AGREED, order, submitted(600)], SHIPPED.with_own([("no.cedar", NO_SCANS)]))
    assert [each.before.rules for each in found] == [("stop-order",)]


def test_the_rules_that_a_programme_had_are_what_is_compared_with() -> None:
    proposed = ChangeProposed(
        at_ms=550, proposal="p1", change=PolicyChange(policies=(("no.cedar", NO_SCANS),)), by="acc1"
    )
    events = [*AGREED, proposed, ChangeApproved(at_ms=560, proposal="p1", by="acc2"), submitted(600)]
    found, _ = replayed(events, SHIPPED)
    assert [(each.before.rules, each.after.sites) for each in found] == [(("no-scans",), ("here",))]


def test_a_request_for_a_project_that_is_nobodys_is_refused_under_any_rules() -> None:
    found, counts = replayed([*AGREED, submitted(600, project="gone")], SHIPPED.with_own([("no.cedar", NO_SCANS)]))
    assert (found, counts.requests) == ([], 1)
