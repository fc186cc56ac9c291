"""The shipped rules by examples: who may read what, where, for what."""

from __future__ import annotations

import pytest

from dure.model.datasets import DataClass, Dataset, Purpose
from dure.model.fleet import Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind
from dure.policy import NO_PERMIT, UNKNOWN_FACT, Action, Decision, PolicyInForce, PolicySet, Question

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
    ("haneul", READ, "fab", "oslo", Purpose.RESEARCH, False, ("national-core-technology", "residency")),
    ("haneul", READ, "fab", "pyeongtaek", Purpose.COMMERCIAL, False, ("purpose-limitation",)),
    ("samsung", READ, "fab", "pyeongtaek", Purpose.COMMERCIAL, False, ("purpose-limitation",)),
    ("korea-lab", READ, "fab", "pyeongtaek", Purpose.RESEARCH, False, ("foreign-reader", "national-core-technology")),
    (
        "samsung-texas",
        READ,
        "fab",
        "pyeongtaek",
        Purpose.RESEARCH,
        False,
        ("foreign-reader", "national-core-technology"),
    ),
    ("samsung", READ, "patients", "pyeongtaek", Purpose.RESEARCH, True, ("members-may-read",)),
    ("haneul", READ, "patients", "pyeongtaek", Purpose.RESEARCH, False, ("reader-must-be-named",)),
    ("korea-lab", READ, "texts", "oslo", Purpose.RESEARCH, True, ("members-may-read",)),
    ("haneul", READ, "mixed", "oslo", Purpose.RESEARCH, False, ("personal-data-transfer", "residency")),
    ("korea-lab", READ, "mixed", "pyeongtaek", Purpose.RESEARCH, False, ("foreign-reader",)),
    (
        "korea-lab",
        READ,
        "patients",
        "sejong",
        Purpose.COMMERCIAL,
        False,
        ("data-stays-at-its-sites", "foreign-reader", "purpose-limitation", "reader-must-be-named"),
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


def test_permitted_sites_are_those_where_running_and_every_reading_is_allowed(policy_set: PolicySet) -> None:
    policy = PolicyInForce(policy_set, NATION)
    without_data = policy.permitted_sites("haneul", Purpose.RESEARCH, ())
    assert (without_data.sites, without_data.rules) == (("pyeongtaek", "sejong", "oslo"), ())
    with_data = policy.permitted_sites("haneul", Purpose.RESEARCH, ("texts", "fab"))
    assert with_data.sites == ("pyeongtaek",)
    assert with_data.rules == ("data-stays-at-its-sites", "national-core-technology", "residency")


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
    site = {"uid": {"type": "Site", "id": "s"}, "attrs": {"country": "KR", "assurances": []}, "parents": []}
    asked = {
        "principal": outsider["uid"],
        "action": {"type": "Action", "id": "run"},
        "resource": site["uid"],
        "context": {"purpose": "research", "at_ms": 0},
    }
    assert policy_set.decide([asked], [outsider, site]) == [Decision(allowed=False, rules=(NO_PERMIT,))]
