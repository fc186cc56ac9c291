"""A rule as people see it: its id, what it says, and what would help. Three of them are not Cedar's.

What a rule says stands in annotations of its Cedar text: `@id`, `@title_ko`, `@title_en`, of a forbid also `@remedy_ko`
and `@remedy_en`, and `@law` for the provisions of rule packs that it enforces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from dure.policy.questions import NO_PERMIT, POLICY_ERROR, UNKNOWN_FACT

FORBID = "forbid"
PERMIT = "permit"

_NAMING = ("id", "title_ko", "title_en")
_REMEDY = ("remedy_ko", "remedy_en")


class Rule(Struct, frozen=True, kw_only=True):
    """One rule. `effect` is `permit` or `forbid`; `file` is where its text is, empty for what this room says itself."""

    id: str
    effect: str
    title_ko: str
    title_en: str
    remedy_ko: str = ""
    """What would make it allowed; every forbid says so."""
    remedy_en: str = ""
    law: tuple[str, ...] = ()
    """Ids of the provisions in rule packs that it enforces, such as `KR-PIPA-28-8`."""
    file: str = ""
    is_own: bool = False
    """The programme's own, and not one that comes with Dure."""


NOT_CEDARS = (
    Rule(
        id=NO_PERMIT,
        effect=FORBID,
        title_ko="허용하는 규칙이 없으면 할 수 없다",
        title_en="What no rule permits is not allowed",
        remedy_ko="이 행위를 허용하는 규칙을 두 사람의 승인으로 추가한다",
        remedy_en="Have the programme add a rule that permits it, which two of its people must agree on",
    ),
    Rule(
        id=UNKNOWN_FACT,
        effect=FORBID,
        title_ko="선언되지 않은 기관, 사이트, 데이터, 분류, 국가에 대해서는 아무것도 허용하지 않는다",
        title_en="Nothing is allowed about an organisation, site, dataset, class or country that is not declared",
        remedy_ko="이름을 확인하거나, 사업 운영 기관에 선언을 요청한다",
        remedy_en="Check the name, or have the programme declare it in the nation file",
    ),
    Rule(
        id=POLICY_ERROR,
        effect=FORBID,
        title_ko="규칙을 판단하는 중에 오류가 나면 허용하지 않는다",
        title_en="When judging the rules fails, nothing is allowed",
        remedy_ko="오류가 기록되었다. 사업 운영 기관이 규칙을 고쳐야 한다",
        remedy_en="The error was reported; the programme has to mend the rule",
    ),
)
"""Denials that are no Cedar rule's."""


def rule_from(file: str, effect: str, annotations: Mapping[str, str | None], is_own: bool) -> Rule:
    """The rule that these annotations describe; what they leave out is empty."""
    texts = {name: annotations.get(name) or "" for name in (*_NAMING, *_REMEDY)}
    law = tuple((annotations.get("law") or "").split())
    return Rule(effect=effect, law=law, file=file, is_own=is_own, **texts)


def unnameable(rules: Iterable[Rule]) -> list[str]:
    """Why rules cannot be named in a refusal: no id of their own, no titles, or a forbid that helps nobody on."""
    problems = []
    seen: dict[str, str] = {each.id: "Dure itself" for each in NOT_CEDARS}
    for rule in rules:
        missing = [f"@{name}" for name in _needed(rule) if not getattr(rule, name)]
        if missing:
            problems.append(f"{rule.file}: {_called(rule)} has no {', '.join(missing)}")
        if rule.id and rule.id in seen:
            problems.append(f"{rule.file}: rule {rule.id} is already in {seen[rule.id]}")
        seen[rule.id] = rule.file
    return problems


def _needed(rule: Rule) -> Sequence[str]:
    return (*_NAMING, *_REMEDY) if rule.effect == FORBID else _NAMING


def _called(rule: Rule) -> str:
    return f"rule {rule.id}" if rule.id else f"a {rule.effect} rule"
