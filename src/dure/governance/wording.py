"""Statuses, kinds, marks and conditions in words, in Korean and English, the same wherever they are shown."""

from __future__ import annotations

from collections.abc import Iterator

from dure.governance.answers import Answer
from dure.governance.assessment import Status
from dure.governance.changes import Reason
from dure.governance.expressions import All, Always, AnyOf, AtLeast, Condition, Is, MoreThan, Named, Not
from dure.governance.packs import Deadline, Fine, Kind, Mark
from dure.governance.vocabulary import Text

NOT_LEGAL_ADVICE = Text(
    ko="법령을 자료로 옮긴 것이며 법률 자문이 아닙니다. 법을 지켰다는 뜻도 아닙니다.",
    en="Law written as data. This is no legal advice, and does not say that any law is complied with.",
)

STATUS = {
    Status.NOT_APPLICABLE: Text(ko="해당 없음", en="not applicable"),
    Status.NO_LONGER_IN_FORCE: Text(ko="효력 종료", en="no longer in force"),
    Status.NOT_YET_IN_FORCE: Text(ko="시행 전", en="not yet in force"),
    Status.FOR_INFORMATION: Text(ko="참고", en="for information"),
    Status.EVIDENCE_HELD: Text(ko="증빙 있음", en="evidence held"),
    Status.EFFORT_OPEN: Text(ko="노력 사항 미확인", en="effort open"),
    Status.NEEDS_FACTS: Text(ko="사실 확인 필요", en="needs facts"),
    Status.MISSING_EVIDENCE: Text(ko="증빙 없음", en="missing evidence"),
    Status.OVERDUE: Text(ko="기한 지남", en="overdue"),
}

KIND = {
    Kind.DUTY: Text(ko="의무", en="duty"),
    Kind.EFFORT: Text(ko="노력 의무", en="effort"),
    Kind.PROHIBITION: Text(ko="금지", en="prohibition"),
    Kind.THRESHOLD: Text(ko="기준", en="threshold"),
    Kind.SCOPE: Text(ko="적용 범위", en="scope"),
    Kind.PENALTY: Text(ko="제재", en="penalty"),
    Kind.OPTION: Text(ko="선택 절차", en="option"),
    Kind.GUIDANCE: Text(ko="지침(법이 아님)", en="guidance, not law"),
}

MARK = {
    Mark.VERIFIED: Text(ko="원문이나 두 출처에서 확인", en="seen in the text or in two sources that agree"),
    Mark.SECONDARY: Text(ko="2차 출처 하나에서만 확인", en="seen in one secondary source only"),
    Mark.MEMORY: Text(ko="기억에 따른 것으로 확인되지 않음", en="from memory, not verified"),
}

ANSWER = {
    Answer.YES: Text(ko="예", en="yes"),
    Answer.NO: Text(ko="아니요", en="no"),
    Answer.UNKNOWN: Text(ko="모름", en="unknown"),
}

REASON = {
    Reason.NOW_APPLIES: Text(ko="이제 적용됩니다", en="it applies now"),
    Reason.NO_LONGER_APPLIES: Text(
        ko="더는 적용되지 않습니다. 맞는지 확인하십시오", en="it no longer applies; confirm it"
    ),
    Reason.NO_LONGER_KNOWN: Text(
        ko="적용되는지 알 수 없게 되었습니다", en="it is not known any more whether it applies"
    ),
    Reason.OPEN: Text(ko="할 일이 있습니다", en="there is something to do"),
    Reason.EVIDENCE_LOST: Text(ko="증빙이 더는 유효하지 않습니다", en="its evidence does not count any more"),
    Reason.OVERDUE: Text(ko="기한이 지났습니다", en="its deadline has passed"),
    Reason.DEADLINE_MOVED: Text(ko="기한이 바뀌었습니다", en="its deadline moved"),
    Reason.TEXT_CHANGED: Text(ko="규칙 묶음의 내용이 바뀌었습니다", en="what the rule pack says of it changed"),
    Reason.WITHDRAWN: Text(ko="규칙 묶음에서 빠졌습니다", en="the rule pack does not have it any more"),
}


def fine_in_words(fine: Fine) -> str:
    """`KRW 30,000,000`, `3% of turnover`, or both, of which the higher counts."""
    parts = [f"{fine.currency} {fine.most:,}"] if fine.most else []
    parts += [f"{fine.turnover_percent}% of turnover"] if fine.turnover_percent else []
    return " or ".join(parts) + (", the higher" if len(parts) > 1 else "") if parts else "not recorded"


def deadline_in_words(deadline: Deadline) -> str:
    """`2 weeks after systemic-threshold-known-on`."""
    once = f", extended once by {deadline.extension.written}" if deadline.extension else ""
    return f"{deadline.within.written} after {deadline.after}{once}"


def condition_in_lines(condition: Condition, depth: int = 0) -> Iterator[str]:
    """The condition as people read it, a part a line, each part indented below what it is part of."""
    indent = "  " * depth
    match condition:
        case Always():
            yield f"{indent}always"
        case All(parts=parts) | AnyOf(parts=parts):
            yield f"{indent}{'all' if isinstance(condition, All) else 'any'} of"
            for part in parts:
                yield from condition_in_lines(part, depth + 1)
        case Not(part=part):
            yield f"{indent}not"
            yield from condition_in_lines(part, depth + 1)
        case Named(name=name, part=part):
            yield f"{indent}{name}, which is"
            yield from condition_in_lines(part, depth + 1)
        case Is(fact=fact, values=values):
            yield f"{indent}{fact} is {' or '.join(values)}"
        case AtLeast(fact=fact, written=written, amount=amount):
            yield f"{indent}{fact} is {written} or {'later' if amount is None else 'more'}"
        case MoreThan(fact=fact, written=written):
            yield f"{indent}{fact} is more than {written}"
