"""From whom a share may take GPUs back: a walk over the shares that borrow, seen from the one that claims.

On the way from the claimant to the root, at each level where its side stays within its guarantee, the siblings that use
more than theirs are visited, and below them the shares that do, too: exactly the holders that `quota.may_reclaim`
allows. Siblings are visited in the order of the document, beginning with the one that exceeds its guarantee most.
"""

from __future__ import annotations

from dure.world.columns import NONE, Records
from dure.world.compiled import compiled


@compiled
def next_side(shares: Records, side: int, amount: int) -> int:
    """The claimant's own side at the next level, from `side` on upwards, where `amount` is within its guarantee."""
    at = side
    while shares[at].parent != NONE:
        if shares[at].used + amount <= shares[at].guarantee and _largest(shares, shares[at].parent, at) != NONE:
            return at
        at = shares[at].parent
    return NONE


@compiled
def first_borrower(shares: Records, side: int) -> int:
    """The first share to visit at the level of the claimant's side: the largest borrower among its siblings."""
    return _largest(shares, shares[side].parent, side)


@compiled
def next_borrower(shares: Records, side: int, at: int) -> int:
    """The share to visit after `at`: below it, then beside it, then beside those above it; NONE after the last."""
    below = _largest(shares, at, NONE)
    if below != NONE:
        return below
    top = shares[side].parent
    while True:
        beside = _next_beside(shares, at, _largest(shares, shares[at].parent, side), side)
        if beside != NONE:
            return beside
        at = shares[at].parent
        if at == top:
            return NONE


@compiled
def _borrows(shares: Records, share: int) -> bool:
    return shares[share].used > shares[share].guarantee


@compiled
def _largest(shares: Records, parent: int, apart: int) -> int:
    """The child that exceeds its guarantee most, `apart` left out; NONE if none does."""
    best = NONE
    child = shares[parent].first_child
    while child != NONE:
        if child != apart and _borrows(shares, child):
            excess = shares[child].used - shares[child].guarantee
            if best == NONE or excess > shares[best].used - shares[best].guarantee:
                best = child
        child = shares[child].next_sibling
    return best


@compiled
def _next_beside(shares: Records, at: int, first: int, apart: int) -> int:
    """The next sibling that borrows, going round until `first` would come again."""
    parent = shares[at].parent
    while True:
        at = shares[at].next_sibling
        if at == NONE:
            at = shares[parent].first_child
        if at == first:
            return NONE
        if at != apart and _borrows(shares, at):
            return at
