"""How people write a moment, and the milliseconds since the epoch that we keep.

This is calendar arithmetic only: nothing here, or in any room that uses it, asks what time it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dure.model.units import UnitError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def parse_moment(text: str) -> int:
    """Milliseconds since the epoch from `2027-03-02T09:00:00+09:00` or `2027-03-02T00:00Z`.

    A moment without a time zone is refused with `UnitError`: a nation file is read in more than one place.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UnitError(f"{text!r} is not a date and time") from None
    if moment.tzinfo is None:
        raise UnitError(f"{text!r} has no time zone")
    milliseconds = (moment - _EPOCH) // _MILLISECOND
    if milliseconds <= 0:
        raise UnitError(f"{text!r} is out of range")
    return milliseconds


def format_moment(at_ms: int) -> str:
    """The moment in UTC, as `parse_moment` reads it: `2027-03-02T00:00:00Z`."""
    precision = "milliseconds" if at_ms % 1_000 else "seconds"
    return (_EPOCH + at_ms * _MILLISECOND).isoformat(timespec=precision).replace("+00:00", "Z")
