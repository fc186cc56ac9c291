"""The shipped rules: examples, an oracle written by hand without Cedar, and proof that no rule is idle."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.model.datasets import DataClass, Dataset, Purpose
from dure.model.fleet import Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind
from dure.policy import NO_PERMIT, UNKNOWN_FACT, Action, Decision, PolicyInForce, PolicySet, Question

from .conftest import POLICIES, SCHEMA

ORGANISATIONS = (
    Organisation(name="samsung", kind=OrganisationKind.ENTERPRISE, country="KR", parent_country="KR", projects=()),
    Organisation(name="haneul", kind=OrganisationKind.STARTUP, country="KR", parent_country="KR", projects=()),
    Organisation(name="korea-lab", kind=OrganisationKind.PARTNER, country="KR", parent_country="US", projects=()),
    Organisation(name="samsung-texas", kind=OrganisationKind.PARTNER, country="US", parent_country="KR", projects=()),
)
SITES = (
    Site(name="pyeongtaek", country="KR", owner="samsung", nodes=()),
    Site(name="sejong", country="KR", owner="samsung", nodes=()),
    Site(name="oslo", country="NO", owner="samsung", nodes=()),
)


def dataset(name: str, classes: tuple[DataClass, ...], **changes: object) -> Dataset:
    facts: dict[str, object] = {
        "owner": "samsung",
        "jurisdiction": "KR",
        "purposes": (Purpose.RESEARCH,),
        "sites": ("pyeongtaek", "oslo"),
        "readers": ("haneul", "korea-lab", "samsung-texas"),
    }
    return Dataset(name=name, classes=classes, **(facts | changes))  # type: ignore[arg-type]


DATASETS = (
    dataset("fab", (DataClass.NATIONAL_CORE_TECHNOLOGY,)),
    dataset("patients", (DataClass.MEDICAL, DataClass.PERSONAL), readers=()),
    dataset("texts", (DataClass.PUBLIC,), readers=("*",)),
    dataset("mixed", (DataClass.PUBLIC, DataClass.PERSONAL)),
)
NATION = Nation(organisations=ORGANISATIONS, sites=SITES, datasets=DATASETS)

READ, RUN = Action.READ, Action.RUN
EXAMPLES: list[tuple[str, Action, str | None, str, Purpose, bool, tuple[str, ...]]] = [
    ("haneul", RUN, None, "oslo", Purpose.COMMERCIAL, True, ("members-may-run",)),
    ("korea-lab", RUN, None, "sejong", Purpose.RESEARCH, True, ("members-may-run",)),
    ("samsung", READ, "fab", "pyeongtaek", Purpose.RESEARCH, True, ("members-may-read",)),
    ("haneul", READ, "fab", "pyeongtaek", Purpose.RESEARCH, True, ("members-may-read",)),
    ("haneul", READ, "fab", "sejong", Purpose.RESEARCH, False, ("data-stays-at-its-sites",)),
    ("haneul", READ, "fab", "oslo", Purpose.RESEARCH, False, ("residency",)),
    ("haneul", READ, "fab", "pyeongtaek", Purpose.COMMERCIAL, False, ("purpose-limitation",)),
    ("samsung", READ, "fab", "pyeongtaek", Purpose.COMMERCIAL, False, ("purpose-limitation",)),
    ("korea-lab", READ, "fab", "pyeongtaek", Purpose.RESEARCH, False, ("national-core-technology",)),
    ("samsung-texas", READ, "fab", "pyeongtaek", Purpose.RESEARCH, False, ("national-core-technology",)),
    ("samsung", READ, "patients", "pyeongtaek", Purpose.RESEARCH, True, ("members-may-read",)),
    ("haneul", READ, "patients", "pyeongtaek", Purpose.RESEARCH, False, ("reader-must-be-named",)),
    ("korea-lab", READ, "texts", "oslo", Purpose.RESEARCH, True, ("members-may-read",)),
    ("haneul", READ, "mixed", "oslo", Purpose.RESEARCH, False, ("residency",)),
    ("korea-lab", READ, "mixed", "pyeongtaek", Purpose.RESEARCH, True, ("members-may-read",)),
    (
        "korea-lab",
        READ,
        "patients",
        "sejong",
        Purpose.COMMERCIAL,
        False,
        ("data-stays-at-its-sites", "purpose-limitation", "reader-must-be-named"),
    ),
]


def question(organisation: str, action: Action, data: str | None, site: str, purpose: Purpose) -> Question:
    return Question(organisation=organisation, action=action, purpose=purpose, site=site, dataset=data)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: f"{each[0]}-{each[1]}-{each[2]}-{each[3]}-{each[4]}")
def test_the_rules_decide_the_examples(
    policy_set: PolicySet, example: tuple[str, Action, str | None, str, Purpose, bool, tuple[str, ...]]
) -> None:
    *asked, allowed, rules = example
    decision = PolicyInForce(policy_set, NATION).decide(question(*asked))  # type: ignore[arg-type]
    assert decision == Decision(allowed=allowed, rules=rules)


@pytest.mark.parametrize("file", sorted(POLICIES))
def test_no_rule_can_be_deleted_without_an_example_changing_its_answer(file: str) -> None:
    without = PolicySet(SCHEMA, {name: text for name, text in POLICIES.items() if name != file})
    policy = PolicyInForce(without, NATION)
    answers = [policy.decide(question(*each[:5])).allowed for each in EXAMPLES]
    assert answers != [each[5] for each in EXAMPLES]


def oracle(nation: Nation, asked: Question) -> Decision:
    """The same law, said once more in Python by hand. Shares no code with the rules."""
    organisation = {each.name: each for each in nation.organisations}.get(asked.organisation)
    site = {each.name: each for each in nation.sites}.get(asked.site)
    data = {each.name: each for each in nation.datasets}.get(asked.dataset or "")
    needs_data = asked.action is READ or asked.dataset is not None
    if organisation is None or site is None or (needs_data and data is None):
        return Decision(allowed=False, rules=(UNKNOWN_FACT,))
    if asked.action is RUN or data is None:
        return Decision(allowed=True, rules=("members-may-run",))
    core = DataClass.NATIONAL_CORE_TECHNOLOGY in data.classes
    at_home = {organisation.country, organisation.parent_country} == {data.jurisdiction}
    broken = {
        "data-stays-at-its-sites": site.name not in data.sites,
        "national-core-technology": core and not at_home,
        "purpose-limitation": asked.purpose not in data.purposes,
        "reader-must-be-named": organisation.name not in {data.owner, *data.readers} and "*" not in data.readers,
        "residency": site.country != data.jurisdiction and set(data.classes) != {DataClass.PUBLIC},
    }
    forbids = tuple(sorted(rule for rule, applies in broken.items() if applies))
    return Decision(allowed=not forbids, rules=forbids or ("members-may-read",))


COUNTRIES = st.sampled_from(["KR", "NO", "US"])
ORGANISATION_NAMES = ["a", "b", "c"]
SITE_NAMES = ["x", "y", 'quote"\n\\']


@st.composite
def nations(draw: st.DrawFn) -> Nation:
    organisations = tuple(
        Organisation(
            name=name,
            kind=draw(st.sampled_from(OrganisationKind)),
            country=draw(COUNTRIES),
            parent_country=draw(COUNTRIES),
            projects=(),
        )
        for name in ORGANISATION_NAMES
    )
    sites = tuple(Site(name=name, country=draw(COUNTRIES), owner="a", nodes=()) for name in SITE_NAMES)
    data = Dataset(
        name="d",
        owner=draw(st.sampled_from(ORGANISATION_NAMES)),
        classes=tuple(draw(st.sets(st.sampled_from(DataClass), max_size=3))),
        jurisdiction=draw(COUNTRIES),
        purposes=tuple(draw(st.sets(st.sampled_from(Purpose)))),
        sites=tuple(draw(st.sets(st.sampled_from(SITE_NAMES)))),
        readers=tuple(draw(st.sets(st.sampled_from([*ORGANISATION_NAMES, "*"]), max_size=2))),
    )
    return Nation(organisations=organisations, sites=sites, datasets=(data,))


QUESTIONS = st.builds(
    Question,
    organisation=st.sampled_from([*ORGANISATION_NAMES, "stranger"]),
    action=st.sampled_from(Action),
    purpose=st.sampled_from(Purpose),
    site=st.sampled_from([*SITE_NAMES, "nowhere"]),
    dataset=st.sampled_from(["d", "unheard-of", None]),
)


def test_an_independent_oracle_agrees_on_random_questions(policy_set: PolicySet) -> None:
    @settings(max_examples=150, deadline=None)
    @given(nation=nations(), asked=st.lists(QUESTIONS, min_size=1, max_size=8))
    def agrees(nation: Nation, asked: list[Question]) -> None:
        expected = [oracle(nation, each) for each in asked]
        policy = PolicyInForce(policy_set, nation)
        for _ in ("asked", "remembered"):
            decisions = policy.decide_all(asked)
            assert [(each.allowed, each.rules) for each in decisions] == [
                (each.allowed, each.rules) for each in expected
            ]

    agrees()


def test_permitted_sites_are_those_where_running_and_every_reading_is_allowed(policy_set: PolicySet) -> None:
    policy = PolicyInForce(policy_set, NATION)
    without_data = policy.permitted_sites("haneul", Purpose.RESEARCH, ())
    assert (without_data.sites, without_data.rules) == (("pyeongtaek", "sejong", "oslo"), ())
    with_data = policy.permitted_sites("haneul", Purpose.RESEARCH, ("texts", "fab"))
    assert with_data.sites == ("pyeongtaek",)
    assert with_data.rules == ("data-stays-at-its-sites", "residency")


def test_a_refusal_names_only_the_rules_of_the_sites_that_come_closest(policy_set: PolicySet) -> None:
    policy = PolicyInForce(policy_set, NATION)
    nowhere = policy.permitted_sites("haneul", Purpose.COMMERCIAL, ("fab",))
    assert (nowhere.sites, nowhere.rules) == ((), ("purpose-limitation",))


def test_an_unknown_dataset_or_organisation_has_no_permitted_site(policy_set: PolicySet) -> None:
    policy = PolicyInForce(policy_set, NATION)
    assert policy.permitted_sites("haneul", Purpose.RESEARCH, ("no-such",)).sites == ()
    stranger = policy.permitted_sites("stranger", Purpose.RESEARCH, ())
    assert (stranger.sites, stranger.rules) == ((), (UNKNOWN_FACT,))
    assert stranger.diagnostics == ("no organisation is named 'stranger'",)


def test_an_organisation_that_is_no_member_gets_no_permit(policy_set: PolicySet) -> None:
    """Membership is asked by the permits themselves, so a fact sheet without it allows nothing."""
    outsider = {
        "uid": {"type": "Organisation", "id": "o"},
        "attrs": {"country": "KR", "parent_country": "KR"},
        "parents": [],
    }
    site = {"uid": {"type": "Site", "id": "s"}, "attrs": {"country": "KR"}, "parents": []}
    asked = {
        "principal": outsider["uid"],
        "action": {"type": "Action", "id": "run"},
        "resource": site["uid"],
        "context": {"purpose": "research"},
    }
    assert policy_set.decide([asked], [outsider, site]) == [Decision(allowed=False, rules=(NO_PERMIT,))]
