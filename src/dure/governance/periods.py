"""Periods as laws write them: `2 weeks`, `30 days`, `5 years`."""

from __future__ import annotations

import re

from msgspec import Struct

from dure.model.dates import add_to_day

_PERIOD = re.compile(r"([1-9]\d{0,3}) (day|week|month|year)s?", re.ASCII)


class PeriodError(ValueError):
    """Text that is not a period; the message says how it should have been written."""


class Period(Struct, frozen=True, kw_only=True):
    """Months and days, which are not the same number of days in every year. `written` is how the law's pack says it."""

    months: int
    days: int
    written: str


def parse_period(text: str) -> Period:
    """The period in `14 days`, `2 weeks`, `1 month` or `5 years`. Raises `PeriodError` for anything else."""
    match = _PERIOD.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise PeriodError(f"{text!r} is not a period; write it like 30 days, 2 weeks, 1 month or 5 years")
    count, unit = int(match[1]), match[2]
    return Period(
        months=count * {"month": 1, "year": 12}.get(unit, 0),
        days=count * {"day": 1, "week": 7}.get(unit, 0),
        written=text,
    )


def end_of(period: Period, day: str) -> str:
    """The last day of a period that begins with the day after `day`: the day of the event itself is not counted."""
    return add_to_day(day, months=period.months, days=period.days)
