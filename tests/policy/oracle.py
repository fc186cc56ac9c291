"""The shipped rules, said once more by hand in Python, and random questions to hold Cedar to it.

It shares no code with the rules: facts are read from the nouns, and not from the entities that Cedar is given.
`python -m tests.policy.oracle 100000` asks that many questions and prints how the two differ.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from dure.model.agreements import Agreement, AgreementState, ExportClearance, Operation, Terms, TransferBasis
from dure.model.datasets import AssuranceNeed, DataClass, DataClassDefinition, Dataset, Purpose
from dure.model.fleet import Assurance, AssuranceScheme, Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind
from dure.model.stop_orders import StopOrder
from dure.policy import UNKNOWN_FACT, Action, PolicyInForce, PolicySet, Question

QUESTIONS_PER_NATION = 64
NOW_MS = 100


class Circumstances(NamedTuple):
    """All that decides, as of one moment."""

    nation: Nation
    agreements: tuple[Agreement, ...]
    stop_orders: tuple[StopOrder, ...]
    at_ms: int


class Verdict(NamedTuple):
    """Whether it is allowed, by the names of which rules, and on which agreement."""

    allowed: bool
    rules: tuple[str, ...]
    agreement: str = ""


def judge(known: Circumstances, asked: Question) -> Verdict:
    """What the law, the nation and the agreements say."""
    reader = next((each for each in known.nation.organisations if each.name == asked.organisation), None)
    site = next((each for each in known.nation.sites if each.name == asked.site), None)
    if reader is None or site is None:
        return Verdict(False, (UNKNOWN_FACT,))
    data = next((each for each in known.nation.datasets if each.name == asked.dataset), None)
    if asked.dataset is None and asked.action is Action.RUN:
        return Verdict(True, ("members-may-run",))
    if data is None or not data.classes or not _all_classes(known.nation).issuperset(data.classes):
        return Verdict(False, (UNKNOWN_FACT,))
    if asked.action is Action.RUN:
        return Verdict(True, ("members-may-run",))
    verdict = _with_agreement(known, asked, reader, site, data, None)
    for agreement in _usable(known, reader, data):
        if verdict.allowed:
            break
        tried = _with_agreement(known, asked, reader, site, data, agreement)
        fewer = len(tried.rules) < len(verdict.rules)
        first_as_good = len(tried.rules) == len(verdict.rules) and not verdict.agreement
        if tried.allowed or fewer or first_as_good:
            verdict = tried
    return verdict


def _usable(known: Circumstances, reader: Organisation, data: Dataset) -> list[Agreement]:
    """Agreements of this reader about this data that count now, by number; if none does, the last that ever did."""
    made = [
        each
        for each in known.agreements
        if each.terms.recipient == reader.name
        and data.name in each.terms.datasets
        and each.state in (AgreementState.AGREED, AgreementState.ENDED)
    ]
    made.sort(key=lambda each: int(each.id[1:]))
    return [each for each in made if _counts(each, known.at_ms)] or made[-1:]


def _counts(agreement: Agreement, at_ms: int) -> bool:
    if agreement.state != AgreementState.AGREED or (agreement.needs_approval and not agreement.approved):
        return False
    return at_ms >= agreement.terms.from_ms and at_ms < agreement.terms.until_ms


def _with_agreement(
    known: Circumstances,
    asked: Question,
    reader: Organisation,
    site: Site,
    data: Dataset,
    agreement: Agreement | None,
) -> Verdict:
    forbidding = sorted(_forbidding(known, asked, reader, site, data, agreement))
    return Verdict(not forbidding, tuple(forbidding) or ("members-may-read",), agreement.id if agreement else "")


def _forbidding(
    known: Circumstances,
    asked: Question,
    reader: Organisation,
    site: Site,
    data: Dataset,
    agreement: Agreement | None,
) -> Iterator[str]:
    home = data.jurisdiction
    site_abroad = site.country != home
    owner_reads = reader.name == data.owner
    established_abroad = reader.country != home
    foreign = established_abroad or reader.parent_country != home
    terms = agreement.terms if agreement else None
    # Where the data may be.
    if site.name not in data.sites:
        yield "data-stays-at-its-sites"
    copy_agreed = terms is not None and Operation.COPY in terms.operations
    if site_abroad and set(data.classes) != {"public"} and not copy_agreed:
        yield "residency"
    if site_abroad and "medical" in data.classes:
        yield "medical-data-stays-home"
    if not all(_is_assured(known, site, need) for need in data.assurance):
        yield "site-assurance"
    # Who may read it, for what, and when.
    if asked.purpose not in data.purposes:
        yield "purpose-limitation"
    if not owner_reads and agreement is None and "*" not in data.readers and reader.name not in data.readers:
        yield "reader-must-be-named"
    if foreign and not owner_reads and agreement is None and _is_restricted(known.nation, data):
        yield "foreign-reader"
    if known.at_ms < data.embargo_until_ms and not owner_reads:
        yield "embargo"
    if any(_is_stopped(order, reader, site, data) for order in known.stop_orders):
        yield "stop-order"
    # What the law asks of a transfer abroad.
    about_people = not {"personal", "pseudonymised", "medical"}.isdisjoint(data.classes)
    is_transfer = site_abroad or (established_abroad and not owner_reads)
    if about_people and is_transfer and (terms is None or terms.transfer_basis is None):
        yield "personal-data-transfer"
    if "pseudonymised" in data.classes and asked.purpose in (Purpose.COMMERCIAL, Purpose.EDUCATION):
        yield "pseudonymised-purposes"
    is_export = site_abroad or (foreign and not owner_reads)
    if "national-core-technology" in data.classes and is_export:
        clearance = terms.clearance if terms else None
        if data.state_funded and clearance is not ExportClearance.APPROVED:
            yield "national-core-technology-approval"
        if not data.state_funded and clearance is None:
            yield "national-core-technology"
    if agreement is not None:
        yield from _faults(agreement, asked, data, known.at_ms)


def _faults(agreement: Agreement, asked: Question, data: Dataset, at_ms: int) -> Iterator[str]:
    terms = agreement.terms
    if not _counts(agreement, at_ms):
        yield "agreement-in-force"
    if (terms.provider, terms.recipient) != (data.owner, asked.organisation) or data.name not in terms.datasets:
        yield "agreement-parties"
    if asked.purpose not in terms.purposes:
        yield "agreement-purpose"
    if asked.site not in terms.sites:
        yield "agreement-site"
    if Operation.COMPUTE not in terms.operations:
        yield "agreement-operation"


def _is_assured(known: Circumstances, site: Site, need: AssuranceNeed) -> bool:
    """Some certificate of the site, valid now, has the grade needed or a later one in the scheme's list."""
    for scheme in known.nation.assurance_schemes:
        if scheme.name != need.scheme or need.grade not in scheme.grades:
            continue
        enough = scheme.grades[scheme.grades.index(need.grade) :]
        for held in site.assurances:
            has_begun = held.valid_from_ms <= known.at_ms
            has_ended = held.valid_to_ms != 0 and held.valid_to_ms <= known.at_ms
            if held.scheme == need.scheme and held.grade in enough and has_begun and not has_ended:
                return True
    return False


def _is_stopped(order: StopOrder, reader: Organisation, site: Site, data: Dataset) -> bool:
    if order.recipient and order.recipient != reader.name:
        return False
    if order.dataset and order.dataset != data.name:
        return False
    return not order.country or order.country in (reader.country, reader.parent_country, site.country)


def _all_classes(nation: Nation) -> set[str]:
    return {"public", "personal", "pseudonymised", "medical", "national-core-technology"} | {
        each.name for each in nation.data_classes
    }


def _is_restricted(nation: Nation, data: Dataset) -> bool:
    by_law = {"personal", "pseudonymised", "medical", "national-core-technology"}
    return bool((by_law | {each.name for each in nation.data_classes if each.restricted}) & set(data.classes))


COUNTRIES = ("KR", "KR", "KR", "US", "NO")
NAMES = ("a", "b", "c", "d")
SITES = ("x", "y", 'quote"\n\\')
DATA = ("books", "scans", "fab")
CLASSES = (*(each.value for each in DataClass), "grid", "weather")
SCHEMES = (AssuranceScheme(name="csap", grades=("low", "medium", "high")), AssuranceScheme(name="iso", grades=("yes",)))


def random_circumstances(dice: Random) -> Circumstances:
    """A small nation with agreements and orders, in which a fair part of all questions is allowed."""
    nation = Nation(
        organisations=tuple(
            Organisation(
                name=name,
                kind=dice.choice(list(OrganisationKind)),
                country=dice.choice(COUNTRIES),
                parent_country=dice.choice(COUNTRIES),
                projects=(),
            )
            for name in NAMES
        ),
        sites=tuple(
            Site(name=name, country=dice.choice(COUNTRIES), owner="a", nodes=(), assurances=_assurances(dice))
            for name in SITES
        ),
        datasets=tuple(_dataset(dice, name) for name in DATA),
        data_classes=(
            DataClassDefinition(name="grid", restricted=True),
            DataClassDefinition(name="weather", restricted=False),
        ),
        assurance_schemes=SCHEMES[: dice.choice((1, 2, 2))],
    )
    agreements = tuple(_agreement(dice, nation, f"a{number}") for number in range(1, dice.randrange(16)))
    orders = tuple(_stop_order(dice, f"s{number}") for number in range(dice.choice((0, 0, 0, 1, 2))))
    return Circumstances(nation, agreements, orders, NOW_MS)


def _moments(dice: Random) -> tuple[int, int]:
    return dice.choice((0, 0, 0, 50, NOW_MS, NOW_MS + 1)), dice.choice((0, NOW_MS, NOW_MS + 1, 900, 900))


def _assurances(dice: Random) -> tuple[Assurance, ...]:
    held = []
    for scheme in dice.sample(SCHEMES, dice.randrange(3)):
        valid_from_ms, valid_to_ms = _moments(dice)
        grade = dice.choice((*scheme.grades, "unheard-of"))
        held.append(Assurance(scheme=scheme.name, grade=grade, valid_from_ms=valid_from_ms, valid_to_ms=valid_to_ms))
    return tuple(held)


def _dataset(dice: Random, name: str) -> Dataset:
    classes = dice.sample(CLASSES, dice.choice((1, 1, 1, 2))) if dice.random() < 0.95 else ["undeclared"]
    needs = [("csap", "low"), ("csap", "medium"), ("iso", "yes"), ("soc", "any"), ("csap", "none")]
    return Dataset(
        name=name,
        owner=dice.choice(NAMES),
        classes=tuple(classes),
        jurisdiction=dice.choice(COUNTRIES),
        purposes=tuple(dice.sample(list(Purpose), dice.choice((2, 4, 5, 5)))),
        sites=tuple(dice.sample(SITES, dice.choice((1, 2, 3, 3)))),
        readers=tuple(dice.sample((*NAMES, "*"), dice.choice((0, 1, 2)))),
        state_funded=dice.random() < 0.4,
        embargo_until_ms=dice.choice((0, 0, 0, 0, 50, NOW_MS, NOW_MS + 1)),
        assurance=tuple(
            AssuranceNeed(scheme=scheme, grade=grade)
            for scheme, grade in dice.sample(needs, dice.choice((0, 0, 0, 1, 2)))
        ),
    )


def _agreement(dice: Random, nation: Nation, name: str) -> Agreement:
    data = dice.sample(nation.datasets, dice.choice((1, 2, 3)))
    terms = Terms(
        provider=data[0].owner if dice.random() < 0.9 else dice.choice(NAMES),
        recipient=dice.choice(NAMES),
        datasets=tuple(each.name for each in data),
        purposes=tuple(dice.sample(list(Purpose), dice.choice((2, 4, 5)))),
        operations=tuple(dice.sample(list(Operation), dice.choice((1, 2, 3, 4)))),
        sites=tuple(dice.sample(SITES, dice.choice((1, 2, 3)))),
        from_ms=dice.choice((0, 0, 0, NOW_MS, NOW_MS + 1)),
        until_ms=dice.choice((NOW_MS, NOW_MS + 1, 900, 900, 900)),
        transfer_basis=dice.choice((None, *TransferBasis)),
        clearance=dice.choice((None, *ExportClearance)),
    )
    return Agreement(
        id=name,
        terms=terms,
        state=dice.choice((AgreementState.AGREED,) * 6 + tuple(AgreementState)),
        offered_by=terms.provider,
        needs_approval=dice.random() < 0.3,
        approved=dice.random() < 0.7,
    )


def _stop_order(dice: Random, name: str) -> StopOrder:
    return StopOrder(
        id=name,
        within_ms=1,
        reason="",
        recipient=dice.choice(("", *NAMES)),
        country=dice.choice(("", "", "US", "NO")),
        dataset=dice.choice(("", *DATA)),
    )


def random_question(dice: Random) -> Question:
    """Mostly about what there is."""
    return Question(
        organisation=dice.choice(NAMES * 8 + ("stranger",)),
        action=dice.choice((Action.READ,) * 9 + (Action.RUN,)),
        purpose=dice.choice(list(Purpose)),
        site=dice.choice(SITES * 8 + ("nowhere",)),
        dataset=dice.choice((*DATA * 8, "unheard-of", None)),
    )


class Tally(NamedTuple):
    """What became of the questions."""

    asked: int
    allowed: int
    on_agreement: int
    decisive: Counter[str]
    """How often a rule stood alone in the way."""
    differences: list[str]


def compare(policy_set: PolicySet, questions: int, seed: int = 0) -> Tally:
    """Ask Cedar and the oracle the same random questions."""
    dice = Random(f"oracle {seed}")
    decisive: Counter[str] = Counter()
    differences: list[str] = []
    asked = allowed = on_agreement = 0
    while asked < questions:
        known = random_circumstances(dice)
        policy = PolicyInForce(policy_set, *known)
        batch = [random_question(dice) for _ in range(min(QUESTIONS_PER_NATION, questions - asked))]
        asked += len(batch)
        for question, decision in zip(batch, policy.decide_all(batch), strict=True):
            expected = judge(known, question)
            if Verdict(decision.allowed, decision.rules, decision.agreement) != expected:
                differences.append(f"{question}: {decision} but the oracle says {expected}; {known}")
            allowed += expected.allowed
            on_agreement += expected.allowed and bool(expected.agreement)
            if not expected.allowed and len(expected.rules) == 1:
                decisive[expected.rules[0]] += 1
    return Tally(asked, allowed, on_agreement, decisive, differences)


def main(arguments: Sequence[str]) -> int:
    """Compare as many as asked for, and print the tally."""
    from dure.bootstrap.rules import make_policy_set

    tally = compare(make_policy_set(), int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0)
    print(f"{tally.asked:,} questions, {tally.allowed:,} allowed, {tally.on_agreement:,} of them on an agreement")
    for rule, count in sorted(tally.decisive.items()):
        print(f"  {count:>7,} denied by {rule} alone")
    print(f"{len(tally.differences):,} differences")
    for each in tally.differences[:5]:
        print(f"  {each}")
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
