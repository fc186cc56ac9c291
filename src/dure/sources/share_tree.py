"""Share trees for the twin: a nation of owners and organisations, or guarantees for the shares a trace has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from dure.model.organisations import OrganisationKind, Share, ShareAmount
from dure.model.units import WHOLE_GPU_MILLI
from dure.sources.calibration import calibration
from dure.sources.errors import BadWorkload
from dure.sources.fleet import TwinFleet
from dure.sources.streams import uniforms
from dure.sources.trace import Trace

GUESTS = (
    OrganisationKind.STARTUP,
    OrganisationKind.UNIVERSITY,
    OrganisationKind.SME,
    OrganisationKind.STARTUP,
    OrganisationKind.UNIVERSITY,
    OrganisationKind.PARTNER,
    OrganisationKind.SME,
)
"""Who computes beside an owner's own laboratory, again and again in this order."""

MOST_SHARES = 100_000


@dataclass(frozen=True, kw_only=True)
class Member:
    """An organisation that submits jobs, under the share of its name. Weights compare it with the other members."""

    name: str
    owner: str
    kind: OrganisationKind
    activity: float
    """How many of the everyday jobs are its own."""
    guaranteed_gpus: int
    """Whole GPUs over all classes; training of large models goes by this."""


@dataclass(frozen=True, kw_only=True)
class GeneratedNation:
    """A share tree (owners before their organisations) and the members at its leaves."""

    shares: tuple[Share, ...]
    members: tuple[Member, ...]


def generate_nation(seed: int, owners: int, organisations_per_owner: int, fleet: TwinFleet) -> GeneratedNation:
    """Owners with guarantees that add up to at most the fleet, and organisations below them.

    An owner's first organisation is its own laboratory; foreign partners have no guarantee and live on what is idle.
    Raises `BadWorkload` for fewer than one owner or organisation.
    """
    if owners < 1 or organisations_per_owner < 1 or owners * organisations_per_owner > MOST_SHARES:
        raise BadWorkload(
            f"{owners} owners with {organisations_per_owner} organisations each: both must be 1 or more, "
            f"and together not above {MOST_SHARES:,}"
        )
    parts = _owner_parts(owners)
    activity = _activity(seed, owners * organisations_per_owner)
    shares: list[Share] = []
    members: list[Member] = []
    for number in range(owners):
        guarantees = [portions(gpus, parts)[number] for gpus in _gpus_by_class(fleet)]
        owner = "government" if number == 0 else f"enterprise-{number}"
        shares.append(_share(owner, None, fleet.gpu_classes, guarantees))
        kinds = _kinds(number, organisations_per_owner)
        weights = _guarantee_weights(kinds)
        by_class = [portions(guarantee, weights) for guarantee in guarantees]
        for place, kind in enumerate(kinds):
            name = f"{owner}-laboratory" if place == 0 else f"{owner}-{kind.value}-{place:02d}"
            own = [amounts[place] for amounts in by_class]
            shares.append(_share(name, owner, fleet.gpu_classes, own))
            members.append(
                Member(name=name, owner=owner, kind=kind, activity=activity[len(members)], guaranteed_gpus=sum(own))
            )
    return GeneratedNation(shares=tuple(shares), members=tuple(members))


def shares_by_demand(trace: Trace, fleet: TwinFleet) -> tuple[Share, ...]:
    """A flat tree for the shares of a trace: each is guaranteed its part of the trace's GPU time, in every class."""
    demand = np.bincount(trace.share, weights=trace.gpu_milli_ms.astype(np.float64), minlength=len(trace.shares))
    weights = [round(float(each)) for each in demand]
    by_class = [portions(gpus, weights) for gpus in _gpus_by_class(fleet)]
    return tuple(
        _share(name, None, fleet.gpu_classes, [amounts[place] for amounts in by_class])
        for place, name in enumerate(trace.shares)
    )


def portions(total: int, weights: Sequence[int]) -> list[int]:
    """`total` divided by weight and rounded down, so that the parts never add up to more than there is."""
    whole = sum(weights)
    return [total * weight // whole if whole else 0 for weight in weights]


def _gpus_by_class(fleet: TwinFleet) -> list[int]:
    return [fleet.gpus_of_class(index) for index in range(len(fleet.gpu_classes))]


def _owner_parts(owners: int) -> list[int]:
    known = calibration().owners.parts
    return [known[number] if number < len(known) else known[1] for number in range(owners)]


def _activity(seed: int, members: int) -> list[float]:
    """Zipf's law over all members, who are ranked by lot."""
    rank = np.argsort(np.argsort(uniforms(seed, "rank of members", members), kind="stable"), kind="stable")
    exponent = calibration().members.activity_exponent
    return [float(1 + each) ** -exponent for each in rank.tolist()]


def _kinds(owner_number: int, organisations: int) -> list[OrganisationKind]:
    own = OrganisationKind.GOVERNMENT if owner_number == 0 else OrganisationKind.ENTERPRISE
    return [own, *islice(cycle(GUESTS), organisations - 1)]


def _guarantee_weights(kinds: Sequence[OrganisationKind]) -> list[int]:
    """The laboratory's part, and the rest in equal parts for guests other than partners, in thousandths."""
    guests = [0 if kind is OrganisationKind.PARTNER else 1 for kind in kinds[1:]]
    if not any(guests):
        return [1, *guests]
    laboratory = round(calibration().members.laboratory_part * 1000)
    return [laboratory * sum(guests), *((1000 - laboratory) * guest for guest in guests)]


def _share(name: str, parent: str | None, gpu_classes: Sequence[str], guaranteed_gpus: Sequence[int]) -> Share:
    amounts = tuple(
        ShareAmount(gpu_class=gpu_class, guarantee_milli=gpus * WHOLE_GPU_MILLI)
        for gpu_class, gpus in zip(gpu_classes, guaranteed_gpus, strict=True)
    )
    return Share(name=name, parent=parent, amounts=amounts)
