"""How people write a moment or a day; of a moment we keep the milliseconds since the epoch.

This is calendar arithmetic only: nothing here, or in any room that uses it, asks what time it is.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

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


def parse_day(text: str) -> str:
    """The day itself, from `2026-01-22`. As text, days compare as they follow each other.

    Raises `UnitError` for anything else, also for a day that no calendar has.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UnitError(f"{text!r} is not a day") from None
    if day.isoformat() != text:
        raise UnitError(f"{text!r} is not a day")
    return text


def add_to_day(day: str, *, months: int = 0, days: int = 0) -> str:
    """The day that lies so far after `day`, which must be one that `parse_day` accepts.

    Where the month is too short (31 January and a month), its last day. Days are added after months. Past the last
    year that a date can have, it is that year's last day.
    """
    start = date.fromisoformat(day)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    if year > date.max.year:
        return date.max.isoformat()
    in_month = min(start.day, monthrange(year, month + 1)[1])
    try:
        return (date(year, month + 1, in_month) + timedelta(days=days)).isoformat()
    except OverflowError:
        return date.max.isoformat()
