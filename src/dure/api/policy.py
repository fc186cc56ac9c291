"""Operations on the rules in force: what they say, and what would help whom they refuse."""

from __future__ import annotations

from msgspec import Struct

from dure.api.operations import Call
from dure.api.platform import Platform
from dure.policy import PolicySet, Rule


class RuleInForce(Struct, frozen=True, kw_only=True):
    """A rule, and the text of the file that it stands in."""

    rule: Rule
    text: str


class PolicyReport(Struct, frozen=True, kw_only=True):
    """The rules in force: those that come with Dure, then the programme's own."""

    rules: tuple[RuleInForce, ...]


def report_of(policy_set: PolicySet) -> PolicyReport:
    """The rules of a set, as they are shown."""
    rules = (RuleInForce(rule=each, text=policy_set.text_of(each)) for each in policy_set.rules)
    return PolicyReport(rules=tuple(rules))


async def rules(platform: Platform, _: Call) -> PolicyReport:
    """The rules in force. They are no secret: whoever is refused may read why."""
    return report_of(platform.control.memory.policy.policy_set)
