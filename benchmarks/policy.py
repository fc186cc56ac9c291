"""How fast questions about data are decided, over a nation with as much to know as it will have.

3,000 datasets, 300 organisations, 60 sites and 100 agreements in force. No question is asked twice, so that remembered
answers do not help; of the facts, only those that a question needs are handed to Cedar. Each dataset has been read once
before, which stays so until the nation changes. Processor time is counted, and the median taken of pieces of the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from statistics import median
from typing import TypeVar

from benchmarks.measurement import Measurement
from dure.bootstrap import make_policy_set
from dure.model.agreements import Agreement, AgreementState, ExportClearance, Operation, Terms, TransferBasis
from dure.model.datasets import AssuranceNeed, DataClass, Dataset, Purpose
from dure.model.fleet import Assurance, AssuranceScheme, Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind
from dure.model.stop_orders import StopOrder
from dure.policy import Action, PolicyInForce, Question

Asked = TypeVar("Asked")

ORGANISATIONS, SITES, DATASETS, AGREEMENTS = 300, 60, 3_000, 100
QUESTIONS = 20_000
JOBS = 5_000
REFUSALS = 200
PIECES = 20
NOW_MS = 1_000
SCHEME = AssuranceScheme(name="csap", grades=("low", "medium", "high"))


def measure() -> Sequence[Measurement]:
    """Single questions, jobs, and refusals with what would help."""
    dice = Random("policy")
    nation = _nation(dice)
    agreements = [_agreement(dice, nation, number) for number in range(AGREEMENTS)]
    orders = [StopOrder(id="s1", within_ms=1, reason="", recipient="o7", country="US")]
    policy_set = make_policy_set()

    def policy() -> PolicyInForce:
        return PolicyInForce(policy_set, nation, agreements, orders, NOW_MS)

    questions = list({_question(dice): None for _ in range(QUESTIONS + QUESTIONS // 10)})[:QUESTIONS]
    asked = {(each.organisation, each.purpose, each.dataset or ""): None for each in questions}
    jobs = list(asked)[:JOBS]
    single, of_jobs, refused = policy(), policy(), policy()
    for each in (single, of_jobs, refused):
        each.decide_all([_about(number) for number in range(DATASETS)])
    size = f"{DATASETS:,} datasets, {ORGANISATIONS} organisations, {SITES} sites, {AGREEMENTS} agreements"
    return [
        Measurement(
            "policy decisions per core, one question at a time",
            _per_second(questions, single.decide),
            "1/s",
            must=4_000,
            aim=None,
            better="more",
            compared_to=size,
        ),
        Measurement(
            "jobs per core that are asked about at every site that holds their data",
            _per_second(jobs, lambda job: of_jobs.permitted_sites(job[0], job[1], (job[2],))),
            "1/s",
            must=None,
            aim=None,
            better="more",
            compared_to="3 sites hold each dataset: 6 decisions and more",
        ),
        Measurement(
            "refusals per core with what would make them allowed",
            _per_second(jobs[:REFUSALS], lambda job: refused.remedy(job[0], job[1], (job[2],))),
            "1/s",
            must=None,
            aim=None,
            better="more",
            compared_to="each tries up to a dozen changes of the facts",
        ),
    ]


def _per_second(asked: Sequence[Asked], ask: Callable[[Asked], object]) -> float:
    """The median rate of pieces of the work, by processor time."""
    piece = len(asked) // PIECES
    rates = []
    for start in range(0, piece * PIECES, piece):
        began = time.process_time()
        for each in asked[start : start + piece]:
            ask(each)
        rates.append(piece / (time.process_time() - began))
    return median(rates)


def _nation(dice: Random) -> Nation:
    organisations = tuple(
        Organisation(
            name=f"o{number}",
            kind=OrganisationKind.SME,
            country=dice.choice(("KR", "KR", "KR", "US")),
            parent_country=dice.choice(("KR", "KR", "KR", "US")),
            projects=(),
        )
        for number in range(ORGANISATIONS)
    )
    assured = (Assurance(scheme="csap", grade="medium"),)
    sites = tuple(
        Site(name=f"s{number}", country=dice.choice(("KR", "KR", "NO")), owner="o0", nodes=(), assurances=assured)
        for number in range(SITES)
    )
    return Nation(
        organisations=organisations,
        sites=sites,
        datasets=tuple(_dataset(dice, number) for number in range(DATASETS)),
        assurance_schemes=(SCHEME,),
    )


def _dataset(dice: Random, number: int) -> Dataset:
    grade = dice.choice(SCHEME.grades)
    return Dataset(
        name=f"d{number}",
        owner=f"o{dice.randrange(ORGANISATIONS)}",
        classes=(dice.choice(list(DataClass)).value,),
        jurisdiction="KR",
        purposes=tuple(dice.sample(list(Purpose), 3)),
        sites=tuple(f"s{site}" for site in dice.sample(range(SITES), 3)),
        readers=tuple(f"o{reader}" for reader in dice.sample(range(ORGANISATIONS), 3)),
        assurance=(AssuranceNeed(scheme="csap", grade=grade),) if dice.random() < 0.3 else (),
    )


def _agreement(dice: Random, nation: Nation, number: int) -> Agreement:
    data = dice.choice(nation.datasets)
    terms = Terms(
        provider=data.owner,
        recipient=f"o{dice.randrange(ORGANISATIONS)}",
        datasets=(data.name,),
        purposes=data.purposes,
        operations=(Operation.COMPUTE, Operation.VIEW_RESULTS),
        sites=data.sites,
        from_ms=0,
        until_ms=NOW_MS * 2,
        transfer_basis=TransferBasis.CONTRACT,
        clearance=ExportClearance.APPROVED,
    )
    return Agreement(id=f"a{number}", terms=terms, state=AgreementState.AGREED, offered_by=data.owner)


def _about(number: int) -> Question:
    """A question for which Cedar reads the dataset of this number."""
    return Question(organisation="o0", action=Action.READ, purpose=Purpose.RESEARCH, site="s0", dataset=f"d{number}")


def _question(dice: Random) -> Question:
    return Question(
        organisation=f"o{dice.randrange(ORGANISATIONS)}",
        action=Action.READ,
        purpose=dice.choice(list(Purpose)),
        site=f"s{dice.randrange(SITES)}",
        dataset=f"d{dice.randrange(DATASETS)}",
    )
