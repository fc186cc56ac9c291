"""The share tree's arithmetic: what is whose, what is lent, and who used how much lately.

Every share has a *pool*: its guarantee, less what shares below it keep to themselves. Of its pool it *keeps* what it
does not lend; the rest is open to its siblings while idle. A job draws from its own share's pool first; what exceeds
the kept part is drawn from the parent's pool, and so on up to the root, whose pool is the capacity that nobody keeps.

Usage has a memory: GPU time is added as it is used, and all of it is halved every half-life, in 64 equal steps at
fixed instants. It does not matter when or how often a share is looked at, and all of it is integer arithmetic.
"""

from __future__ import annotations

from dure.model.units import HOUR_MS
from dure.world.columns import NONE, UNLIMITED, Columns, Records
from dure.world.compiled import compiled, entry_point

STEPS_PER_HALF_LIFE = 64
PERIOD_MS = 300_000
_STEP_FACTOR = 64_830  # 65,536 x 2 ** (-1/64)
_STEP_UNIT = 65_536
_STEPS_REMEMBERED = 64 * 48

ROOM, NOT_LENT, OVER_LIMIT = range(3)

UNTOUCHED, QUEUE_TOUCHED, USE_TOUCHED = range(3)
"""What may have changed of a share: only which of its jobs is next, or also what it uses."""


@entry_point
def shortage(shares: Records, share: int, amount: int) -> int:
    """What keeps `share` from using `amount` more milli-GPUs: a limit on its way, others' use, or nothing (ROOM).

    Never looks at entitlement: an owner that finds its GPUs lent out gets NOT_LENT here and may then reclaim.
    """
    verdict = ROOM
    drawn = amount
    at = share
    while at != NONE:
        record = shares[at]
        if record.used + amount > record.limit:
            return OVER_LIMIT
        if record.parent == NONE:
            if drawn > 0 and record.drawn + drawn > record.pool:
                verdict = NOT_LENT
        else:
            drawn = max(0, record.drawn + drawn - record.kept) - max(0, record.drawn - record.kept)
        at = record.parent
    return verdict


@compiled
def charge(columns: Columns, share: int, amount: int, now_ms: int) -> None:
    """Add `amount` milli-GPUs (negative: give back) to what a share and its ancestors use."""
    shares = columns.shares
    touch(columns, share, USE_TOUCHED)
    drawn = amount
    at = share
    while at != NONE:
        record = shares[at]
        remember(columns, at, now_ms)
        if record.parent != NONE:
            gpu_class = columns.classes[share // columns.counters[0].shares]
            gpu_class.borrowing -= record.used > record.guarantee
            gpu_class.borrowing += record.used + amount > record.guarantee
        record.used += amount
        before = max(0, record.drawn - record.kept)
        record.drawn += drawn
        drawn = max(0, record.drawn - record.kept) - before
        at = record.parent


@entry_point
def remember(columns: Columns, share: int, now_ms: int) -> None:
    """Bring a share's usage up to `now_ms`."""
    record = columns.shares[share]
    half_life_ms = columns.classes[share // columns.counters[0].shares].half_life_ms
    step_ms = max(1, half_life_ms // STEPS_PER_HALF_LIFE)
    at_ms = record.usage_at_ms
    steps = now_ms // step_ms - at_ms // step_ms
    if steps > _STEPS_REMEMBERED:
        record.usage = 0
        at_ms = (now_ms // step_ms - _STEPS_REMEMBERED) * step_ms
        steps = _STEPS_REMEMBERED
    for _ in range(steps):
        boundary_ms = (at_ms // step_ms + 1) * step_ms
        usage = record.usage + record.used * (boundary_ms - at_ms)
        record.usage = usage // _STEP_UNIT * _STEP_FACTOR + usage % _STEP_UNIT * _STEP_FACTOR // _STEP_UNIT
        at_ms = boundary_ms
    record.usage += record.used * (now_ms - at_ms)
    record.usage_at_ms = now_ms


@compiled
def touch(columns: Columns, share: int, what: int) -> None:
    """What a share is compared by may have changed: `kernel.winners` judges it, and everyone above it, again."""
    record = columns.shares[share]
    if record.touched == UNTOUCHED:
        record.next_touched = columns.counters[0].first_touched
        columns.counters[0].first_touched = share
    record.touched = max(record.touched, what)


@compiled
def period_end_ms(half_life_ms: int, now_ms: int) -> int:
    """When the period ends that `now_ms` is in: the steps in which usage is halved, cut into about five minutes."""
    step_ms = max(1, half_life_ms // STEPS_PER_HALF_LIFE)
    periods = max(1, step_ms // PERIOD_MS)
    period = now_ms % step_ms * periods // step_ms
    return now_ms // step_ms * step_ms + ((period + 1) * step_ms + periods - 1) // periods


@compiled
def projected_usage(columns: Columns, share: int, now_ms: int) -> int:
    """A share's usage at the end of the period that `now_ms` is in, if it goes on using what it uses now.

    It does not matter when in the period it is asked.
    """
    record = columns.shares[share]
    if record.usage_at_ms != now_ms:
        remember(columns, share, now_ms)
    half_life_ms = columns.classes[share // columns.counters[0].shares].half_life_ms
    return record.usage + record.used * (period_end_ms(half_life_ms, now_ms) - now_ms)


@entry_point
def within_guarantee(shares: Records, share: int, amount: int) -> bool:
    """True when some share on the way to the root would still be within its guarantee with `amount` more."""
    at = share
    while shares[at].parent != NONE:
        if shares[at].used + amount <= shares[at].guarantee:
            return True
        at = shares[at].parent
    return False


@compiled
def count_reclaimed(columns: Columns, share: int, amount: int, now_ms: int) -> None:
    """A job of `share` takes `amount` milli-GPUs back from a borrower.

    Every share on the way to the root that may take back so many GPUs in an hour pays for them with time: its jobs take
    nothing more until its rate has made up for what they took.
    """
    shares = columns.shares
    at = share
    while at != NONE:
        record = shares[at]
        if record.reclaim_per_hour < UNLIMITED:
            cost_ms = (amount * HOUR_MS + record.reclaim_per_hour - 1) // record.reclaim_per_hour
            record.reclaim_allowed_at_ms = max(record.reclaim_allowed_at_ms, now_ms) + cost_ms
        at = record.parent


@entry_point
def reclaim_allowed_at_ms(shares: Records, share: int) -> int:
    """When the jobs of a share may take GPUs back from borrowers again, as far as rates on its way go."""
    allowed_at_ms = 0
    at = share
    while at != NONE:
        record = shares[at]
        if record.reclaim_per_hour < UNLIMITED:
            allowed_at_ms = max(allowed_at_ms, record.reclaim_allowed_at_ms)
        at = record.parent
    return allowed_at_ms


@compiled
def _on_path(shares: Records, share: int, wanted: int) -> bool:
    at = share
    while at != NONE:
        if at == wanted:
            return True
        at = shares[at].parent
    return False


@compiled
def may_reclaim(shares: Records, claimant: int, amount: int, holder: int) -> bool:
    """May a job of share `claimant` that needs `amount` take GPUs back from a job of share `holder`?

    Below the closest share both belong to, the claimant's side must stay within its guarantee with it, and every share
    on the holder's side must be above its own guarantee: it borrows.
    """
    at = holder
    while not _on_path(shares, claimant, at):
        if shares[at].used <= shares[at].guarantee:
            return False
        at = shares[at].parent
    if at == holder:
        return False
    side = claimant
    while shares[side].parent != at:
        side = shares[side].parent
    return shares[side].used + amount <= shares[side].guarantee
