"""The rules in force at one moment: agreements, orders and dates decide, and what would help is found by trying."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from dure.model.agreements import Agreement, AgreementState, ExportClearance, Operation, Terms, TransferBasis
from dure.model.datasets import AssuranceNeed, DataClass, DataClassDefinition, Dataset, Purpose
from dure.model.fleet import Assurance, AssuranceScheme, Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind
from dure.model.stop_orders import StopOrder
from dure.policy import UNKNOWN_FACT, Action, AgreementNeeded, PolicyInForce, PolicySet, Question, Remedy, remedy_said

NOW_MS = 1_000
RESEARCH, COMMERCIAL = Purpose.RESEARCH, Purpose.COMMERCIAL


def organisation(name: str, country: str, parent_country: str = "") -> Organisation:
    kind = OrganisationKind.ENTERPRISE
    parent = parent_country or country
    return Organisation(name=name, kind=kind, country=country, parent_country=parent, projects=())


FAB = Dataset(
    name="fab",
    owner="samsung",
    classes=(DataClass.NATIONAL_CORE_TECHNOLOGY,),
    jurisdiction="KR",
    purposes=(RESEARCH, COMMERCIAL),
    sites=("pyeongtaek",),
    readers=("haneul",),
)
SCANS = replace(FAB, name="scans", owner="ministry", classes=("pseudonymised",), sites=("sejong",), readers=("*",))
CHIP_SITE = Site(name="pyeongtaek", country="KR", owner="samsung", nodes=())
NATION = Nation(
    organisations=(
        organisation("samsung", "KR"),
        organisation("ministry", "KR"),
        organisation("haneul", "KR"),
        organisation("toolmaker", "NL"),
        organisation("korea-lab", "KR", "US"),
    ),
    sites=(
        CHIP_SITE,
        Site(name="sejong", country="KR", owner="ministry", nodes=()),
        Site(name="oslo", country="NO", owner="samsung", nodes=()),
    ),
    datasets=(FAB, SCANS),
    assurance_schemes=(AssuranceScheme(name="csap", grades=("low", "medium", "high")),),
)


def agreement(name: str = "a1", state: AgreementState = AgreementState.AGREED, **changes: object) -> Agreement:
    terms = Terms(
        provider="samsung",
        recipient="toolmaker",
        datasets=("fab",),
        purposes=(RESEARCH,),
        operations=(Operation.COMPUTE, Operation.VIEW_RESULTS),
        sites=("pyeongtaek",),
        from_ms=500,
        until_ms=5_000,
        clearance=ExportClearance.REPORTED,
    )
    return Agreement(id=name, terms=replace(terms, **changes), state=state, offered_by="samsung")


def with_dataset(dataset: Dataset) -> Nation:
    others = tuple(each for each in NATION.datasets if each.name != dataset.name)
    return replace(NATION, datasets=(*others, dataset))


def denied(policy: PolicyInForce, reader: str = "toolmaker", purpose: Purpose = RESEARCH) -> tuple[str, ...]:
    found = policy.permitted_sites(reader, purpose, ("fab",))
    assert found.sites == ()
    return found.rules


def in_force(policy_set: PolicySet, agreements: Iterable[Agreement] = (), nation: Nation = NATION) -> PolicyInForce:
    return PolicyInForce(policy_set, nation, agreements, at_ms=NOW_MS)


def test_a_foreign_partner_reads_core_technology_on_an_agreement_and_at_its_sites_only(policy_set: PolicySet) -> None:
    found = in_force(policy_set, [agreement()]).permitted_sites("toolmaker", RESEARCH, ("fab",))
    assert (found.sites, found.agreements) == (("pyeongtaek",), ("a1",))
    assert found.rules == ("data-stays-at-its-sites",)


def test_whoever_needs_no_agreement_relies_on_none(policy_set: PolicySet) -> None:
    policy = in_force(policy_set, [agreement(recipient="haneul")])
    assert policy.permitted_sites("haneul", RESEARCH, ("fab",)).agreements == ()
    assert policy.permitted_sites("samsung", RESEARCH, ("fab",)).sites == ("pyeongtaek",)


def test_the_first_agreement_in_order_of_id_that_allows_it_is_the_one_named(policy_set: PolicySet) -> None:
    agreements = [agreement("a10"), agreement("a9"), agreement("a2", purposes=(COMMERCIAL,))]
    policy = in_force(policy_set, agreements)
    assert policy.permitted_sites("toolmaker", RESEARCH, ("fab",)).agreements == ("a9",)


@pytest.mark.parametrize(
    ("made", "rule"),
    [
        (agreement(until_ms=NOW_MS), "agreement-in-force"),
        (agreement(from_ms=NOW_MS + 1), "agreement-in-force"),
        (agreement(state=AgreementState.ENDED), "agreement-in-force"),
        (replace(agreement(), needs_approval=True), "agreement-in-force"),
        (agreement(provider="ministry"), "agreement-parties"),
        (agreement(purposes=(COMMERCIAL,)), "agreement-purpose"),
        (agreement(sites=("sejong",)), "agreement-site"),
        (agreement(operations=(Operation.VIEW_RESULTS,)), "agreement-operation"),
        (agreement(clearance=None), "national-core-technology"),
    ],
)
def test_an_agreement_that_does_not_cover_it_is_named_by_what_is_missing(
    policy_set: PolicySet, made: Agreement, rule: str
) -> None:
    assert denied(in_force(policy_set, [made])) == (rule,)


@pytest.mark.parametrize("state", [AgreementState.OFFERED, AgreementState.NEGOTIATING, AgreementState.DECLINED])
def test_an_agreement_that_was_never_agreed_is_not_spoken_of(policy_set: PolicySet, state: AgreementState) -> None:
    rules = denied(in_force(policy_set, [agreement(state=state)]))
    assert rules == ("foreign-reader", "national-core-technology", "reader-must-be-named")


def test_what_needs_approval_counts_once_it_is_approved(policy_set: PolicySet) -> None:
    approved = replace(agreement(), needs_approval=True, approved=True)
    assert in_force(policy_set, [approved]).permitted_sites("toolmaker", RESEARCH, ("fab",)).sites == ("pyeongtaek",)


def test_core_technology_that_the_state_paid_for_needs_an_approval(policy_set: PolicySet) -> None:
    nation = with_dataset(replace(FAB, state_funded=True))
    reported, approved = agreement(), agreement(clearance=ExportClearance.APPROVED)
    assert denied(in_force(policy_set, [reported], nation)) == ("national-core-technology-approval",)
    assert in_force(policy_set, [approved], nation).permitted_sites("toolmaker", RESEARCH, ("fab",)).sites


@pytest.mark.parametrize("basis", TransferBasis)
def test_each_of_the_five_bases_lets_personal_data_be_read_from_abroad(
    policy_set: PolicySet, basis: TransferBasis
) -> None:
    nation = with_dataset(replace(FAB, classes=("personal",)))
    assert denied(in_force(policy_set, [agreement()], nation)) == ("personal-data-transfer",)
    with_basis = in_force(policy_set, [agreement(transfer_basis=basis)], nation)
    assert with_basis.permitted_sites("toolmaker", RESEARCH, ("fab",)).sites == ("pyeongtaek",)


def test_a_standing_grant_does_not_reach_a_subsidiary_of_a_foreign_parent(policy_set: PolicySet) -> None:
    nation = with_dataset(replace(FAB, classes=("grid",), readers=("korea-lab",)))
    own = replace(nation, data_classes=(DataClassDefinition(name="grid", restricted=True),))
    assert denied(in_force(policy_set, (), own), "korea-lab") == ("foreign-reader",)
    free = replace(nation, data_classes=(DataClassDefinition(name="grid", restricted=False),))
    assert in_force(policy_set, (), free).permitted_sites("korea-lab", RESEARCH, ("fab",)).sites


def test_a_class_that_nobody_declared_is_denied_and_named(policy_set: PolicySet) -> None:
    policy = in_force(policy_set, (), with_dataset(replace(FAB, classes=("grid",))))
    found = policy.permitted_sites("samsung", RESEARCH, ("fab",))
    assert (found.sites, found.rules) == ((), (UNKNOWN_FACT,))
    assert found.diagnostics == ("the dataset 'fab' has the class 'grid', which nobody declared",)


@pytest.mark.parametrize(
    "nation",
    [
        with_dataset(replace(FAB, classes=())),
        with_dataset(replace(FAB, jurisdiction="")),
        replace(NATION, sites=(replace(CHIP_SITE, country=""),)),
        replace(NATION, organisations=(replace(NATION.organisations[0], parent_country=""),)),
    ],
)
def test_a_fact_that_is_missing_is_a_denial(policy_set: PolicySet, nation: Nation) -> None:
    assert denied(in_force(policy_set, (), nation), "samsung") == (UNKNOWN_FACT,)


@pytest.mark.parametrize(
    ("held", "enough"),
    [
        ((), False),
        ((Assurance(scheme="csap", grade="low"),), False),
        ((Assurance(scheme="csap", grade="medium"),), True),
        ((Assurance(scheme="csap", grade="high"),), True),
        ((Assurance(scheme="csap", grade="medium", valid_from_ms=NOW_MS + 1),), False),
        ((Assurance(scheme="csap", grade="medium", valid_to_ms=NOW_MS),), False),
        ((Assurance(scheme="csap", grade="medium", valid_to_ms=NOW_MS + 1),), True),
        ((Assurance(scheme="csap", grade="gold"),), False),
        ((Assurance(scheme="other", grade="medium"),), False),
    ],
)
def test_a_site_is_assured_by_grade_scheme_and_dates(
    policy_set: PolicySet, held: tuple[Assurance, ...], enough: bool
) -> None:
    needing = with_dataset(replace(FAB, assurance=(AssuranceNeed(scheme="csap", grade="medium"),)))
    nation = replace(needing, sites=(replace(CHIP_SITE, assurances=held),))
    found = in_force(policy_set, (), nation).permitted_sites("samsung", RESEARCH, ("fab",))
    assert bool(found.sites) == enough
    assert enough or found.rules == ("site-assurance",)


def test_an_embargo_holds_off_all_but_the_owner_until_it_is_over(policy_set: PolicySet) -> None:
    nation = with_dataset(replace(FAB, embargo_until_ms=NOW_MS + 1))
    before, after = (PolicyInForce(policy_set, nation, at_ms=at_ms) for at_ms in (NOW_MS, NOW_MS + 1))
    assert denied(before, "haneul") == ("embargo",)
    assert before.permitted_sites("samsung", RESEARCH, ("fab",)).sites
    assert after.permitted_sites("haneul", RESEARCH, ("fab",)).sites


@pytest.mark.parametrize(
    ("order", "stops"),
    [
        ({}, True),
        ({"recipient": "haneul"}, True),
        ({"recipient": "toolmaker"}, False),
        ({"dataset": "fab"}, True),
        ({"dataset": "scans"}, False),
        ({"country": "KR"}, True),
        ({"country": "NO"}, False),
        ({"recipient": "haneul", "country": "US"}, False),
        ({"recipient": "haneul", "country": "KR", "dataset": "fab"}, True),
    ],
)
def test_a_stop_order_stops_what_fits_all_that_it_names(
    policy_set: PolicySet, order: dict[str, str], stops: bool
) -> None:
    orders = [StopOrder(id="s1", within_ms=1, reason="", **order)]
    policy = PolicyInForce(policy_set, NATION, (), orders, NOW_MS)
    found = policy.permitted_sites("haneul", RESEARCH, ("fab",))
    assert (found.sites == ()) == stops
    assert not stops or found.rules == ("stop-order",)


def test_a_stop_order_is_about_the_use_of_data_and_stops_no_job_without_any(policy_set: PolicySet) -> None:
    policy = PolicyInForce(policy_set, NATION, (), [StopOrder(id="s1", within_ms=1, reason="")], NOW_MS)
    assert policy.permitted_sites("haneul", RESEARCH, ()).sites == ("pyeongtaek", "sejong", "oslo")


def test_the_next_change_is_the_first_date_ahead_among_all_the_facts(policy_set: PolicySet) -> None:
    assured = replace(
        CHIP_SITE, assurances=(Assurance(scheme="csap", grade="low", valid_from_ms=900, valid_to_ms=4_000),)
    )
    nation = replace(with_dataset(replace(FAB, embargo_until_ms=3_000)), sites=(assured,))
    known = (policy_set, nation, [agreement(), agreement(from_ms=2_000, until_ms=9_000)], ())
    moments = [
        PolicyInForce(*known, at_ms).next_change_ms for at_ms in (0, 500, 900, 2_000, 3_000, 4_000, 5_000, 9_000)
    ]
    assert moments == [500, 900, 2_000, 3_000, 4_000, 5_000, 9_000, None]
    offered = [agreement(state=AgreementState.OFFERED)]
    assert PolicyInForce(policy_set, NATION, offered).next_change_ms is None


def test_what_is_nobodys_business_is_not_suggested(policy_set: PolicySet) -> None:
    policy = in_force(policy_set, [agreement()])
    assert [policy.may_read_somewhere(each, "fab") for each in ("samsung", "haneul", "toolmaker", "korea-lab")] == [
        True,
        True,
        True,
        False,
    ]
    assert policy.may_read_somewhere("korea-lab", "scans")
    assert not policy.may_read_somewhere("samsung", "no-such")


def test_the_remedy_is_the_least_that_must_change(policy_set: PolicySet) -> None:
    needed = AgreementNeeded(
        provider="samsung", dataset="fab", transfer_basis=False, clearance=ExportClearance.REPORTED, copy=False
    )
    remedy = in_force(policy_set).remedy("toolmaker", RESEARCH, ("fab",))
    assert remedy == Remedy(sites=("pyeongtaek",), purpose=RESEARCH, agreements=(needed,))
    said = remedy_said(remedy)
    assert said is not None
    assert said.en == (
        "it would be allowed at pyeongtaek for research, on an agreement with samsung about fab that says that its "
        "export was reported or approved"
    )
    assert said.ko == (
        "다음이 갖추어지면 pyeongtaek에서 research 목적으로 허용된다: "
        "fab에 관해 samsung 기관과 맺은 협약(수출 신고나 승인 명시)"
    )


def test_a_remedy_holds_when_it_is_followed(policy_set: PolicySet) -> None:
    """Whatever is said to help does help: an agreement like that is made, and the same question is allowed."""
    nation = with_dataset(replace(FAB, classes=("national-core-technology", "personal"), state_funded=True))
    [needed] = in_force(policy_set, (), nation).remedy("toolmaker", RESEARCH, ("fab",)).agreements
    assert (needed.transfer_basis, needed.clearance, needed.copy) == (True, ExportClearance.APPROVED, False)
    made = agreement(transfer_basis=TransferBasis.CONSENT, clearance=needed.clearance)
    assert in_force(policy_set, [made], nation).permitted_sites("toolmaker", RESEARCH, ("fab",)).sites


def test_a_remedy_names_purposes_orders_dates_grades_and_copies(policy_set: PolicySet) -> None:
    assert in_force(policy_set).remedy("haneul", Purpose.EDUCATION, ("fab",)).purposes == (RESEARCH, COMMERCIAL)
    orders = [StopOrder(id="s1", within_ms=1, reason="", dataset="fab"), StopOrder(id="s2", within_ms=1, reason="")]
    stopped = PolicyInForce(policy_set, NATION, (), orders, NOW_MS).remedy("haneul", RESEARCH, ("fab",))
    assert (stopped.stop_orders, stopped.agreements) == (("s1", "s2"), ())
    late = replace(FAB, embargo_until_ms=86_400_000, assurance=(AssuranceNeed(scheme="csap", grade="low"),))
    waiting = in_force(policy_set, (), with_dataset(late)).remedy("haneul", RESEARCH, ("fab",))
    assert (waiting.from_ms, waiting.assurances) == (86_400_000, ("csap/low",))
    said = remedy_said(waiting)
    assert said is not None
    assert said.en == (
        "it would be allowed at pyeongtaek for research, once the site is assured as csap/low, and from "
        "1970-01-02T00:00:00Z"
    )
    apart = in_force(policy_set).remedy("haneul", RESEARCH, ("fab", "scans"))
    assert apart == Remedy(copies=(("fab", ("pyeongtaek",)), ("scans", ("sejong",))))


def test_where_nothing_would_help_nothing_is_said(policy_set: PolicySet) -> None:
    policy = in_force(policy_set)
    assert policy.remedy("stranger", RESEARCH, ("fab",)) == policy.remedy("haneul", RESEARCH, ("no-such",)) == Remedy()
    assert remedy_said(Remedy()) is None


def test_sites_that_hold_all_the_data_are_judged_as_one_by_one(policy_set: PolicySet) -> None:
    policy = in_force(policy_set, [agreement()])
    for reader in ("samsung", "haneul", "toolmaker", "korea-lab"):
        for data in (("fab",), ("scans",), ("fab", "scans"), ()):
            found = policy.permitted_sites(reader, RESEARCH, data)
            one_by_one = [
                site.name
                for site in NATION.sites
                if all(
                    policy.decide(
                        Question(organisation=reader, action=action, purpose=RESEARCH, site=site.name, dataset=each)
                    ).allowed
                    for action, each in ((Action.RUN, None), *((Action.READ, each) for each in data))
                )
            ]
            assert list(found.sites) == one_by_one
