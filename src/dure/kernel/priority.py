"""Priority as batch schedulers reckon it: how long a job has waited, and how much its share used of what it is due.

Both factors lie between 0 and `ONE`. A job's age grows for a week and then no more. The fair-share factor is 2 ** -x,
where x is the share's GPU time lately for each guaranteed GPU, divided by that of the whole fleet: a half for whoever
used just its part, one for whoever used nothing. It weighs ten times as much as age. (The form and the weights are
those of the example in Slurm's documentation of its multifactor plugin; between whole x the curve is a straight line.)
"""

from __future__ import annotations

from dure.world.columns import WHOLE, Columns
from dure.world.compiled import compiled
from dure.world.quota import remember

ONE = 65_536
OLDEST_MS = 7 * 24 * 3_600_000
AGE_WEIGHT = 1
FAIR_SHARE_WEIGHT = 10
_LARGEST_EXPONENT = 32


@compiled
def priority(columns: Columns, share: int, job: int, now_ms: int) -> int:
    """The priority of a share's waiting job; higher goes first."""
    waited_ms = min(OLDEST_MS, now_ms - columns.jobs[job].submitted_ms)
    return AGE_WEIGHT * (waited_ms * ONE // OLDEST_MS) + FAIR_SHARE_WEIGHT * _fair_share_factor(columns, share, now_ms)


@compiled
def _fair_share_factor(columns: Columns, share: int, now_ms: int) -> int:
    root = columns.classes[share // columns.counters[0].shares].root
    own = _used_per_gpu(columns, share, now_ms)
    everyone = max(1, _used_per_gpu(columns, root, now_ms))
    whole = own // everyone
    if whole >= _LARGEST_EXPONENT:
        return 0
    return (2 * ONE - own % everyone * ONE // everyone) >> (whole + 1)


@compiled
def _used_per_gpu(columns: Columns, share: int, now_ms: int) -> int:
    """Usage with memory for each GPU of the guarantee; a share without any counts as one of a single GPU."""
    record = columns.shares[share]
    if record.usage_at_ms != now_ms:
        remember(columns, share, now_ms)
    return record.usage // max(WHOLE, record.guarantee)
