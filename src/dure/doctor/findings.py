"""What was found: whether it is well, and what to do if it is not."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but something that people count on does not, or will not for long."""
    FAILURE = "failure"
    """It does not work like this."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    about: str
    """What was looked at: stable, so that programs can match on it."""
    level: Level
    message: str
    """What is so, in English."""
    advice: str = ""
    """What to do."""


def well(about: str, message: str) -> Finding:
    """Nothing to do."""
    return Finding(about=about, level=Level.OK, message=message)


def warning(about: str, message: str, advice: str) -> Finding:
    """Something to look into."""
    return Finding(about=about, level=Level.WARNING, message=message, advice=advice)


def failure(about: str, message: str, advice: str) -> Finding:
    """Something that must be put right."""
    return Finding(about=about, level=Level.FAILURE, message=message, advice=advice)
