"""Rules that cannot be trusted are refused when loaded, and errors while deciding are denials."""

from __future__ import annotations

import pytest

from dure.policy import NO_PERMIT, POLICY_ERROR, UNKNOWN_FACT, Alarm, PolicyError, PolicySet

TITLED = '@title_ko("규칙") @title_en("A rule") @remedy_ko("도움") @remedy_en("Help")'
RUN_REQUEST = {
    "principal": {"type": "Organisation", "id": "haneul"},
    "action": {"type": "Action", "id": "run"},
    "resource": {"type": "Site", "id": "sejong"},
    "context": {"purpose": "research", "at_ms": 0},
}
READ_REQUEST = RUN_REQUEST | {
    "action": {"type": "Action", "id": "read"},
    "resource": {"type": "Dataset", "id": "fab"},
    "context": {"purpose": "research", "at_ms": 0, "site": {"type": "Site", "id": "sejong"}, "stop_orders": []},
}
HANEUL = {
    "uid": {"type": "Organisation", "id": "haneul"},
    "attrs": {"country": "KR", "parent_country": "KR"},
    "parents": [{"type": "Alliance", "id": "members"}],
}
SEJONG = {"uid": {"type": "Site", "id": "sejong"}, "attrs": {"country": "KR", "assurances": []}, "parents": []}


def problems(schema: str, policies: dict[str, str]) -> str:
    with pytest.raises(PolicyError) as caught:
        PolicySet(schema, policies)
    return str(caught.value)


def test_every_shipped_rule_says_what_it_is_and_every_forbid_what_would_help(policy_set: PolicySet) -> None:
    assert len(policy_set.rules) == 20
    assert all(rule.file == f"{rule.id}.cedar" and rule.title_ko and rule.title_en for rule in policy_set.rules)
    forbids = [rule for rule in policy_set.rules if rule.effect == "forbid"]
    assert len(forbids) == 18
    assert all(rule.remedy_ko and rule.remedy_en for rule in forbids)


def test_what_no_cedar_rule_decided_has_a_name_and_a_remedy_too(policy_set: PolicySet) -> None:
    for rule_id in (NO_PERMIT, UNKNOWN_FACT, POLICY_ERROR):
        rule = policy_set.rule(rule_id)
        assert rule is not None
        assert rule.title_ko
        assert rule.remedy_en
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


def test_a_forbid_that_says_nothing_of_what_would_help_is_refused(schema: str) -> None:
    rule = '@id("no") @title_ko("규칙") @title_en("A rule") @remedy_ko("도움") forbid (principal, action, resource);'
    assert problems(schema, {"a.cedar": rule}) == "a.cedar: rule no has no @remedy_en"


def test_no_rule_may_take_the_name_of_a_denial_that_is_not_cedars(schema: str) -> None:
    rule = f'@id("policy-error") {TITLED} permit (principal, action, resource);'
    assert problems(schema, {"a.cedar": rule}) == "a.cedar: rule policy-error is already in Dure itself"


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
    odd = SEJONG | {"attrs": {"country": 82, "assurances": []}}
    decision = policy_set.decide([RUN_REQUEST, RUN_REQUEST], [HANEUL, odd])
    assert [each.allowed for each in decision] == [False, False]
    assert decision[0].rules == (POLICY_ERROR,)


def test_a_request_that_does_not_fit_the_schema_is_a_denial_and_spoils_no_other(policy_set: PolicySet) -> None:
    odd = RUN_REQUEST | {"context": {"purpose": 3, "at_ms": 0}}
    decisions = policy_set.decide([odd, RUN_REQUEST], [HANEUL, SEJONG])
    assert [each.allowed for each in decisions] == [False, True]
    assert decisions[0].rules == (POLICY_ERROR,)
    assert decisions[1].rules == ("members-may-run",)


def test_every_error_sounds_the_alarm_and_no_refusal_does(schema: str, policies: dict[str, str]) -> None:
    told: list[str] = []
    alarm = Alarm(told.append)
    policy_set = PolicySet(schema, policies, alarm=alarm)
    outsider = HANEUL | {"parents": []}
    assert not policy_set.decide([RUN_REQUEST], [outsider, SEJONG])[0].is_error
    assert (alarm.count, told) == (0, [])
    assert policy_set.decide([READ_REQUEST], [HANEUL])[0].is_error
    assert alarm.count == len(told) == 1
    assert policy_set.decide([RUN_REQUEST], [{"uid": "nonsense"}])[0].is_error
    assert alarm.count == len(told) == 2


OWN = f'@id("not-in-sejong") {TITLED} forbid (principal, action, resource == Site::"sejong");'


def test_a_programmes_own_forbid_forbids_and_keeps_the_alarm(policy_set: PolicySet) -> None:
    own = policy_set.with_own([("mine.cedar", OWN)])
    decision = own.decide([RUN_REQUEST], [HANEUL, SEJONG])[0]
    assert (decision.allowed, decision.rules) == (False, ("not-in-sejong",))
    rule = own.rule("not-in-sejong")
    assert rule is not None
    assert rule.is_own
    assert own.text_of(rule) == OWN
    assert own.alarm is policy_set.alarm
    assert own.with_own([]).rule("not-in-sejong") is None


def test_where_a_shipped_rule_forbids_no_permit_of_a_programme_helps(policy_set: PolicySet) -> None:
    permit = f'@id("all") {TITLED} permit (principal, action, resource);'
    own = policy_set.with_own([("mine.cedar", permit)])
    fab = {
        "uid": READ_REQUEST["resource"],
        "attrs": {
            "owner": HANEUL["uid"],
            "classes": ["public"],
            "restricted": False,
            "jurisdiction": "KR",
            "purposes": ["research"],
            "sites": [],
            "readers": [],
            "open_to_members": True,
            "state_funded": False,
            "embargo_until_ms": 0,
            "assurances_needed": [],
        },
        "parents": [],
    }
    decision = own.decide([READ_REQUEST], [HANEUL | {"parents": []}, SEJONG, fab])[0]
    assert (decision.allowed, decision.rules) == (False, ("data-stays-at-its-sites",))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("mine.cedar", "permit (", "mine.cedar: "),
        ("mine.txt", OWN, "mine.txt: a file of rules is named like my-rule.cedar"),
        ("../mine.cedar", OWN, "../mine.cedar: a file of rules is named like my-rule.cedar"),
        ("residency.cedar", OWN, "residency.cedar: a rule that comes with Dure has this file name"),
        ("mine.cedar", OWN.replace("not-in-sejong", "residency"), "rule residency is already in residency.cedar"),
        ("mine.cedar", OWN + " " * 300_000, "mine.cedar: 300,"),
    ],
)
def test_an_own_rule_that_cannot_be_used_is_refused(policy_set: PolicySet, file: str, text: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy_set.with_own([(file, text)])
    assert said in str(caught.value)


def test_more_own_files_than_anybody_reads_are_refused(policy_set: PolicySet) -> None:
    with pytest.raises(PolicyError, match="501 files"):
        policy_set.with_own([(f"{number}.cedar", "") for number in range(501)])
