"""What a policy is: a few settings, each of which the kernel (or what the twin declares to it) reads by itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from dure.world.columns import (
    ORDER_FAIR_SHARE,
    ORDER_FIFO,
    ORDER_PRIORITY,
    ORDER_SJF,
    PLACE_BEST_FIT,
    PLACE_FRAGMENTATION,
    PLACE_SLOTS,
)


class Order(IntEnum):
    """Who among the waiting is tried next."""

    SUBMISSION = ORDER_FIFO
    """One strict queue in order of submission: nobody passes the first."""
    SHORTEST_LIMIT = ORDER_SJF
    """One strict queue, shortest time limit first."""
    PRIORITY = ORDER_PRIORITY
    """One queue by age and fair-share factor (`dure.kernel.priority`); guarantees count for nothing."""
    FAIR_SHARE = ORDER_FAIR_SHARE
    """Whoever is within a guarantee, then down the share tree (`dure.kernel.order`)."""


class Lending(Enum):
    """What becomes of the GPUs that a share is guaranteed and does not use."""

    NO_QUOTA = "no quota"
    """Guarantees, limits and lending limits are not declared to the kernel as rules: everything is everybody's."""
    NOTHING = "nothing"
    """Every owner is alone with nodes of its own."""
    BY_TREE = "by the share tree"
    """Siblings borrow it, as far as the lending limits allow."""


class Placement(Enum):
    """Which of the nodes that have room a job gets (`dure.kernel.placing`, `dure.kernel.packing`)."""

    BEST_FIT = "fewest idle GPUs that fit, then lowest in fleet order"
    FRAGMENTATION = "best score of fragmentation gradient descent, then fewest idle GPUs, then lowest in fleet order"
    SLOTS = "fewest lost slots for what is expected, then fewest idle GPUs, then lowest in fleet order"

    @property
    def code(self) -> int:
        """The rule as the columns have it."""
        match self:
            case Placement.BEST_FIT:
                return PLACE_BEST_FIT
            case Placement.FRAGMENTATION:
                return PLACE_FRAGMENTATION
            case Placement.SLOTS:
                return PLACE_SLOTS


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One way to share a fleet. `ties` says how equals are told apart among jobs and among shares."""

    name: str
    order: Order
    lending: Lending
    remembers_usage: bool
    """Whoever used much lately yields to others, though it may use little now."""
    reclaims: bool
    """An owner whose job does not fit takes back what others borrowed."""
    backfills: bool
    """Later jobs may start before the first that does not fit, where they do not delay it (EASY)."""
    placement: Placement
    ties: str
    reservations: int = 1
    """Jobs of each class that do not fit and that nobody behind them may delay; many make backfill conservative."""

    @property
    def tie_rule(self) -> str:
        """How equals are told apart, for reports."""
        return f"nodes: {self.placement.value}; {self.ties}"
