"""How people write amounts, and the integers we keep.

People write `4h`, `04:00:00`, `H100:8`, `256GB`; inside, time is in milliseconds, GPUs are in thousandths of a GPU
(`milli`), memory is in MiB. Integers only: a plan must be the same on every machine.
"""

from __future__ import annotations

import re

WHOLE_GPU_MILLI = 1000
SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_UNIT_MS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d{1,4}):(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d))?")
_MEMORY = re.compile(r"(?P<amount>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?)(?P<binary>i?)B?", re.IGNORECASE)
_MEMORY_MIB = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}
LONGEST_DURATION_MS = 3660 * DAY_MS


class UnitError(ValueError):
    """An amount that cannot be read; the message says how it should have been written."""


def parse_duration(text: str | int) -> int:
    """Milliseconds from `90s`, `1h30m`, `04:00:00`, `1-12:00:00` (days-hours, as Slurm writes it) or whole seconds."""
    if isinstance(text, bool) or not isinstance(text, int | str):
        raise UnitError(f"{text!r} is not a duration; write it like 4h, 90s or 04:00:00")
    if isinstance(text, int):
        milliseconds = text * SECOND_MS
    elif _DURATION.fullmatch(text.strip()):
        milliseconds = round(sum(float(n) * _UNIT_MS[unit] for n, unit in _DURATION_PART.findall(text)))
    elif clock := _CLOCK.fullmatch(text.strip()):
        parts = {name: int(value or 0) for name, value in clock.groupdict().items()}
        milliseconds = parts["days"] * DAY_MS + parts["hours"] * HOUR_MS
        milliseconds += parts["minutes"] * MINUTE_MS + parts["seconds"] * SECOND_MS
    else:
        raise UnitError(f"{text!r} is not a duration; write it like 4h, 90s or 04:00:00")
    if not 0 <= milliseconds <= LONGEST_DURATION_MS:
        raise UnitError(f"{text!r} is out of range; a duration lies between 0 and ten years")
    return milliseconds


def format_duration(milliseconds: int) -> str:
    """The shortest exact spelling that people read easily: `1h30m`, `45s`, `250ms`."""
    if milliseconds == 0:
        return "0s"
    parts = []
    left = abs(milliseconds)
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, _UNIT_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if milliseconds < 0 else "") + "".join(parts)


def parse_memory(text: str | int) -> int:
    """MiB from `256GB`, `512MiB` or a whole number of MiB. As cluster users mean it, 1 GB is 1024 MB here."""
    if isinstance(text, int) and not isinstance(text, bool):
        mib = text
    else:
        match = _MEMORY.fullmatch(str(text).strip())
        if match is None or not match["unit"]:
            raise UnitError(f"{text!r} is not an amount of memory; write it like 256GB or 512MB")
        mib = round(float(match["amount"]) * _MEMORY_MIB[match["unit"].upper()])
    if not 0 <= mib <= 1 << 30:
        raise UnitError(f"{text!r} is out of range; memory lies between 0 and 1 PiB")
    return mib


def parse_gpu_count(text: str | float) -> int:
    """Thousandths of a GPU from `8`, `0.5` or `"0.5"`. More than one GPU must be a whole number."""
    try:
        milli = round(float(text) * WHOLE_GPU_MILLI)
    except (ValueError, OverflowError):
        raise UnitError(f"{text!r} is not a number of GPUs; write it like 8 or 0.5") from None
    if not 0 <= milli <= 1_000_000 * WHOLE_GPU_MILLI:
        raise UnitError(f"{text!r} GPUs is out of range; it lies between 0 and 1,000,000")
    if milli > WHOLE_GPU_MILLI and milli % WHOLE_GPU_MILLI:
        raise UnitError(f"{text!r} GPUs: more than one GPU must be a whole number")
    return milli


def format_gpus(milli: int) -> str:
    """`8`, `0.5`: what `parse_gpu_count` reads."""
    whole, rest = divmod(milli, WHOLE_GPU_MILLI)
    return str(whole) if rest == 0 else f"{milli / WHOLE_GPU_MILLI:g}"
