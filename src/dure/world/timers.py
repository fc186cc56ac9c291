"""A heap of (due time, row): the time limits and warnings of the world, and in the twin the ends of attempts.

Rows know their slot, so a timer can be moved or taken away. Ties go to the lower row.
"""

from __future__ import annotations

from dure.world.columns import NONE, Integers
from dure.world.compiled import compiled


@compiled
def _earlier(due: int, row: int, other_due: int, other_row: int) -> bool:
    return due < other_due or (due == other_due and row < other_row)


@compiled
def _rise(due_ms: Integers, rows: Integers, slots: Integers, slot: int, due: int, row: int) -> None:
    while slot > 0:
        up = (slot - 1) >> 2
        if not _earlier(due, row, due_ms[up], rows[up]):
            break
        due_ms[slot] = due_ms[up]
        rows[slot] = rows[up]
        slots[rows[slot]] = slot
        slot = up
    due_ms[slot] = due
    rows[slot] = row
    slots[row] = slot


@compiled
def _sink(due_ms: Integers, rows: Integers, slots: Integers, size: int, slot: int, due: int, row: int) -> None:
    while True:
        first = 4 * slot + 1
        if first >= size:
            break
        best = first
        for child in range(first + 1, min(first + 4, size)):
            if _earlier(due_ms[child], rows[child], due_ms[best], rows[best]):
                best = child
        if not _earlier(due_ms[best], rows[best], due, row):
            break
        due_ms[slot] = due_ms[best]
        rows[slot] = rows[best]
        slots[rows[slot]] = slot
        slot = best
    due_ms[slot] = due
    rows[slot] = row
    slots[row] = slot


@compiled
def add_timer(due_ms: Integers, rows: Integers, slots: Integers, size: int, row: int, due: int) -> int:
    """Set a row's timer, new or not; returns the new size."""
    slot = slots[row]
    if slot == NONE:
        _rise(due_ms, rows, slots, size, due, row)
        return size + 1
    if due < due_ms[slot]:
        _rise(due_ms, rows, slots, slot, due, row)
    else:
        _sink(due_ms, rows, slots, size, slot, due, row)
    return size


@compiled
def drop_timer(due_ms: Integers, rows: Integers, slots: Integers, size: int, row: int) -> int:
    """Take a row's timer away, if it has one; returns the new size."""
    slot = slots[row]
    if slot == NONE:
        return size
    slots[row] = NONE
    size -= 1
    if slot < size:
        due = due_ms[size]
        moved = rows[size]
        if slot > 0 and _earlier(due, moved, due_ms[(slot - 1) >> 2], rows[(slot - 1) >> 2]):
            _rise(due_ms, rows, slots, slot, due, moved)
        else:
            _sink(due_ms, rows, slots, size, slot, due, moved)
    return size
