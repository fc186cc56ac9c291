"""The field `replicas` of a job file: a fixed number, or a load profile over the day."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dure.intake.fields import Entry, Problems, inside, mapping, whole_number
from dure.model.jobs import MOST_REPLICAS, Replicas
from dure.model.units import DAY_MS, HOUR_MS, MINUTE_MS

MOST_STEPS = 96
"""A step every quarter of an hour."""
ZONES = {"UTC": 0, "Asia/Seoul": 9 * HOUR_MS}
"""Zones by name: those whose distance from UTC never changes, so that no table of them is needed."""
_ZONE = re.compile(r"(?P<sign>[+-])(?P<hours>0\d|1[0-4]):(?P<minutes>[0-5]\d)")
_TIME = re.compile(r"(?P<hours>[01]\d|2[0-3]):(?P<minutes>[0-5]\d)")
_FIXED = whole_number(1, MOST_REPLICAS)
_WANTED = whole_number(0, MOST_REPLICAS)
_NONE = Replicas(steps=((0, 1),))


def replicas(problems: Problems, field: str, value: object) -> Replicas:
    """`3`, or a mapping with `profile` and `timezone`, and the bounds `min` and `max` that the profile must keep."""
    if not isinstance(value, dict):
        return Replicas(steps=((0, _FIXED(problems, field, value)),))
    before = len(problems.found)
    entry = Entry(problems, field, value, ("min", "max", "profile", "timezone"))
    least = entry.optional("min", _WANTED, 0)
    most = entry.optional("max", _FIXED, MOST_REPLICAS)
    none: dict[str, tuple[int, int]] = {}
    local = entry.required("profile", _profile, 'add the times of the day, like {"00:00": 2, "08:00": 12}', none)
    offset_ms = entry.required("timezone", _timezone, "add one, like +09:00 or Asia/Seoul", 0)
    if len(problems.found) > before:
        return _NONE
    _check_bounds(problems, field, local, least, most)
    return Replicas(steps=tuple(sorted(((at_ms - offset_ms) % DAY_MS, wanted) for at_ms, wanted in local.values())))


def _check_bounds(problems: Problems, field: str, local: Mapping[str, tuple[int, int]], least: int, most: int) -> None:
    if least > most:
        problems.add(inside(field, "min"), least, f"is more than max, which is {most:,}")
        return
    for time, (_, wanted) in local.items():
        if not least <= wanted <= most:
            at = inside(inside(field, "profile"), time)
            problems.add(at, wanted, f"must lie between min, which is {least:,}, and max, which is {most:,}")
    if not any(wanted for _, wanted in local.values()):
        problems.add_about_field(inside(field, "profile"), "wants no replicas at any time", "give one time some")


def _profile(problems: Problems, field: str, value: object) -> dict[str, tuple[int, int]]:
    """Milliseconds of the day and replicas, by the time as it was written."""
    steps = mapping(problems, field, value)
    if isinstance(value, dict) and not 1 <= len(steps) <= MOST_STEPS:
        problems.add(field, f"{len(steps)} times", f"must have 1 to {MOST_STEPS} times of the day")
        return {}
    return {time: _step(problems, inside(field, time), time, wanted) for time, wanted in steps.items()}


def _step(problems: Problems, field: str, time: str, wanted: object) -> tuple[int, int]:
    match = _TIME.fullmatch(time)
    if match is None:
        problems.add(field, time, "is not a time of the day", "write it like 08:00, from 00:00 to 23:59")
        return 0, 0
    return int(match["hours"]) * HOUR_MS + int(match["minutes"]) * MINUTE_MS, _WANTED(problems, field, wanted)


def _timezone(problems: Problems, field: str, value: object) -> int:
    """Milliseconds ahead of UTC."""
    if isinstance(value, str) and value in ZONES:
        return ZONES[value]
    match = _ZONE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        problems.add(field, value, "is not a fixed distance from UTC", f"write +09:00, or {' or '.join(sorted(ZONES))}")
        return 0
    distance_ms = int(match["hours"]) * HOUR_MS + int(match["minutes"]) * MINUTE_MS
    return distance_ms if match["sign"] == "+" else -distance_ms
