"""A refusal by policy in words: which rules forbid it, and what would make it allowed."""

from __future__ import annotations

from dure.intake.refusals import Reason, Refusal, RefusalCode
from dure.model.jobs import JobSpec
from dure.policy import PermittedSites, PolicyInForce, PolicySet, remedy_said


def refused_by_policy(policy: PolicyInForce, organisation: str, spec: JobSpec, permitted: PermittedSites) -> Refusal:
    """Why the organisation may run this job at no site. What would help is found by trying, and else as rules say."""
    reasons = reasons_of(policy.policy_set, permitted.rules)
    remedy = remedy_said(policy.remedy(organisation, spec.purpose, spec.data))
    titles = [*permitted.diagnostics] or [each.title_en for each in reasons] or ["no rule permits it"]
    help_text = remedy.en if remedy else "; ".join(dict.fromkeys(each.remedy_en for each in reasons))
    message = f"no site may run this job ({', '.join(permitted.rules)}): {'; '.join(titles)}"
    return Refusal(
        code=RefusalCode.FORBIDDEN_BY_POLICY,
        message=f"{message}. What would help: {help_text}" if help_text else message,
        field="data" if spec.data else "project",
        rules=permitted.rules,
        reasons=reasons,
        remedy=remedy,
    )


def reasons_of(policy_set: PolicySet, rule_ids: tuple[str, ...]) -> tuple[Reason, ...]:
    """The rules with these ids, in words; an id that no rule has any more is left out."""
    rules = (policy_set.rule(each) for each in rule_ids)
    return tuple(
        Reason(
            rule=rule.id,
            title_ko=rule.title_ko,
            title_en=rule.title_en,
            remedy_ko=rule.remedy_ko,
            remedy_en=rule.remedy_en,
        )
        for rule in rules
        if rule is not None
    )
