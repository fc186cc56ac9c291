"""A newer pack, a crossed threshold, an incident or another use opens tasks, and nothing else does."""

from __future__ import annotations

from dure.governance.amounts import exactly
from dure.governance.assessment import Assessment, Status, assess
from dure.governance.changes import Reason, Task, differences
from dure.governance.evidence import Evidence
from dure.governance.facts import FactValue
from dure.governance.library import shipped_library
from dure.governance.packs import Library
from tests.governance.documents import HEADER, library, provision

TODAY = "2026-11-22"
LIBRARY = shipped_library()
DIARY = [Evidence(kind="diary", reference="d-1", since="2026-01-01")]

MODEL: dict[str, FactValue] = {
    "ai-business": "yes",
    "korea-market-effect": "yes",
    "defence-only-listed": "no",
    "generative-ai": "no",
    "high-impact-areas": (),
    "significant-effect": "no",
    "state-of-the-art": "yes",
    "broad-serious-effect": "yes",
    "training-compute": exactly(9 * 10**24),
    "eu-market": "yes",
    "general-purpose-model": "yes",
    "modifies-a-model-of-others": "no",
    "serious-incident": "no",
}


def told(tasks: tuple[Task, ...]) -> set[tuple[str, Reason]]:
    return {(task.provision, task.reason) for task in tasks}


def shipped(facts: dict[str, FactValue], on: str = TODAY) -> Assessment:
    return assess(LIBRARY, facts, [], on)


def village(
    books: Library, facts: dict[str, FactValue], evidence: list[Evidence] | None = None, on: str = TODAY
) -> Assessment:
    return assess(books, facts, evidence or [], on)


def test_nothing_changed_opens_nothing() -> None:
    assert differences(shipped(MODEL), shipped(MODEL)) == ()


def test_the_first_assessment_opens_all_that_is_open() -> None:
    books = library(provision(id="V-1"), provision(id="V-2", kind="guidance"), provision(id="V-3", kind="effort"))
    assert told(differences(None, village(books, {}, DIARY))) == set()
    assert told(differences(None, village(books, {}))) == {("V-1", Reason.OPEN)}


def test_crossing_ten_to_the_25_calls_for_the_commission() -> None:
    crossed = differences(shipped(MODEL), shipped({**MODEL, "training-compute": exactly(2 * 10**25)}))
    assert {("EU-51-2", Reason.NOW_APPLIES), ("EU-52", Reason.NOW_APPLIES), ("EU-55", Reason.NOW_APPLIES)} == told(
        crossed
    )
    assert all(task.changed_facts == ("training-compute",) for task in crossed)


def test_crossing_ten_to_the_26_calls_for_article_32() -> None:
    crossed = differences(shipped(MODEL), shipped({**MODEL, "training-compute": exactly(10**26)}))
    assert {("KR-AIBA-32", Reason.NOW_APPLIES), ("KR-AIBA-32-threshold", Reason.NOW_APPLIES)} <= told(crossed)


def test_an_incident_calls_for_a_report() -> None:
    large: dict[str, FactValue] = {**MODEL, "training-compute": exactly(2 * 10**25)}
    assert told(differences(shipped(large), shipped({**large, "serious-incident": "yes"}))) == {
        ("EU-55-incident", Reason.NOW_APPLIES)
    }


def test_another_use_calls_for_the_duties_of_that_use() -> None:
    hospital: dict[str, FactValue] = {**MODEL, "high-impact-areas": ("health-care",), "significant-effect": "yes"}
    opened = told(differences(shipped(MODEL), shipped(hospital)))
    assert {("KR-AIBA-34", Reason.NOW_APPLIES), ("KR-AIBA-31-1", Reason.NOW_APPLIES)} <= opened
    back = told(differences(shipped(hospital), shipped(MODEL)))
    assert ("KR-AIBA-34", Reason.NO_LONGER_APPLIES) in back


def test_a_fact_that_is_taken_back_leaves_it_unknown() -> None:
    unsure = {name: value for name, value in MODEL.items() if name != "generative-ai"}
    assert ("KR-AIBA-31-2", Reason.NO_LONGER_KNOWN) in told(differences(shipped(MODEL), shipped(unsure)))


def test_a_day_that_comes_brings_its_duties_and_no_task_twice() -> None:
    before, after = shipped(MODEL, "2028-08-01"), shipped({**MODEL, "eu-regulated-product": "yes"}, "2028-08-02")
    task = next(each for each in differences(before, after) if each.provision == "EU-AnnexI")
    assert (task.reason, task.id) == (Reason.NOW_APPLIES, "eu-ai-act/EU-AnnexI/now-applies/2028-08-02")
    product: dict[str, FactValue] = {**MODEL, "eu-regulated-product": "yes"}
    assert told(differences(shipped(product, "2028-08-01"), shipped(product, "2028-08-02"))) == {
        ("EU-AnnexI", Reason.NOW_APPLIES)
    }


def test_a_newer_pack_has_its_changed_provisions_looked_at() -> None:
    newer = HEADER.replace('"1.0"', '"1.1"')
    old = village(library(provision(id="V-1"), provision(id="V-2"), provision(id="V-3")), {}, DIARY)
    changed = provision(id="V-1", more="    effective_from: '2020-01-01'")
    new = village(library(changed, provision(id="V-2"), provision(id="V-4"), header=newer), {})
    tasks = differences(old, new)
    assert told(tasks) == {
        ("V-1", Reason.EVIDENCE_LOST),
        ("V-1", Reason.TEXT_CHANGED),
        ("V-2", Reason.EVIDENCE_LOST),
        ("V-4", Reason.OPEN),
        ("V-3", Reason.WITHDRAWN),
    }
    assert {task.provision for task in tasks if task.is_pack_update} == {"V-1"}


def test_a_changed_source_has_the_provision_looked_at() -> None:
    other = HEADER.replace("nobody wrote it down", "the elders wrote it down")
    old, new = village(library(provision()), {}, DIARY), village(library(provision(), header=other), {}, DIARY)
    assert told(differences(old, new)) == {("V-1", Reason.TEXT_CHANGED)}


def test_what_does_not_apply_is_left_alone_when_its_text_changes() -> None:
    changed = provision(applies_when="{is: {sunny: yes}}", more="    effective_from: '2020-01-01'")
    old = village(library(provision(applies_when="{is: {sunny: yes}}")), {"sunny": "no"})
    assert differences(old, village(library(changed), {"sunny": "no"})) == ()


def test_a_passed_deadline_and_a_moved_one_are_told() -> None:
    books = library(provision(more="    deadline: {within: 10 days, after: sown-on}"))
    old = village(books, {"sown-on": "2026-11-15"})
    moved = differences(old, village(books, {"sown-on": "2026-11-14"}))
    assert [(task.reason, task.due) for task in moved] == [(Reason.DEADLINE_MOVED, "2026-11-24")]
    late = differences(old, village(books, {"sown-on": "2026-11-15"}, on="2026-11-26"))
    assert [(task.reason, task.status) for task in late] == [(Reason.OVERDUE, Status.OVERDUE)]


def test_a_pack_that_is_left_out_withdraws_nothing() -> None:
    only = assess(LIBRARY, MODEL, [], TODAY, ["eu-ai-act"])
    assert differences(shipped(MODEL), only) == ()
