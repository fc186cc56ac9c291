"""How long an owner waits for what it is guaranteed.

A job is *covered* when, as it comes, everything its share has asked for and not finished, this job included, is within
the share's own guarantee of the GPU class the job would like best. The guarantee delay is the time to its first start.
Whatever stands between counts: the protected time of borrowers, the warning, the grace. A job beyond the
guarantee, or behind so much of its own share's work, is not covered: it waits by the rules of borrowing. A job that
accepts several classes is counted as asking for each of them, so the figure is never flattered.
"""

from __future__ import annotations

from dure.world.columns import CHOICE_BITS, CHOICE_MASK, Columns, Integers
from dure.world.compiled import compiled


@compiled
def note_demand(columns: Columns, asked_milli: Integers, covered: Integers, job: int) -> None:
    """A job came: say whether it is covered, and count what it asks for."""
    amount = _wanted_milli(columns, job)
    share = _preferred(columns, job)
    if 0 < amount <= columns.shares[share].guarantee - asked_milli[share]:
        covered[job] = 1
    _count(columns, asked_milli, job, amount)


@compiled
def end_demand(columns: Columns, asked_milli: Integers, job: int) -> None:
    """A job is over: its share asks for so much less."""
    _count(columns, asked_milli, job, -_wanted_milli(columns, job))


@compiled
def _wanted_milli(columns: Columns, job: int) -> int:
    """Thousandths of a GPU a job cannot do without: of an elastic one those of its least nodes, whatever it has now."""
    record = columns.jobs[job]
    return (record.nodes if record.least_nodes == 0 else record.least_nodes) * record.gpus_milli


@compiled
def _preferred(columns: Columns, job: int) -> int:
    """Row of a job's share in the tree of its first choice."""
    record = columns.jobs[job]
    return ((record.choices & CHOICE_MASK) - 1) * columns.counters[0].shares + record.share


@compiled
def _count(columns: Columns, asked_milli: Integers, job: int, amount: int) -> None:
    record = columns.jobs[job]
    choices = record.choices
    while choices != 0:
        gpu_class = (choices & CHOICE_MASK) - 1
        choices >>= CHOICE_BITS
        asked_milli[gpu_class * columns.counters[0].shares + record.share] += amount
