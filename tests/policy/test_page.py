"""The reference page says what the rules say."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dure.intake.nationfile import nation_from_yaml
from dure.intake.policy_cases import cases_from_yaml
from dure.policy import NO_PERMIT, POLICY_ERROR, UNKNOWN_FACT, PolicyInForce, PolicySet, Rule
from dure.policy.cases import try_case

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "policy.md"
BEGIN, END = "<!-- rules -->\n", "<!-- end of rules -->\n"


def rows(rules: list[Rule]) -> str:
    head = "| Rule | What it says | What would help |\n|---|---|---|\n"
    return head + "".join(
        f"| `{each.id}`{''.join(f'<br>{law}' for law in each.law)} | {each.title_en}<br>{each.title_ko} "
        f"| {each.remedy_en}<br>{each.remedy_ko} |\n"
        for each in rules
    )


def section(policy_set: PolicySet) -> str:
    forbids = [each for each in policy_set.rules if each.effect == "forbid"]
    permits = [each for each in policy_set.rules if each.effect == "permit"]
    permitted = "".join(f"| `{each.id}` | {each.title_en}<br>{each.title_ko} |\n" for each in permits)
    others = [rule for each in (NO_PERMIT, UNKNOWN_FACT, POLICY_ERROR) if (rule := policy_set.rule(each)) is not None]
    return (
        f"What is forbidden:\n\n{rows(forbids)}\nWhat is permitted, where nothing forbids it:\n\n"
        f"| Rule | What it says |\n|---|---|\n{permitted}\nWhat is denied by no rule of its own:\n\n{rows(others)}"
    )


def test_the_page_has_every_rule_with_its_titles_and_remedies(policy_set: PolicySet) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    found, after = rest.split(END)
    if os.environ.get("DURE_UPDATE"):
        PAGE.write_text(before + BEGIN + section(policy_set) + END + after, encoding="utf-8")
        return
    assert found == section(policy_set)


@pytest.mark.parametrize("text", re.findall(r"```cedar\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
def test_every_example_of_a_rule_is_one(policy_set: PolicySet, text: str) -> None:
    own = policy_set.with_own([("example.cedar", text)])
    assert [rule.id for rule in own.rules if rule.is_own] == ["grid-data-at-grid-sites"]


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
def test_every_example_of_cases_is_read_and_holds(policy_set: PolicySet, text: str) -> None:
    nation = nation_from_yaml((PAGE.parents[1] / "tour" / "policy-nation.yaml").read_text(encoding="utf-8"))
    found = cases_from_yaml(text)
    policy = PolicyInForce(policy_set, nation, found.agreements, found.stop_orders, found.at_ms)
    assert [try_case(policy, each).faults for each in found.cases] == [(), ()]
