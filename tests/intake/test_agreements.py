"""Agreement files are read with all their mistakes told; nobody grants what is not theirs to grant."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.intake.agreement_rules import KOREAN, PERSONAL_CLASSES, RULES, crosses_a_border, refuse_terms
from dure.intake.agreements import terms_from_yaml, terms_to_document
from dure.intake.nationfile import nation_from_yaml
from dure.intake.refusals import BadInput, RefusalCode
from dure.model.agreements import (
    Agreement,
    AgreementState,
    Condition,
    ExportClearance,
    Operation,
    Terms,
    TransferBasis,
)
from dure.model.datasets import RESTRICTED_CLASSES, Purpose
from dure.model.nation import Nation
from dure.policy import PolicyInForce

from .conftest import lines, policy_set

NOW_MS = 1_800_000_000_000
DAY_MS = 24 * 3_600_000

PARTIES = """
sites:
  - {name: sejong, country: KR, owner: hospital}
  - {name: pyeongtaek, country: KR, owner: fab}
  - {name: oslo, country: NO, owner: oslo-lab}
organisations:
  - {name: hospital, kind: enterprise, country: KR}
  - {name: fab, kind: enterprise, country: KR}
  - {name: haneul, kind: startup, country: KR}
  - {name: subsidiary, kind: partner, country: KR, parent_country: NO}
  - {name: oslo-lab, kind: partner, country: "NO"}
datasets:
  - {name: lungs, owner: hospital, classes: [medical], jurisdiction: KR, purposes: [research, statistics],
     sites: [sejong]}
  - {name: yields, owner: fab, classes: [national-core-technology], jurisdiction: KR, purposes: [research],
     sites: [pyeongtaek]}
  - {name: texts, owner: fab, classes: [public], jurisdiction: KR, purposes: [research, education], sites: [sejong]}
"""
NATION = nation_from_yaml(PARTIES)

FILE = """
provider: fab
recipient: oslo-lab
datasets: [yields]
purposes: [research]
operations: [compute, view-results]
sites: pyeongtaek
from: 2027-01-01T00:00:00+09:00
until: 2028-01-01T00:00:00+09:00
clearance: approved
clearance_reference: 2027-11
conditions: [sandbox]
"""


def terms(**changes: object) -> Terms:
    fields: dict[str, object] = {
        "provider": "hospital",
        "recipient": "haneul",
        "datasets": ("lungs",),
        "purposes": (Purpose.RESEARCH,),
        "operations": (Operation.COMPUTE, Operation.VIEW_RESULTS),
        "sites": ("sejong",),
        "from_ms": NOW_MS,
        "until_ms": NOW_MS + DAY_MS,
    }
    return Terms(**(fields | changes))  # type: ignore[arg-type]


def refused(wanted: Terms, nation: Nation = NATION) -> str:
    """The code; empty when the terms may be agreed."""
    refusal = refuse_terms(wanted, nation, NOW_MS)
    return refusal.code.value if refusal else ""


def test_a_file_is_read_and_written_back() -> None:
    read = terms_from_yaml(FILE)
    assert read.clearance is ExportClearance.APPROVED
    assert read.conditions == (Condition.SANDBOX,)
    assert read.sites == ("pyeongtaek",)
    assert terms_from_yaml(yaml.safe_dump(terms_to_document(read))) == read


TERMS = st.builds(
    Terms,
    provider=st.just("fab"),
    recipient=st.just("haneul"),
    datasets=st.lists(st.sampled_from(["yields", "texts"]), min_size=1, unique=True).map(tuple),
    purposes=st.lists(st.sampled_from(Purpose), min_size=1, unique=True).map(tuple),
    operations=st.lists(st.sampled_from(Operation), min_size=1, unique=True).map(tuple),
    sites=st.lists(st.sampled_from(["sejong", "oslo"]), min_size=1, unique=True).map(tuple),
    from_ms=st.integers(1, NOW_MS),
    until_ms=st.integers(NOW_MS + 1, 4_000_000_000_000),
    transfer_basis=st.none() | st.sampled_from(TransferBasis),
    clearance=st.none() | st.sampled_from(ExportClearance),
    clearance_reference=st.sampled_from(["", "2027-11", "신고 7"]),
    conditions=st.lists(st.sampled_from(Condition), unique=True).map(tuple),
)


@given(TERMS)
def test_any_terms_are_written_as_a_file_that_says_the_same(wanted: Terms) -> None:
    assert terms_from_yaml(yaml.safe_dump(terms_to_document(wanted), allow_unicode=True)) == wanted


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("provider: fab\n", "", "provider: is missing; name the organisation that owns the data"),
        ("purposes: [research]", "purposes: [reserch]",
         "purposes[0]: must be one of research, statistics, public-interest, commercial, education (got reserch); "
         "did you mean research?"),
        ("[compute, view-results]", "[compute, compute]", "operations[1]: appears twice (got compute); keep one"),
        ("datasets: [yields]", "datasets: []",
         "datasets: is empty, so nothing would be agreed; name at least one of the datasets"),
        ("until: 2028", "until: 2026",
         "until: is not after `from` (got 2025-12-31T15:00:00Z); write a later moment"),
        ("T00:00:00+09:00\nuntil", "\nuntil",
         "from: has no time zone (got 2027-01-01); write it like 2027-03-02T09:00:00+09:00"),
        ("conditions: [sandbox]", "conditions: [honesty]",
         "conditions[0]: must be one of sandbox (got honesty); known: sandbox"),
        ("clearance: approved", "clearence: approved", "clearence: is not a known field; did you mean clearance?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(old: str, new: str, line: str) -> None:
    assert old in FILE
    with pytest.raises(BadInput) as error:
        terms_from_yaml(FILE.replace(old, new, 1))
    assert lines(error) == [line]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, ""),
        ({"recipient": "nobody"}, "agreement-party-unknown"),
        ({"recipient": "hospital"}, "agreement-with-itself"),
        ({"datasets": ("lungs", "yields")}, "agreement-not-the-owner"),
        ({"datasets": ("lungs", "no-such")}, "agreement-not-the-owner"),
        ({"purposes": (Purpose.COMMERCIAL,)}, "agreement-purpose-not-held"),
        ({"sites": ("busan",)}, "agreement-site-unknown"),
        ({"sites": ("sejong", "pyeongtaek")}, "agreement-site-without-copy"),
        ({"sites": ("sejong", "pyeongtaek"), "operations": (Operation.COPY,)}, ""),
        ({"operations": (Operation.VIEW_RESULTS,)}, "agreement-operations-incomplete"),
        ({"operations": (Operation.COMPUTE, Operation.TAKE_RESULTS)}, "agreement-operations-incomplete"),
        ({"operations": (Operation.COMPUTE, Operation.VIEW_RESULTS, Operation.TAKE_RESULTS)}, ""),
        ({"from_ms": 1, "until_ms": NOW_MS}, "agreement-already-over"),
        ({"recipient": "oslo-lab"}, "agreement-transfer-without-basis"),
        ({"recipient": "subsidiary"}, "agreement-transfer-without-basis"),
        ({"sites": ("oslo",), "operations": (Operation.COPY,)}, "agreement-site-abroad"),
        ({"recipient": "oslo-lab", "transfer_basis": TransferBasis.CONSENT}, ""),
    ],
)
def test_terms_are_refused_by_the_rule_that_they_break(changes: dict[str, object], code: str) -> None:
    assert refused(terms(**changes)) == code


@pytest.mark.parametrize(
    ("state_funded", "clearance", "reference", "code"),
    [
        (False, None, "", "agreement-export-without-clearance"),
        (False, ExportClearance.REPORTED, "", "agreement-export-without-clearance"),
        (False, ExportClearance.REPORTED, "7", ""),
        (False, ExportClearance.APPROVED, "7", ""),
        (True, ExportClearance.REPORTED, "7", "agreement-export-without-clearance"),
        (True, ExportClearance.APPROVED, "7", ""),
    ],
)
def test_core_technology_leaves_as_approved_or_reported(
    state_funded: bool, clearance: ExportClearance | None, reference: str, code: str
) -> None:
    text = PARTIES.replace("sites: [pyeongtaek]}", f"sites: [pyeongtaek], state_funded: {str(state_funded).lower()}}}")
    wanted = terms(
        provider="fab",
        recipient="subsidiary",
        datasets=("yields",),
        sites=("pyeongtaek",),
        clearance=clearance,
        clearance_reference=reference,
    )
    assert refused(wanted, nation_from_yaml(text)) == code


@pytest.mark.parametrize("data_class", sorted(PERSONAL_CLASSES))
def test_pseudonymised_and_medical_data_is_personal_data_at_a_border(data_class: str) -> None:
    nation = nation_from_yaml(PARTIES.replace("classes: [medical]", f"classes: [{data_class}]"))
    assert refused(terms(recipient="oslo-lab"), nation) == "agreement-transfer-without-basis"


@pytest.mark.parametrize(
    ("data_class", "operations", "code"),
    [
        ("medical", (Operation.COPY, Operation.COMPUTE), "agreement-site-abroad"),
        ("personal", (Operation.COPY, Operation.COMPUTE), ""),
        ("personal", (Operation.COMPUTE,), "agreement-site-abroad"),
        ("public", (Operation.COMPUTE,), ""),
    ],
)
def test_a_site_abroad_has_what_is_public_or_was_copied_there_by_agreement(
    data_class: str, operations: tuple[Operation, ...], code: str
) -> None:
    text = PARTIES.replace("classes: [medical]", f"classes: [{data_class}]").replace(
        "     sites: [sejong]}\n  - {name: yields", "     sites: [sejong, oslo]}\n  - {name: yields"
    )
    wanted = terms(sites=("oslo",), operations=operations, transfer_basis=TransferBasis.CONSENT)
    assert refused(wanted, nation_from_yaml(text)) == code


def test_pseudonymised_data_keeps_to_its_purposes() -> None:
    text = PARTIES.replace("classes: [medical]", "classes: [pseudonymised]")
    nation = nation_from_yaml(text.replace("[research, statistics]", "[research, commercial]"))
    assert refused(terms(purposes=(Purpose.RESEARCH,)), nation) == ""
    assert refused(terms(purposes=(Purpose.RESEARCH, Purpose.COMMERCIAL)), nation) == "agreement-purpose-forbidden"


RULES_IN_CEDAR = policy_set()
CLASSES = st.sampled_from([("public",), *([each] for each in sorted(RESTRICTED_CLASSES))]).map(tuple)
WISHES = st.builds(
    terms,
    recipient=st.sampled_from(["haneul", "subsidiary", "oslo-lab"]),
    purposes=st.lists(st.sampled_from(Purpose), min_size=1, max_size=2, unique=True).map(tuple),
    operations=st.lists(st.sampled_from([Operation.COMPUTE, Operation.COPY]), min_size=1, unique=True).map(tuple),
    sites=st.lists(st.sampled_from(["sejong", "pyeongtaek", "oslo"]), min_size=1, unique=True).map(tuple),
    transfer_basis=st.none() | st.sampled_from(TransferBasis),
    clearance=st.none() | st.sampled_from(ExportClearance),
    clearance_reference=st.sampled_from(["", "7"]),
)


@settings(max_examples=150, deadline=None)
@given(WISHES, CLASSES, st.lists(st.sampled_from(Purpose), min_size=1, unique=True), st.booleans())
def test_what_may_be_agreed_is_then_allowed_where_a_copy_lies(
    wanted: Terms, classes: tuple[str, ...], purposes: list[Purpose], state_funded: bool
) -> None:
    before = NATION.datasets[0]
    held = ("sejong", *(each for each in wanted.sites if each != "sejong"))
    dataset = replace(before, classes=classes, purposes=tuple(purposes), sites=held, state_funded=state_funded)
    nation = replace(NATION, datasets=(dataset,))
    if refuse_terms(wanted, nation, NOW_MS) is not None or Operation.COMPUTE not in wanted.operations:
        return
    agreement = Agreement(
        id="a1",
        terms=wanted,
        state=AgreementState.AGREED,
        offered_by="hospital",
        needs_approval=crosses_a_border(wanted, nation),
        approved=True,
    )
    policy = PolicyInForce(RULES_IN_CEDAR, nation, [agreement], at_ms=NOW_MS)
    for purpose in wanted.purposes:
        permitted = policy.permitted_sites(wanted.recipient, purpose, [dataset.name])
        assert set(permitted.sites) >= set(wanted.sites), permitted


def test_only_what_is_public_crosses_a_border_without_approval() -> None:
    abroad = terms(recipient="oslo-lab")
    assert crosses_a_border(abroad, NATION)
    assert crosses_a_border(terms(recipient="subsidiary"), NATION)
    assert not crosses_a_border(terms(), NATION)
    public = terms(provider="fab", recipient="oslo-lab", datasets=("texts",))
    assert not crosses_a_border(public, NATION)


def test_every_rule_speaks_korean_and_refuses_something() -> None:
    codes = {each for each in RefusalCode if each.value.startswith("agreement-")}
    assert set(KOREAN) == codes
    assert len(RULES) == len(codes)
    refusal = refuse_terms(terms(recipient="hospital"), NATION, NOW_MS)
    assert refusal is not None
    assert KOREAN[refusal.code] in refusal.message
    assert refusal.rules == ("agreement-with-itself",)
