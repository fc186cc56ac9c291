"""May these terms be agreed? One flat list of rules, one code per rule: nobody grants what is not theirs to grant.

Asked when terms are offered and again when they are accepted, for the nation may have changed in between. Whether an
agreement in force then allows a job is policy's question; these rules keep out what could never be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from dure.intake.refusals import Refusal, RefusalCode
from dure.model.agreements import ExportClearance, Operation, Terms
from dure.model.datasets import DataClass, Dataset, Purpose
from dure.model.fleet import Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation

PERSONAL_CLASSES = frozenset({DataClass.PERSONAL, DataClass.PSEUDONYMISED, DataClass.MEDICAL})
"""What the Personal Information Protection Act (Korea) calls personal: pseudonymised data still is (Art. 2(1))."""

PSEUDONYMISED_PURPOSES = frozenset({Purpose.STATISTICS, Purpose.RESEARCH, Purpose.PUBLIC_INTEREST})
"""What pseudonymised data may be used for without consent (Personal Information Protection Act, Korea, Art. 28-2)."""

KOREAN: dict[RefusalCode, str] = {
    RefusalCode.AGREEMENT_PARTY_UNKNOWN: "당사자는 이 국가 문서에 등록된 기관이어야 합니다",
    RefusalCode.AGREEMENT_WITH_ITSELF: "기관은 자기 자신과 협약을 맺을 수 없습니다",
    RefusalCode.AGREEMENT_NOT_THE_OWNER: "제공 기관은 모든 데이터셋의 소유 기관이어야 합니다",
    RefusalCode.AGREEMENT_PURPOSE_NOT_HELD: "데이터를 보유한 목적 밖의 목적은 허락할 수 없습니다",
    RefusalCode.AGREEMENT_PURPOSE_FORBIDDEN: "가명정보는 통계, 연구, 공익 목적으로만 쓸 수 있습니다",
    RefusalCode.AGREEMENT_SITE_ABROAD: "국외 사이트는 복사를 허락해야 적을 수 있고, 의료정보는 둘 수 없습니다",
    RefusalCode.AGREEMENT_SITE_UNKNOWN: "협약의 사이트는 등록된 사이트여야 합니다",
    RefusalCode.AGREEMENT_SITE_WITHOUT_COPY: "사본이 없는 사이트는 복사를 허락해야 적을 수 있습니다",
    RefusalCode.AGREEMENT_OPERATIONS_INCOMPLETE: "결과 열람에는 계산을, 반출에는 열람을 함께 허락해야 합니다",
    RefusalCode.AGREEMENT_ALREADY_OVER: "이미 끝난 기간의 협약은 맺을 수 없습니다",
    RefusalCode.AGREEMENT_TRANSFER_WITHOUT_BASIS: "개인정보의 국외 이전에는 법적 근거가 있어야 합니다",
    RefusalCode.AGREEMENT_EXPORT_WITHOUT_CLEARANCE: "국가핵심기술의 수출에는 승인 또는 신고가 있어야 합니다",
}
"""The same rules for those who read Korean; the refusal's own message has the particulars."""


class Proposed(Struct, frozen=True, kw_only=True):
    """Terms with what they are judged by. The rules below read it; nothing changes it."""

    terms: Terms
    nation: Nation
    now_ms: int

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """What they name, as far as it exists."""
        return tuple(each for each in self.nation.datasets if each.name in self.terms.datasets)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where it may be used, as far as there are such sites."""
        return tuple(each for each in self.nation.sites if each.name in self.terms.sites)

    def organisation(self, name: str) -> Organisation | None:
        """A party, if it exists."""
        return next((each for each in self.nation.organisations if each.name == name), None)

    def foreign_to(self, dataset: Dataset) -> Iterator[str]:
        """What lies outside the dataset's jurisdiction: the recipient, its ultimate parent, or a site; in words."""
        home, recipient = dataset.jurisdiction, self.organisation(self.terms.recipient)
        if recipient is not None and recipient.country != home:
            yield f"{recipient.name} is established in {recipient.country}"
        if recipient is not None and recipient.parent_country != home:
            yield f"the parent of {recipient.name} is in {recipient.parent_country}"
        for site in self.sites:
            if site.country != home:
                yield f"the site {site.name} is in {site.country}"


Rule = Callable[[Proposed], Refusal | None]


def refuse_terms(terms: Terms, nation: Nation, now_ms: int) -> Refusal | None:
    """Why these terms cannot be agreed; None when they can."""
    proposed = Proposed(terms=terms, nation=nation, now_ms=now_ms)
    return next((refusal for rule in RULES if (refusal := rule(proposed)) is not None), None)


def crosses_a_border(terms: Terms, nation: Nation) -> bool:
    """True when data that is not public, or results of it, could leave its jurisdiction: two people must approve it."""
    proposed = Proposed(terms=terms, nation=nation, now_ms=0)
    return any(any(proposed.foreign_to(each)) for each in proposed.datasets if not _is_public(each))


def parties_are_known(proposed: Proposed) -> Refusal | None:
    """Both are organisations of the nation."""
    for field, party in (("provider", proposed.terms.provider), ("recipient", proposed.terms.recipient)):
        if proposed.organisation(party) is None:
            message = f"there is no organisation {party!r}; name one of the nation's"
            return _refusal(RefusalCode.AGREEMENT_PARTY_UNKNOWN, field, message)
    return None


def parties_differ(proposed: Proposed) -> Refusal | None:
    """What is one's own needs no agreement."""
    if proposed.terms.provider != proposed.terms.recipient:
        return None
    message = f"{proposed.terms.provider} cannot agree with itself; its own data it may use without an agreement"
    return _refusal(RefusalCode.AGREEMENT_WITH_ITSELF, "recipient", message)


def provider_owns_the_data(proposed: Proposed) -> Refusal | None:
    """Only an owner grants. Another's dataset is answered like one that does not exist."""
    owned = {each.name for each in proposed.datasets if each.owner == proposed.terms.provider}
    for dataset in proposed.terms.datasets:
        if dataset not in owned:
            message = f"{proposed.terms.provider} owns no dataset {dataset!r}; only the owner of data can offer it"
            return _refusal(RefusalCode.AGREEMENT_NOT_THE_OWNER, "datasets", message)
    return None


def purposes_are_held(proposed: Proposed) -> Refusal | None:
    """Nobody grants a purpose that the data itself is not held for."""
    for dataset in proposed.datasets:
        for purpose in proposed.terms.purposes:
            if purpose not in dataset.purposes:
                held = ", ".join(dataset.purposes)
                message = f"{dataset.name} is not held for {purpose.value}; leave it out, or choose among {held}"
                return _refusal(RefusalCode.AGREEMENT_PURPOSE_NOT_HELD, "purposes", message)
    return None


def pseudonymised_data_keeps_to_its_purposes(proposed: Proposed) -> Refusal | None:
    """Pseudonymised data is for statistics, research and the public interest (PIPA, Korea, Art. 28-2)."""
    wider = [each.value for each in proposed.terms.purposes if each not in PSEUDONYMISED_PURPOSES]
    for dataset in proposed.datasets:
        if wider and DataClass.PSEUDONYMISED in dataset.classes:
            message = f"{dataset.name} is pseudonymised and may not be used for {', '.join(wider)}; leave it out"
            return _refusal(RefusalCode.AGREEMENT_PURPOSE_FORBIDDEN, "purposes", message)
    return None


def sites_are_known(proposed: Proposed) -> Refusal | None:
    """Every site is the nation's."""
    known = {each.name for each in proposed.nation.sites}
    for site in proposed.terms.sites:
        if site not in known:
            message = f"there is no site {site!r}; `dure sites` lists them"
            return _refusal(RefusalCode.AGREEMENT_SITE_UNKNOWN, "sites", message)
    return None


def sites_hold_a_copy(proposed: Proposed) -> Refusal | None:
    """A job moves to the data. A site without a copy is named only where the agreement lets one be made."""
    if Operation.COPY in proposed.terms.operations:
        return None
    for dataset in proposed.datasets:
        for site in proposed.terms.sites:
            if site not in dataset.sites:
                message = f"{site} holds no copy of {dataset.name}; leave it out, or add copy to the operations"
                return _refusal(RefusalCode.AGREEMENT_SITE_WITHOUT_COPY, "sites", message)
    return None


def sites_abroad_may_have_it(proposed: Proposed) -> Refusal | None:
    """Data that is not public is abroad only where it was copied by agreement; medical records never are.

    The Medical Service Act (Korea) keeps electronic medical records in the country.
    """
    copies = Operation.COPY in proposed.terms.operations
    for dataset in proposed.datasets:
        for site in proposed.sites:
            if site.country == dataset.jurisdiction or _is_public(dataset):
                continue
            if DataClass.MEDICAL in dataset.classes:
                message = (
                    f"{dataset.name} is medical data of {dataset.jurisdiction} and stays there; leave {site.name} out"
                )
                return _refusal(RefusalCode.AGREEMENT_SITE_ABROAD, "sites", message)
            if not copies:
                message = f"{site.name} is not in {dataset.jurisdiction}; leave it out, or add copy to the operations"
                return _refusal(RefusalCode.AGREEMENT_SITE_ABROAD, "sites", message)
    return None


def operations_go_together(proposed: Proposed) -> Refusal | None:
    """There are no results without computing, and who takes results away sees them."""
    granted = set(proposed.terms.operations)
    for operation, needed in _NEEDED:
        if operation in granted and needed not in granted:
            message = f"{operation.value} needs {needed.value} as well; add it to the operations"
            return _refusal(RefusalCode.AGREEMENT_OPERATIONS_INCOMPLETE, "operations", message)
    return None


def it_is_not_over(proposed: Proposed) -> Refusal | None:
    """Terms whose end has passed allow nothing."""
    if proposed.terms.until_ms > proposed.now_ms:
        return None
    message = "its end has passed already; write a later `until`"
    return _refusal(RefusalCode.AGREEMENT_ALREADY_OVER, "until", message)


def transfers_of_personal_data_have_a_basis(proposed: Proposed) -> Refusal | None:
    """Personal data goes abroad, or is read from there, on one of five bases only (PIPA, Korea, Art. 28-8(1))."""
    if proposed.terms.transfer_basis is not None:
        return None
    for dataset in proposed.datasets:
        foreign = next(proposed.foreign_to(dataset), "")
        if foreign and not PERSONAL_CLASSES.isdisjoint(dataset.classes):
            message = f"{dataset.name} is personal data and {foreign}; name the transfer_basis that allows this"
            return _refusal(RefusalCode.AGREEMENT_TRANSFER_WITHOUT_BASIS, "transfer_basis", message)
    return None


def exports_of_core_technology_are_cleared(proposed: Proposed) -> Refusal | None:
    """National core technology is exported only as approved or reported (Industrial Technology Protection Act, 11)."""
    for dataset in proposed.datasets:
        foreign = next(proposed.foreign_to(dataset), "")
        if DataClass.NATIONAL_CORE_TECHNOLOGY not in dataset.classes or not foreign:
            continue
        if (missing := _missing_clearance(proposed.terms, dataset)) is not None:
            message = f"{dataset.name} is national core technology and {foreign}; {missing}"
            return _refusal(RefusalCode.AGREEMENT_EXPORT_WITHOUT_CLEARANCE, "clearance", message)
    return None


RULES: tuple[Rule, ...] = (
    parties_are_known,
    parties_differ,
    provider_owns_the_data,
    purposes_are_held,
    pseudonymised_data_keeps_to_its_purposes,
    sites_are_known,
    sites_hold_a_copy,
    sites_abroad_may_have_it,
    operations_go_together,
    it_is_not_over,
    transfers_of_personal_data_have_a_basis,
    exports_of_core_technology_are_cleared,
)
"""In the order in which they are asked."""

_NEEDED = (
    (Operation.VIEW_RESULTS, Operation.COMPUTE),
    (Operation.TAKE_RESULTS, Operation.VIEW_RESULTS),
)


def _missing_clearance(terms: Terms, dataset: Dataset) -> str | None:
    """What is still needed for an export. Made with state money, a report is not enough."""
    if terms.clearance is None:
        return "name the clearance that allows this: approved, or reported where no state money was in it"
    if dataset.state_funded and terms.clearance is not ExportClearance.APPROVED:
        return "it was made with state money, so a report is not enough: an approval is needed"
    if not terms.clearance_reference:
        return "add clearance_reference: the authority's number of it"
    return None


def _is_public(dataset: Dataset) -> bool:
    return set(dataset.classes) == {DataClass.PUBLIC}


def _refusal(code: RefusalCode, field: str, message: str) -> Refusal:
    return Refusal(code=code, field=field, message=f"{message} ({KOREAN[code]})", rules=(code.value,))
