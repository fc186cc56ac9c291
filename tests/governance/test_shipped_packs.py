"""What the shipped packs say: magnitudes, dates, marks, and which mistakes of public sources they do not repeat."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files

import pytest

from dure.bootstrap.rules import make_policy_set
from dure.governance.expressions import AtLeast, Is, MoreThan, facts_in, parts_of
from dure.governance.library import shipped_library
from dure.governance.packs import Fine, Kind, Mark, Provision

LIBRARY = shipped_library()
PROVISIONS = {provision.id: provision for _, provision in LIBRARY.provisions()}


def named(id: str) -> Provision:
    return PROVISIONS[id]


def lines(id: str) -> set[tuple[type, str, int | None]]:
    return {
        (type(part), part.fact, part.amount)
        for part in parts_of(named(id).applies_when)
        if isinstance(part, AtLeast | MoreThan)
    }


def test_every_threshold_of_compute_has_its_magnitude() -> None:
    found = {
        (type(part).__name__, part.amount)
        for _, provision in LIBRARY.provisions()
        for part in parts_of(provision.applies_when)
        if isinstance(part, AtLeast | MoreThan) and part.fact == "training-compute"
    }
    assert found == {("AtLeast", 10**26), ("MoreThan", 10**25), ("MoreThan", 10**23)}


def test_ten_to_the_26_belongs_to_article_32_and_does_not_make_ai_high_impact() -> None:
    assert lines("KR-AIBA-32") == {(AtLeast, "training-compute", 10**26)}
    assert {"state-of-the-art", "broad-serious-effect"} <= set(facts_in(named("KR-AIBA-32").applies_when))
    for id in ("KR-AIBA-2-4", "KR-AIBA-31-1", "KR-AIBA-34", "KR-AIBA-35"):
        assert "training-compute" not in facts_in(named(id).applies_when)


def test_europes_thresholds_are_passed_only_above_them() -> None:
    assert lines("EU-51-2") == {(MoreThan, "training-compute", 10**25)}
    assert lines("EU-GPAI-10e23") == {(MoreThan, "training-compute", 10**23)}
    assert named("EU-GPAI-10e23").kind is Kind.GUIDANCE


def test_a_missing_label_is_not_fined_by_itself() -> None:
    assert named("KR-AIBA-31-1").penalty == ("KR-AIBA-43-1-notice",)
    for id in ("KR-AIBA-31-2", "KR-AIBA-31-3", "KR-AIBA-32", "KR-AIBA-34", "KR-AIBA-40"):
        assert named(id).penalty == ("KR-AIBA-43-1-order",), id
    for id in ("notice", "representative", "order"):
        assert named(f"KR-AIBA-43-1-{id}").fine == Fine(most=30_000_000, currency="KRW")


def test_europes_fine_for_model_providers_is_that_of_article_101() -> None:
    assert named("EU-101").fine == Fine(most=15_000_000, currency="EUR", turnover_percent="3")
    assert named("EU-101").effective_from == "2026-08-02"


def test_a_representative_is_needed_at_the_decrees_amounts() -> None:
    assert lines("KR-AIBA-36") == {
        (AtLeast, "total-revenue-last-year", 10**12),
        (AtLeast, "ai-revenue-last-year", 10**10),
        (AtLeast, "korean-daily-users", 10**6),
    }


def test_the_surcharge_on_personal_data_is_three_per_cent_and_ten_for_the_worst() -> None:
    assert named("KR-PIPA-64-2").fine == Fine(turnover_percent="3")
    assert named("KR-PIPA-2026-surcharge").fine == Fine(turnover_percent="10")
    for id in ("KR-PIPA-28-5", "KR-PIPA-28-8", "KR-PIPA-28-9"):
        assert named(id).penalty == ("KR-PIPA-64-2",)


def test_the_core_technology_fine_is_the_raised_one() -> None:
    assert named("KR-ITPA-fine").fine == Fine(most=6_500_000_000, currency="KRW")


@pytest.mark.parametrize(
    ("id", "first", "last"),
    [
        ("KR-AIBA-31-1", "2026-01-22", ""),
        ("KR-AIBA-35-2026-01", "2026-01-22", "2026-07-20"),
        ("KR-AIBA-35", "2026-07-21", ""),
        ("KR-ITPA-2025-registration", "2025-07-22", ""),
        ("KR-PIPA-37-2", "2024-03-15", ""),
        ("KR-PIPA-2026-surcharge", "2026-09-11", ""),
        ("KR-PIPA-2027-certification", "2027-07-01", ""),
        ("EU-53-1ab", "2025-08-02", ""),
        ("EU-53-1cd-older", "2027-08-02", ""),
        ("EU-50-2", "2026-08-02", ""),
        ("EU-50-2-older", "2026-12-02", ""),
        ("EU-AnnexIII", "2027-12-02", ""),
        ("EU-AnnexI", "2028-08-02", ""),
    ],
)
def test_each_provision_has_its_own_dates(id: str, first: str, last: str) -> None:
    assert (named(id).effective_from, named(id).effective_to) == (first, last)


def test_the_grace_period_is_guidance_and_moves_no_duty() -> None:
    assert named("KR-AIBA-grace").kind is Kind.GUIDANCE
    assert named("KR-AIBA-31-1").effective_from == "2026-01-22"


def test_what_a_supplier_did_never_stands_for_oversight_or_documents() -> None:
    for id in ("KR-AIBA-34-supplier", "KR-AIBA-34-other-law"):
        deems = named(id).deems
        assert {each.provision for each in deems} == {"KR-AIBA-34"}
        assert [each.evidence for each in deems] == [
            ("risk-management-plan",),
            ("explanation-plan",),
            ("user-protection-plan",),
        ]
        assert all(facts_in(each.when) == facts_in(deems[0].when) != () for each in deems)


def test_documents_on_high_impact_ai_are_kept_for_five_years() -> None:
    retention = named("KR-AIBA-34").retention
    assert retention is not None
    assert retention.months == 60


def test_asking_the_minister_is_an_option_apart_from_the_review() -> None:
    assert named("KR-AIBA-33").kind is Kind.DUTY
    assert [need.kind for need in named("KR-AIBA-33").evidence] == ["high-impact-review"]
    assert named("KR-AIBA-33-confirmation").kind is Kind.OPTION
    assert named("KR-AIBA-30-3").kind is named("KR-AIBA-35").kind is Kind.EFFORT


def test_the_areas_of_high_impact_are_ten_and_one_by_decree() -> None:
    (areas,) = (part for part in parts_of(named("KR-AIBA-2-4-areas").applies_when) if isinstance(part, Is))
    assert set(areas.values) == set(LIBRARY.vocabulary.facts["high-impact-areas"].words)
    assert len(areas.values) == 11
    assert named("KR-AIBA-2-4-areas").checked.mark is Mark.MEMORY


def test_a_human_in_the_decision_is_guidance_and_no_condition_of_a_duty() -> None:
    using = [id for id, each in PROVISIONS.items() if "human-makes-final-decision" in facts_in(each.applies_when)]
    assert [named(id).kind for id in using] == [Kind.GUIDANCE]
    assert named("KR-AIBA-2-4").guidance[0].mark is Mark.SECONDARY


def test_iso_42001_has_38_controls_in_nine_objectives() -> None:
    pack = LIBRARY.pack("iso-42001")
    assert pack is not None
    objectives = Counter(each.id.split(".")[1] for each in pack.provisions)
    assert list(objectives.values()) == [3, 2, 5, 4, 9, 5, 4, 3, 3]
    assert sum(objectives.values()) == 38


def test_the_nist_framework_has_72_subcategories() -> None:
    pack = LIBRARY.pack("nist-ai-rmf")
    assert pack is not None
    functions = Counter(each.id.split("-")[1] for each in pack.provisions)
    assert functions == {"GOVERN": 19, "MAP": 18, "MEASURE": 22, "MANAGE": 13}
    first = named("NIST-GOVERN-1.1").obligation.en
    assert first == "Legal and regulatory requirements involving AI are understood, managed, and documented."


def test_voluntary_frameworks_are_guidance() -> None:
    for name in ("nist-ai-rmf", "iso-42001"):
        pack = LIBRARY.pack(name)
        assert pack is not None
        assert {each.kind for each in pack.provisions} == {Kind.GUIDANCE}


def test_export_rules_have_no_threshold_of_compute() -> None:
    pack = LIBRARY.pack("us-export")
    assert pack is not None
    assert all("training-compute" not in facts_in(each.applies_when) for each in pack.provisions)


def test_what_was_written_from_memory_says_so() -> None:
    for id, each in PROVISIONS.items():
        if any(source.title == "no source" for source in each.source):
            assert each.checked.mark is Mark.MEMORY, id


def test_no_address_and_no_digest_is_made_up() -> None:
    for id, each in PROVISIONS.items():
        for source in each.source:
            assert source.note or (source.url and source.sha256), id
            assert bool(source.url) <= bool(source.retrieved), id


def test_rules_that_provisions_name_are_enforced_by_the_platform() -> None:
    rules = {rule.id for rule in make_policy_set().rules}
    for id, each in PROVISIONS.items():
        assert rules.issuperset(each.cedar_ref), id


def test_every_fact_and_every_kind_of_evidence_is_asked_for() -> None:
    assert {fact for each in PROVISIONS.values() for fact in each.facts()} == set(LIBRARY.vocabulary.facts)
    needed = {need.kind for each in PROVISIONS.values() for need in each.evidence}
    assert needed == set(LIBRARY.vocabulary.evidence)


def test_no_pack_holds_the_marks_of_a_scraped_page() -> None:
    """Copies on the web read 11^25, 21^36, 3027 or 1025; none of it may have come along."""
    folder = files("dure.governance").joinpath("packs")
    text = "".join(each.read_text("utf-8") for each in folder.iterdir())
    for wrong in ("11^25", "21^36", "3027", "1025 ", "1026 ", "35 million", "7%"):
        assert wrong not in text
