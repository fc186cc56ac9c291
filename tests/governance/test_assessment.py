"""Unknown never counts as done, efforts are never violations, and options never stand in a duty's way."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.governance.amounts import Amount, exactly
from dure.governance.answers import Answer
from dure.governance.assessment import AssessedProvision, Assessment, Status, assess
from dure.governance.evidence import Evidence
from dure.governance.facts import Facts, FactValue
from dure.governance.library import shipped_library
from dure.governance.packs import Kind
from dure.governance.vocabulary import Fact, FactType
from tests.governance.documents import library, provision

TODAY = "2026-11-22"
LIBRARY = shipped_library()
LAWS = [pack.name for pack in LIBRARY.packs if pack.name not in {"nist-ai-rmf", "iso-42001"}]
"""The frameworks have only guidance that always applies; they would make the properties slow and no stronger."""

KOREAN_SERVICE: dict[str, FactValue] = {
    "ai-business": "yes",
    "korea-market-effect": "yes",
    "defence-only-listed": "no",
    "generative-ai": "yes",
    "realistic-synthetic-media": "no",
}
HIGH_IMPACT: dict[str, FactValue] = {
    **KOREAN_SERVICE,
    "high-impact-areas": ("health-care",),
    "significant-effect": "yes",
}


def held(*kinds: str, since: str = "2026-02-01", until: str = "") -> list[Evidence]:
    return [Evidence(kind=kind, reference=f"r-{kind}", since=since, until=until) for kind in kinds]


def shipped(facts: Facts, evidence: list[Evidence] | None = None, on: str = TODAY) -> Assessment:
    return assess(LIBRARY, facts, evidence or [], on)


def by_law(facts: Facts, evidence: list[Evidence], on: str) -> tuple[AssessedProvision, ...]:
    return assess(LIBRARY, facts, evidence, on, LAWS).provisions


def found(assessment: Assessment, id: str) -> AssessedProvision:
    return next(each for each in assessment.provisions if each.id == id)


def possible(fact: Fact) -> st.SearchStrategy[FactValue]:
    match fact.type:
        case FactType.YES_NO:
            return st.sampled_from(["yes", "no"])
        case FactType.CHOICE:
            return st.sampled_from(sorted(fact.words))
        case FactType.CHOICES:
            return st.lists(st.sampled_from(sorted(fact.words)), max_size=2, unique=True).map(
                lambda words: tuple(sorted(words))
            )
        case FactType.AMOUNT:
            exact = st.sampled_from([0, 10**6, 10**12, 10**23, 10**25, 10**25 + 1, 10**26]).map(exactly)
            return st.one_of(exact, st.just(Amount(least=10**22, most=None)))
        case FactType.DAY:
            return st.sampled_from(["2025-01-01", "2026-08-02", "2026-11-01", "2026-12-01"])
        case FactType.COUNTRY:
            return st.sampled_from(["KR", "MO", "US"])


FACTS = st.fixed_dictionaries({}, optional={name: possible(fact) for name, fact in LIBRARY.vocabulary.facts.items()})
EVIDENCE = st.lists(st.sampled_from(sorted(LIBRARY.vocabulary.evidence)), unique=True).map(lambda kinds: held(*kinds))
DAYS = st.sampled_from(["2020-01-01", "2026-01-21", "2026-01-22", TODAY, "2027-08-02", "2030-01-01"])


@settings(max_examples=60)
@given(FACTS, EVIDENCE, DAYS)
def test_what_is_not_known_never_counts_as_done(facts: Facts, evidence: list[Evidence], on: str) -> None:
    for each in by_law(facts, evidence, on):
        if each.status is Status.EVIDENCE_HELD:
            assert each.applicability.answer is Answer.YES
            assert not each.missing_evidence
            assert {need.kind for need in each.held} | {deemed.kind for deemed in each.deemed}
        if each.applicability.answer is Answer.UNKNOWN and each.kind in {Kind.DUTY, Kind.PROHIBITION, Kind.EFFORT}:
            assert each.status in {Status.NEEDS_FACTS, Status.NOT_YET_IN_FORCE, Status.NO_LONGER_IN_FORCE}


@settings(max_examples=60)
@given(FACTS, EVIDENCE, DAYS)
def test_efforts_options_and_guidance_are_never_gaps(facts: Facts, evidence: list[Evidence], on: str) -> None:
    for each in by_law(facts, evidence, on):
        if each.kind not in {Kind.DUTY, Kind.PROHIBITION}:
            assert each.status not in {Status.MISSING_EVIDENCE, Status.OVERDUE}
        if each.kind in {Kind.OPTION, Kind.GUIDANCE, Kind.PENALTY}:
            assert each.status.urgency <= Status.FOR_INFORMATION.urgency


@settings(max_examples=60)
@given(FACTS, EVIDENCE, DAYS, st.sampled_from(sorted(LIBRARY.vocabulary.evidence)))
def test_more_evidence_never_makes_anything_worse(facts: Facts, evidence: list[Evidence], on: str, kind: str) -> None:
    before = by_law(facts, evidence, on)
    after = by_law(facts, [*evidence, *held(kind)], on)
    assert all(new.status.urgency <= old.status.urgency for old, new in zip(before, after, strict=True))


@settings(max_examples=60)
@given(FACTS, EVIDENCE, DAYS)
def test_no_duty_is_in_force_outside_its_dates(facts: Facts, evidence: list[Evidence], on: str) -> None:
    for each in by_law(facts, evidence, on):
        inside = each.effective_from <= on <= (each.effective_to or "9999-12-31")
        assert inside is (each.status not in {Status.NOT_YET_IN_FORCE, Status.NO_LONGER_IN_FORCE})


def test_nothing_declared_needs_facts_and_shows_nothing_as_done() -> None:
    assessment = shipped({}, held(*LIBRARY.vocabulary.evidence))
    assert all(each.status is not Status.EVIDENCE_HELD for each in assessment.provisions)
    assert assessment.open_questions()[0] in {"korea-market-effect", "ai-business", "defence-only-listed"}


def test_a_generative_service_in_korea_must_tell_and_mark() -> None:
    assessment = shipped(KOREAN_SERVICE)
    assert found(assessment, "KR-AIBA-31-1").status is Status.MISSING_EVIDENCE
    assert found(assessment, "KR-AIBA-31-1").missing_evidence == ("user-notice",)
    assert found(assessment, "KR-AIBA-31-2").status is Status.MISSING_EVIDENCE
    assert found(assessment, "KR-AIBA-31-3").status is Status.NOT_APPLICABLE
    assert found(assessment, "KR-AIBA-34").status is Status.NEEDS_FACTS
    assert "high-impact-areas" in found(assessment, "KR-AIBA-34").applicability.missing


def test_all_three_conditions_make_article_32() -> None:
    two: dict[str, FactValue] = {**KOREAN_SERVICE, "training-compute": exactly(10**26), "state-of-the-art": "yes"}
    assert found(shipped(two), "KR-AIBA-32").status is Status.NEEDS_FACTS
    assert found(shipped({**two, "broad-serious-effect": "no"}), "KR-AIBA-32").status is Status.NOT_APPLICABLE
    all_three: dict[str, FactValue] = {**two, "broad-serious-effect": "yes"}
    assert found(shipped(all_three), "KR-AIBA-32").status is Status.MISSING_EVIDENCE
    less: dict[str, FactValue] = {**all_three, "training-compute": exactly(10**26 - 1)}
    assert found(shipped(less), "KR-AIBA-32").status is Status.NOT_APPLICABLE
    between: dict[str, FactValue] = {**all_three, "training-compute": Amount(least=9 * 10**25, most=2 * 10**26)}
    assert found(shipped(between), "KR-AIBA-32").applicability.missing == ("training-compute",)
    assert found(shipped(all_three), "KR-AIBA-34").status is Status.NEEDS_FACTS


def test_the_review_is_done_without_asking_the_minister() -> None:
    assessment = shipped(KOREAN_SERVICE, held("high-impact-review"))
    assert found(assessment, "KR-AIBA-33").status is Status.EVIDENCE_HELD
    asking = found(assessment, "KR-AIBA-33-confirmation")
    assert (asking.status, asking.optional_evidence) == (Status.FOR_INFORMATION, ("minister-request",))
    asked = shipped({**KOREAN_SERVICE, "confirmation-requested-on": "2026-11-01"})
    assert found(asked, "KR-AIBA-33-confirmation").deadline == "2026-12-31"


def test_a_suppliers_measures_count_only_with_evidence_and_never_for_oversight_or_documents() -> None:
    facts: dict[str, FactValue] = {
        **HIGH_IMPACT,
        "measures-by-supplier": ("explanation", "risk-management", "user-protection"),
        "major-change-of-function": "no",
    }
    without = found(shipped(facts), "KR-AIBA-34")
    assert "risk-management-plan" in without.missing_evidence
    deemed = found(shipped(facts, held("supplier-evidence", "change-review")), "KR-AIBA-34")
    assert deemed.missing_evidence == ("human-oversight-record", "kept-documents", "publication")
    assert {each.by for each in deemed.deemed} == {"KR-AIBA-34-supplier"}
    assert deemed.status is Status.MISSING_EVIDENCE
    one = shipped({**facts, "measures-by-supplier": ("explanation",)}, held("supplier-evidence", "change-review"))
    assert [each.kind for each in found(one, "KR-AIBA-34").deemed] == ["explanation-plan"]
    changed = {**facts, "major-change-of-function": "yes"}
    again = found(shipped(changed, held("supplier-evidence", "change-review")), "KR-AIBA-34")
    assert "risk-management-plan" in again.missing_evidence
    unsure = {name: value for name, value in facts.items() if name != "major-change-of-function"}
    assert not found(shipped(unsure, held("supplier-evidence", "change-review")), "KR-AIBA-34").deemed


def test_an_open_model_needs_no_documentation_unless_it_has_systemic_risk() -> None:
    facts: dict[str, FactValue] = {
        "eu-market": "yes",
        "general-purpose-model": "yes",
        "modifies-a-model-of-others": "no",
        "eu-market-since": "2026-01-01",
        "training-compute": exactly(10**24),
    }
    assert found(shipped(facts), "EU-53-1ab").status is Status.NEEDS_FACTS
    is_open: dict[str, FactValue] = {**facts, "free-and-open-source": "yes"}
    assert found(shipped(is_open), "EU-53-1ab").status is Status.NOT_APPLICABLE
    assert found(shipped(is_open), "EU-53-1cd").status is Status.MISSING_EVIDENCE
    large: dict[str, FactValue] = {**is_open, "training-compute": exactly(2 * 10**25)}
    assert found(shipped(large), "EU-53-1ab").status is Status.MISSING_EVIDENCE


def test_documents_are_kept_for_five_years_from_their_day() -> None:
    oversight = found(shipped(HIGH_IMPACT, held("kept-documents", since="2026-03-01")), "KR-AIBA-34").held
    assert [(each.kind, each.keep_until) for each in oversight] == [("kept-documents", "2031-03-01")]


def test_the_commission_is_told_within_two_weeks() -> None:
    facts: dict[str, FactValue] = {
        "eu-market": "yes",
        "general-purpose-model": "yes",
        "modifies-a-model-of-others": "no",
        "training-compute": exactly(38 * 10**24),
    }
    assert found(shipped(facts), "EU-52").deadline_needs == "systemic-threshold-known-on"
    known: dict[str, FactValue] = {**facts, "systemic-threshold-known-on": "2026-11-10"}
    assert found(shipped(known), "EU-52").deadline == "2026-11-24"
    assert found(shipped(known), "EU-52").status is Status.MISSING_EVIDENCE
    assert found(shipped(known, on="2026-11-24"), "EU-52").status is Status.MISSING_EVIDENCE
    assert found(shipped(known, on="2026-11-25"), "EU-52").status is Status.OVERDUE
    sent = held("compute-statement", "commission-notification", since="2026-11-20")
    assert found(shipped(known, sent, on="2026-11-25"), "EU-52").status is Status.EVIDENCE_HELD
    exactly_at: dict[str, FactValue] = {**facts, "training-compute": exactly(10**25)}
    assert found(shipped(exactly_at), "EU-52").status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("on", "january", "july"),
    [
        ("2026-01-21", Status.NOT_YET_IN_FORCE, Status.NOT_YET_IN_FORCE),
        ("2026-01-22", Status.EFFORT_OPEN, Status.NOT_YET_IN_FORCE),
        ("2026-07-20", Status.EFFORT_OPEN, Status.NOT_YET_IN_FORCE),
        ("2026-07-21", Status.NO_LONGER_IN_FORCE, Status.EFFORT_OPEN),
    ],
)
def test_a_provision_takes_over_on_its_own_day(on: str, january: Status, july: Status) -> None:
    assessment = shipped(HIGH_IMPACT, on=on)
    assert found(assessment, "KR-AIBA-35-2026-01").status is january
    assert found(assessment, "KR-AIBA-35").status is july


def test_evidence_counts_from_its_first_day_to_its_last() -> None:
    certificate = held("cloud-assurance", "residence-record", since="2026-11-01", until="2026-11-30")
    facts: dict[str, FactValue] = {"public-sector-cloud": "yes", "public-system-grade": "low"}
    statuses = [
        found(shipped(facts, certificate, on), "KR-CSAP-low").status
        for on in ("2026-10-31", "2026-11-01", "2026-11-30", "2026-12-01")
    ]
    held_then = Status.EVIDENCE_HELD
    assert statuses == [Status.MISSING_EVIDENCE, held_then, held_then, Status.MISSING_EVIDENCE]


def test_an_assessment_pins_its_packs_and_is_the_same_again() -> None:
    first, second = shipped(HIGH_IMPACT, held("user-notice")), shipped(HIGH_IMPACT, held("user-notice"))
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    assert [(each.name, each.digest) for each in first.packs] == [(each.name, each.digest) for each in LIBRARY.packs]
    assert msgspec.json.decode(msgspec.json.encode(first), type=Assessment) == first


def test_only_the_named_packs_are_assessed() -> None:
    assessment = assess(LIBRARY, {}, [], TODAY, ["kr-ai-basic-act"])
    assert {each.pack for each in assessment.provisions} == {"kr-ai-basic-act"}


def test_the_most_pressing_comes_first() -> None:
    two = library(
        provision(id="V-1", kind="effort"),
        provision(id="V-2", more="    deadline: {within: 3 days, after: sown-on}"),
        provision(id="V-3", applies_when="{is: {sunny: yes}}"),
        provision(id="V-4", more="    deadline: {within: 1 day, after: sown-on}"),
    )
    order = assess(two, {"sown-on": "2026-11-01"}, [], "2026-11-10").in_order_of_urgency()
    assert [each.id for each in order] == ["V-4", "V-2", "V-3", "V-1"]
