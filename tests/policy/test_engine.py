"""Rules that cannot be trusted are refused when loaded, and errors while deciding are denials."""

from __future__ import annotations

import pytest

from dure.policy import POLICY_ERROR, PolicyError, PolicySet

TITLED = '@title_ko("규칙") @title_en("A rule")'
RUN_REQUEST = {
    "principal": {"type": "Organisation", "id": "haneul"},
    "action": {"type": "Action", "id": "run"},
    "resource": {"type": "Site", "id": "sejong"},
    "context": {"purpose": "research"},
}
READ_REQUEST = RUN_REQUEST | {
    "action": {"type": "Action", "id": "read"},
    "resource": {"type": "Dataset", "id": "fab"},
    "context": {"purpose": "research", "site": {"type": "Site", "id": "sejong"}},
}
HANEUL = {
    "uid": {"type": "Organisation", "id": "haneul"},
    "attrs": {"country": "KR", "parent_country": "KR"},
    "parents": [{"type": "Alliance", "id": "members"}],
}
SEJONG = {"uid": {"type": "Site", "id": "sejong"}, "attrs": {"country": "KR"}, "parents": []}


def problems(schema: str, policies: dict[str, str]) -> str:
    with pytest.raises(PolicyError) as caught:
        PolicySet(schema, policies)
    return str(caught.value)


def test_every_shipped_rule_has_an_id_and_a_title_in_both_languages(policy_set: PolicySet) -> None:
    assert len(policy_set.rules) == 7
    assert all(rule.file == f"{rule.id}.cedar" and rule.title_ko and rule.title_en for rule in policy_set.rules)
    residency = policy_set.rule("residency")
    assert residency is not None
    assert residency.effect == "forbid"
    assert policy_set.rule("no-such-rule") is None


def test_a_rule_that_does_not_parse_is_refused_with_its_file(schema: str) -> None:
    assert problems(schema, {"broken.cedar": "permit (principal"}).startswith("broken.cedar: ")


def test_a_schema_that_does_not_parse_is_refused(policies: dict[str, str]) -> None:
    assert problems("entity", policies).startswith("schema: ")


def test_a_rule_about_a_fact_that_does_not_exist_is_refused_with_its_id(schema: str) -> None:
    rule = (
        f'@id("mood") {TITLED} forbid (principal, action == Action::"run", resource) when {{ principal.mood == "x" }};'
    )
    message = problems(schema, {"mood.cedar": rule})
    assert "mood.cedar: mood: " in message
    assert "`mood`" in message


def test_a_rule_without_id_or_titles_is_refused(schema: str) -> None:
    message = problems(schema, {"a.cedar": '@title_en("A rule") permit (principal, action, resource);'})
    assert message == "a.cedar: a permit rule has no @id, @title_ko"


def test_two_rules_with_one_id_are_refused(schema: str) -> None:
    rule = f'@id("same") {TITLED} permit (principal, action, resource);'
    assert problems(schema, {"a.cedar": rule, "b.cedar": rule}) == "b.cedar: rule same is already in a.cedar"


def test_a_template_is_refused(schema: str) -> None:
    rule = f'@id("template") {TITLED} permit (principal == ?principal, action, resource);'
    assert "templates are not used" in problems(schema, {"a.cedar": rule})


def test_all_problems_are_reported_at_once(schema: str) -> None:
    message = problems(schema, {"a.cedar": "permit (", "b.cedar": "forbid ("})
    assert "a.cedar" in message
    assert "b.cedar" in message


def test_without_any_rule_nothing_is_allowed(schema: str) -> None:
    decision = PolicySet(schema, {}).decide([RUN_REQUEST], [HANEUL, SEJONG])[0]
    assert (decision.allowed, decision.rules) == (False, ("no-permit",))


def test_a_forbid_that_fails_to_evaluate_is_a_denial_and_not_skipped(schema: str) -> None:
    """Cedar itself would answer Allow here: the forbid overflows, is skipped, and only the permit is left."""
    permit = f'@id("all") {TITLED} permit (principal, action, resource);'
    overflow = "9223372036854775807 + (if resource.country == context.purpose then 0 else 1) > 0"
    forbid = f'@id("fails") {TITLED} forbid (principal, action == Action::"run", resource) when {{ {overflow} }};'
    decision = PolicySet(schema, {"all.cedar": permit, "fails.cedar": forbid}).decide([RUN_REQUEST], [HANEUL, SEJONG])[
        0
    ]
    assert (decision.allowed, decision.rules) == (False, (POLICY_ERROR,))
    assert "overflow" in decision.diagnostics[0]


def test_an_entity_that_is_missing_is_a_denial(policy_set: PolicySet) -> None:
    decision = policy_set.decide([READ_REQUEST], [HANEUL])[0]
    assert (decision.allowed, decision.rules) == (False, (POLICY_ERROR,))


def test_entities_that_do_not_fit_the_schema_are_a_denial(policy_set: PolicySet) -> None:
    odd = SEJONG | {"attrs": {"country": 82}}
    decision = policy_set.decide([RUN_REQUEST, RUN_REQUEST], [HANEUL, odd])
    assert [each.allowed for each in decision] == [False, False]
    assert decision[0].rules == (POLICY_ERROR,)


def test_a_request_that_does_not_fit_the_schema_is_a_denial_and_spoils_no_other(policy_set: PolicySet) -> None:
    odd = RUN_REQUEST | {"context": {"purpose": 3}}
    decisions = policy_set.decide([odd, RUN_REQUEST], [HANEUL, SEJONG])
    assert [each.allowed for each in decisions] == [False, True]
    assert decisions[0].rules == (POLICY_ERROR,)
    assert decisions[1].rules == ("members-may-run",)
