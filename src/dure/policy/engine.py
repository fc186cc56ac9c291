"""Cedar behind one small class: rules are validated when loaded, and nothing but a clean Allow allows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import cedarpy
from msgspec import Struct

from dure.policy.questions import NO_PERMIT, POLICY_ERROR, Decision

CedarValue = dict[str, Any]
"""A request or an entity in Cedar's JSON form."""

_ANNOTATIONS = ("id", "title_ko", "title_en")


class PolicyError(Exception):
    """The rules cannot be used. The message lists every problem, one a line, with the file it is in."""


class Rule(Struct, frozen=True, kw_only=True):
    """One rule as people see it. `effect` is `permit` or `forbid`; `file` is where its text is."""

    id: str
    effect: str
    title_ko: str
    title_en: str
    file: str


class PolicySet:
    """Rules that were parsed and checked against their schema once, ready to be asked.

    `policies` maps a file's name to its text. Raises `PolicyError` when a text does not parse, does not fit the schema,
    or holds a rule without an own `@id` and both titles: a rule that cannot be named cannot be explained.
    """

    def __init__(self, schema: str, policies: Mapping[str, str]) -> None:
        self._texts = texts = dict(sorted(policies.items()))
        self._schema_text = schema
        try:
            self._schema = cedarpy.Schema.from_str(schema)
        except ValueError as error:
            raise PolicyError(f"schema: {error}") from None
        problems = [each for file, text in texts.items() for each in _invalid(file, text, schema)]
        if not problems:
            self.rules = tuple(rule for file, text in texts.items() for rule in _rules(file, text))
            problems = _unnameable(self.rules)
        if problems:
            raise PolicyError("\n".join(problems))
        self._policies = cedarpy.PolicySet.from_str("\n".join(texts.values()))

    def with_own(self, policies: Sequence[tuple[str, str]]) -> PolicySet:
        """These rules and a programme's own, whose files have names of their own. Raises `PolicyError`."""
        if not policies:
            return self
        taken = [f"{file}: this name is taken by a shipped file" for file, _ in policies if file in self._texts]
        if taken:
            raise PolicyError("\n".join(taken))
        return PolicySet(self._schema_text, self._texts | dict(policies))

    def rule(self, rule_id: str) -> Rule | None:
        """The rule with this id."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)

    def decide(self, requests: Sequence[CedarValue], entities: Sequence[CedarValue]) -> list[Decision]:
        """One decision for each request, in order, from these entities only. Never raises for bad facts: it denies."""
        try:
            facts = cedarpy.Entities.from_json_str(json.dumps(list(entities)), self._schema)
            results = cedarpy.is_authorized_batch(list(requests), self._policies, facts, self._schema)
        except ValueError as error:
            denial = Decision(allowed=False, rules=(POLICY_ERROR,), diagnostics=(str(error),))
            return [denial] * len(requests)
        return [_decision(result) for result in results]


def _decision(result: cedarpy.AuthzResult) -> Decision:
    """Cedar skips a forbid that fails to evaluate and may still say Allow; here any error is a denial."""
    rules = tuple(sorted(result.diagnostics.id_annotations_by_reason.values()))
    errors = tuple(result.diagnostics.errors)
    if errors:
        return Decision(allowed=False, rules=(POLICY_ERROR,), diagnostics=errors)
    if result.decision is cedarpy.Decision.Allow and rules:
        return Decision(allowed=True, rules=rules)
    return Decision(allowed=False, rules=rules or (NO_PERMIT,))


def _invalid(file: str, text: str, schema: str) -> list[str]:
    result = cedarpy.validate_policies(text, schema)
    if result.validation_passed:
        return []
    names = result.id_annotations_by_policy_id
    return [f"{file}: {names.get(each.policy_id, 'rule')}: {each.error}" for each in result.errors]


def _rules(file: str, text: str) -> list[Rule]:
    parsed = json.loads(cedarpy.policies_to_json_str(text))
    if parsed.get("templates"):
        raise PolicyError(f"{file}: templates are not used here; write the rule out")
    by_position = sorted(parsed["staticPolicies"].items(), key=lambda item: int(item[0].removeprefix("policy")))
    return [_rule(file, policy) for _, policy in by_position]


def _rule(file: str, policy: CedarValue) -> Rule:
    annotations = policy.get("annotations", {})
    texts = {name: annotations.get(name) or "" for name in _ANNOTATIONS}
    return Rule(effect=policy["effect"], file=file, **texts)


def _unnameable(rules: Sequence[Rule]) -> list[str]:
    problems = []
    seen: dict[str, str] = {}
    for rule in rules:
        missing = [f"@{name}" for name in _ANNOTATIONS if not getattr(rule, name)]
        if missing:
            problems.append(f"{rule.file}: a {rule.effect} rule has no {', '.join(missing)}")
        if rule.id and rule.id in seen:
            problems.append(f"{rule.file}: rule {rule.id} is already in {seen[rule.id]}")
        seen[rule.id] = rule.file
    return problems
