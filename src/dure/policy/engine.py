"""Cedar behind one small class: rules are validated when loaded, and nothing but a clean Allow allows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cedarpy

from dure.policy.questions import NO_PERMIT, POLICY_ERROR, Decision
from dure.policy.rule import NOT_CEDARS, Rule, rule_from, unnameable

CedarValue = dict[str, Any]
"""A request or an entity in Cedar's JSON form."""

ParsedEntities = cedarpy.Entities
"""Entities that Cedar has read and checked."""

MOST_OWN_FILES = 500
LARGEST_OWN_FILE = 256 * 1024
"""Characters."""


class Alarm:
    """Counts what went wrong while deciding, which is no refusal but a fault of the rules or of the platform.

    `tell` is told of each, in words.
    """

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self.count = 0
        self._tell = tell

    def sound(self, diagnostics: Sequence[str]) -> None:
        """One decision failed, and was a denial for that."""
        self.count += 1
        if self._tell is not None:
            self._tell("; ".join(diagnostics))


class PolicyError(Exception):
    """The rules cannot be used. The message lists every problem, one a line, with the file it is in."""


class PolicySet:
    """Rules that were parsed and checked against their schema once, ready to be asked.

    `policies` maps a file's name to its text, and so does `own` for the programme's own rules. Raises `PolicyError`
    when a text does not parse, does not fit the schema, or holds a rule without an own `@id`, both titles, and for a
    forbid both remedies: a rule that cannot be named cannot be explained. `alarm` is told of every error in deciding.
    """

    def __init__(
        self,
        schema: str,
        policies: Mapping[str, str],
        own: Mapping[str, str] | None = None,
        alarm: Alarm | None = None,
    ) -> None:
        self.schema = schema
        self.shipped = dict(sorted(policies.items()))
        self.own = dict(sorted((own or {}).items()))
        self.alarm = alarm or Alarm()
        try:
            self._schema = cedarpy.Schema.from_str(schema)
        except ValueError as error:
            raise PolicyError(f"schema: {error}") from None
        self.rules = self._checked_rules()
        texts = [*self.shipped.values(), *self.own.values()]
        self._policies = cedarpy.PolicySet.from_str("\n".join(texts))
        self._by_id = {rule.id: rule for rule in (*self.rules, *NOT_CEDARS)}

    def with_own(self, policies: Sequence[tuple[str, str]]) -> PolicySet:
        """The rules that come with Dure, and a programme's own in place of any it had: file names and texts.

        An own rule permits or forbids within the same schema. It takes nothing away: where a shipped rule forbids, no
        permit helps. Raises `PolicyError` for rules that cannot be used.
        """
        own = dict(policies)
        if own == self.own:
            return self
        if len(own) > MOST_OWN_FILES:
            raise PolicyError(
                f"{len(own)} files are more than the {MOST_OWN_FILES} that a programme may have of its own"
            )
        return PolicySet(self.schema, self.shipped, own, self.alarm)

    def rule(self, rule_id: str) -> Rule | None:
        """The rule with this id; also those for what no Cedar rule decided."""
        return self._by_id.get(rule_id)

    def text_of(self, rule: Rule) -> str:
        """The file in which the rule is written."""
        return (self.own if rule.is_own else self.shipped).get(rule.file, "")

    def parse(self, entities: str) -> ParsedEntities:
        """Entities, a list in JSON, checked against the schema once. Raises `ValueError` when they do not fit it."""
        return cedarpy.Entities.from_json_str(entities, self._schema)

    def decide(
        self,
        requests: Sequence[CedarValue],
        entities: str | Sequence[CedarValue],
        parsed: ParsedEntities | None = None,
    ) -> list[Decision]:
        """One decision for each request, in order, from these entities only. Never raises for bad facts: it denies.

        `entities` is a list of them, or that list in JSON; they come beside those that were `parsed` before.
        """
        written = entities if isinstance(entities, str) else json.dumps(list(entities))
        try:
            facts = parsed.with_added_json_str(written, self._schema) if parsed is not None else self.parse(written)
            results = cedarpy.is_authorized_batch(list(requests), self._policies, facts, self._schema)
        except ValueError as error:
            return [self.denied_by_error(str(error))] * len(requests)
        decisions = [_decision(result) for result in results]
        for decision in decisions:
            if decision.diagnostics:
                self.alarm.sound(decision.diagnostics)
        return decisions

    def denied_by_error(self, error: str) -> Decision:
        """The denial of what could not even be asked. It sounds the alarm."""
        denial = Decision(allowed=False, rules=(POLICY_ERROR,), diagnostics=(error,))
        self.alarm.sound(denial.diagnostics)
        return denial

    def _checked_rules(self) -> tuple[Rule, ...]:
        files = [(file, text, False) for file, text in self.shipped.items()]
        files += [(file, text, True) for file, text in self.own.items()]
        problems = [each for file, text, is_own in files for each in _unusable(file, text, is_own, self.shipped)]
        problems += [each for file, text, _ in files for each in _invalid(file, text, self.schema)]
        if problems:
            raise PolicyError("\n".join(problems))
        rules = tuple(rule for file, text, is_own in files for rule in _rules(file, text, is_own))
        if problems := unnameable(rules):
            raise PolicyError("\n".join(problems))
        return rules


def _decision(result: cedarpy.AuthzResult) -> Decision:
    """Cedar skips a forbid that fails to evaluate and may still say Allow; here any error is a denial."""
    rules = tuple(sorted(result.diagnostics.id_annotations_by_reason.values()))
    errors = tuple(result.diagnostics.errors)
    if errors:
        return Decision(allowed=False, rules=(POLICY_ERROR,), diagnostics=errors)
    if result.decision is cedarpy.Decision.Allow and rules:
        return Decision(allowed=True, rules=rules)
    return Decision(allowed=False, rules=rules or (NO_PERMIT,))


def _unusable(file: str, text: str, is_own: bool, shipped: Mapping[str, str]) -> list[str]:
    """What is wrong with a file whatever its rules say."""
    if not is_own:
        return []
    problems = []
    if not file.endswith(".cedar") or "/" in file or not file.isprintable():
        problems.append(f"{file}: a file of rules is named like my-rule.cedar")
    if file in shipped:
        problems.append(f"{file}: a rule that comes with Dure has this file name; give yours another")
    if len(text) > LARGEST_OWN_FILE:
        problems.append(f"{file}: {len(text):,} characters are more than the {LARGEST_OWN_FILE:,} that a file may have")
    return problems


def _invalid(file: str, text: str, schema: str) -> list[str]:
    result = cedarpy.validate_policies(text, schema)
    if result.validation_passed:
        return []
    names = result.id_annotations_by_policy_id
    return [f"{file}: {names.get(each.policy_id, 'rule')}: {each.error}" for each in result.errors]


def _rules(file: str, text: str, is_own: bool) -> list[Rule]:
    parsed = json.loads(cedarpy.policies_to_json_str(text))
    if parsed.get("templates"):
        raise PolicyError(f"{file}: templates are not used here; write the rule out")
    by_position = sorted(parsed["staticPolicies"].items(), key=lambda item: int(item[0].removeprefix("policy")))
    return [rule_from(file, policy["effect"], policy.get("annotations", {}), is_own) for _, policy in by_position]
