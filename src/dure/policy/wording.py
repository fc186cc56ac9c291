"""What would make it allowed, said in Korean and in English."""

from __future__ import annotations

from collections.abc import Sequence

from dure.model.agreements import ExportClearance
from dure.model.datasets import Wording
from dure.model.dates import format_moment
from dure.policy.remedies import AgreementNeeded, Remedy

_CLEARANCES = {
    ExportClearance.APPROVED: Wording(ko="수출 승인 명시", en="says that its export was approved"),
    ExportClearance.REPORTED: Wording(ko="수출 신고나 승인 명시", en="says that its export was reported or approved"),
}


def remedy_said(remedy: Remedy) -> Wording | None:
    """The remedy as a sentence without a full stop; None when there is nothing to say."""
    said = [*_copies(remedy), *_purposes(remedy), *_conditions(remedy)]
    if not said:
        return None
    return Wording(ko="; ".join(each.ko for each in said), en="; or ".join(each.en for each in said))


def _copies(remedy: Remedy) -> list[Wording]:
    if not remedy.copies:
        return []
    lie = "; ".join(f"{dataset}: {', '.join(sites) or '-'}" for dataset, sites in remedy.copies)
    ko = f"모든 데이터의 사본을 함께 가진 사이트가 없다 ({lie})"
    return [Wording(ko=ko, en=f"no site holds a copy of all the data ({lie})")]


def _purposes(remedy: Remedy) -> list[Wording]:
    if not remedy.purposes:
        return []
    purposes = [each.value for each in remedy.purposes]
    ko = f"다음 목적이라면 허용된다: {', '.join(purposes)}"
    return [Wording(ko=ko, en=f"it would be allowed for the purpose {_either(purposes)}")]


def _conditions(remedy: Remedy) -> list[Wording]:
    conditions = [
        *(_agreement(each) for each in remedy.agreements),
        *(
            Wording(ko=f"중지 명령 {each} 해제", en=f"once the stop order {each} is lifted")
            for each in remedy.stop_orders
        ),
        *(Wording(ko=f"사이트의 {each} 인증", en=f"once the site is assured as {each}") for each in remedy.assurances),
    ]
    if remedy.from_ms:
        moment = format_moment(remedy.from_ms)
        conditions.append(Wording(ko=f"{moment} 이후", en=f"from {moment}"))
    if not conditions or remedy.purpose is None:
        return []
    sites, purpose = list(remedy.sites), remedy.purpose.value
    ko = f"다음이 갖추어지면 {', '.join(sites)}에서 {purpose} 목적으로 허용된다: "
    en = f"it would be allowed at {_either(sites)} for {purpose}, "
    return [
        Wording(
            ko=ko + ", ".join(each.ko for each in conditions),
            en=en + ", and ".join(each.en for each in conditions),
        )
    ]


def _agreement(needed: AgreementNeeded) -> Wording:
    parts = [Wording(ko="이전 근거 명시", en="states a basis of the transfer")] if needed.transfer_basis else []
    parts += [_CLEARANCES[needed.clearance]] if needed.clearance else []
    parts += [Wording(ko="사본을 두는 것 허용", en="lets a copy be there")] if needed.copy else []
    ko = f"{needed.dataset}에 관해 {needed.provider} 기관과 맺은 협약"
    en = f"on an agreement with {needed.provider} about {needed.dataset}"
    if not parts:
        return Wording(ko=ko, en=en)
    return Wording(
        ko=f"{ko}({', '.join(each.ko for each in parts)})", en=f"{en} that {' and '.join(each.en for each in parts)}"
    )


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
