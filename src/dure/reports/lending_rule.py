"""Who lends to whom at one instant: the rule of the lender's ledger, for the siblings of one level of the share tree.

What a share holds above its guarantee it borrows. What siblings borrow comes first from what is undivided (their
parent's, and guaranteed to none of them), then from the idle guarantees of those that lend, up to their lending limits.
Both sides take part in proportion to what they have, in whole thousandths of a GPU; what rounding leaves goes by the
order of the document. What no sibling can cover their parent borrows in turn, one level up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def divide(amount: int, parts: Integers) -> Integers:
    """`amount`, at most the sum of `parts`, divided in proportion to them; what rounding leaves goes to the first."""
    total = int(parts.sum())
    if amount == 0 or total == 0:
        return np.zeros_like(parts)
    divided: Integers = amount * parts // total
    left = amount - int(divided.sum())
    # Where something was rounded down there is room for one more, and fewer thousandths are left than such parts.
    divided[np.flatnonzero(divided < parts)[:left]] += 1
    return divided


def lent_between(held: Integers, guarantee: Integers, lend: Integers, undivided: int) -> Integers:
    """Thousandths of a GPU that each sibling (column) has from what is undivided (row 0) and from each sibling.

    `held` is what each sibling and everyone below it holds, `lend` the most it lends. The sum is what
    siblings borrow, as far as this level can cover it.
    """
    borrowed = np.maximum(held - guarantee, 0)
    lendable = np.maximum(np.minimum(guarantee - held, lend), 0)
    undivided_used = min(int(borrowed.sum()), undivided)
    from_lenders = min(int(borrowed.sum()) - undivided_used, int(lendable.sum()))
    given = np.concatenate((np.array([undivided_used]), divide(from_lenders, lendable)))
    return _pairs(given, divide(undivided_used + from_lenders, borrowed))


def _pairs(given: Integers, taken: Integers) -> Integers:
    """Whole numbers near `given[i] x taken[j] / total` whose rows add up to `given` and whose columns to `taken`."""
    total = int(given.sum())
    pairs: Integers = np.outer(given, taken) // max(1, total)
    _settle(pairs, (given - pairs.sum(axis=1)).tolist(), (taken - pairs.sum(axis=0)).tolist())
    return pairs


def _settle(pairs: Any, rows: list[int], columns: list[int]) -> None:
    """Hand out what rounding left, first row and first column first."""
    row = column = 0
    while row < len(rows) and column < len(columns):
        amount = min(rows[row], columns[column])
        pairs[row, column] += amount
        rows[row] -= amount
        columns[column] -= amount
        if rows[row] == 0:
            row += 1
        else:
            column += 1
