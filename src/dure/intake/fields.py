"""Reads one value of a document at a time, and collects what is wrong so that all of it is told at once.

Every reader takes the problems found so far, the field's path and the raw value, and returns a value of the right type.
When the value is wrong it adds a problem and returns a harmless one instead, so that reading goes on; the result is
thrown away as soon as there is any problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import TypeVar

from dure.intake.refusals import BadInput, Problem, did_you_mean, shown
from dure.model.dates import parse_moment
from dure.model.jobs import GpuRequest
from dure.model.units import UnitError, parse_duration, parse_gpu_count, parse_memory

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Reader = Callable[["Problems", str, object], T]

LONGEST_NAME = 63
LONGEST_TEXT = 1024 * 1024
MOST_PROBLEMS = 100

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
GPU_CLASS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}")
COUNTRY = re.compile(r"[A-Z]{2}")
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_GPUS = re.compile(r"(?:(?P<gpu_class>[A-Za-z][A-Za-z0-9._-]{0,31}):)?(?P<count>\d{1,7}(?:\.\d{1,3})?)")
_SLICE = re.compile(r"(?:(?P<gpu_class>[A-Z][A-Z0-9._-]{0,31}):)?(?P<profile>\d{1,2}g\.\d{1,4}gb(?:\+\w+)?)", re.I)


class Problems:
    """What is wrong with a document, in the order in which it was found.

    After `MOST_PROBLEMS` of them it raises `BadInput` by itself: nobody reads more, and a hostile document could have
    a million.
    """

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, field: str, value: object, message: str, hint: str = "") -> None:
        """Note that a value is wrong, and go on."""
        self.extend([Problem(field=field, value=shown(value), message=message, hint=hint)])

    def add_about_field(self, field: str, message: str, hint: str) -> None:
        """Note that a field is wrong whatever its value, or that the value is not to be shown; and go on."""
        self.extend([Problem(field=field, value="", message=message, hint=hint)])

    def add_missing(self, field: str, hint: str) -> None:
        """Note that a field is not there, and go on."""
        self.add_about_field(field, "is missing", hint)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Note several problems, and go on."""
        for problem in problems:
            self.found.append(problem)
            if len(self.found) >= MOST_PROBLEMS:
                self.raise_if_any()

    def raise_if_any(self) -> None:
        """Raises `BadInput` with everything that was found."""
        if self.found:
            raise BadInput(self.found)


class Entry:
    """One mapping of a document. Names that are not known are problems from the start."""

    def __init__(self, problems: Problems, field: str, value: object, known: Sequence[str]) -> None:
        self._problems = problems
        self._field = field
        self._values = mapping(problems, field, value)
        self._is_mapping = isinstance(value, dict)
        refuse_unknown(problems, field, self._values, known)

    def required(self, name: str, read: Reader[T], hint: str, otherwise: T) -> T:
        """The value of a field that must be there."""
        if name in self._values:
            return read(self._problems, self._path(name), self._values[name])
        if self._is_mapping:
            self._problems.add_missing(self._path(name), hint)
        return otherwise

    def optional(self, name: str, read: Reader[T], otherwise: T) -> T:
        """The value of a field, or what is meant when it is not there."""
        if name not in self._values:
            return otherwise
        return read(self._problems, self._path(name), self._values[name])

    def _path(self, name: str) -> str:
        return inside(self._field, name)


def inside(field: str, name: str) -> str:
    """The path of a name within a field; a name that came with the document is made fit to be shown."""
    return f"{field}.{shown(name)}" if field else shown(name)


def refuse_unknown(problems: Problems, field: str, names: Iterable[str], known: Sequence[str]) -> None:
    """A problem for every name that is not known, with the nearest that is."""
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, f"known fields: {', '.join(known)}")
            problems.add_about_field(inside(field, name), "is not a known field", hint)


def mapping(problems: Problems, field: str, value: object) -> dict[str, object]:
    """Names with values."""
    if not isinstance(value, dict):
        problems.add(field, value, "must be a mapping of names to values")
        return {}
    return value


def listing(problems: Problems, field: str, value: object, read: Reader[T], most: int) -> list[T]:
    """A list, each item read by `read`; at most `most` items."""
    if not isinstance(value, list):
        problems.add(field, value, "must be a list")
        return []
    if len(value) > most:
        problems.add(field, f"{len(value)} items", f"has more than {most} items")
        return []
    return [read(problems, f"{field}[{index}]", item) for index, item in enumerate(value)]


def one_or_more(problems: Problems, field: str, value: object, read: Reader[T], most: int) -> tuple[T, ...]:
    """A single value, or a list of them in which nothing appears twice."""
    if not isinstance(value, list):
        return (read(problems, field, value),)
    before = len(problems.found)
    items = listing(problems, field, value, read, most)
    if len(problems.found) == before and len(set(items)) != len(items):
        repeated = next(index for index, item in enumerate(items) if item in items[:index])
        problems.add(f"{field}[{repeated}]", value[repeated], "appears twice", "keep one")
    return tuple(items)


def text(problems: Problems, field: str, value: object, longest: int = LONGEST_TEXT) -> str:
    """Text that a program may be given: something, not endless, and without the NUL character."""
    if not isinstance(value, str) or not value:
        problems.add(field, value, "must be text")
        return ""
    if len(value) > longest:
        problems.add(field, f"{len(value)} characters", f"is longer than {longest} characters")
    if "\0" in value:
        problems.add(field, value, "has a NUL character", "remove it")
    return value


def title(problems: Problems, field: str, value: object) -> str:
    """A line that people read: printable, at most 100 characters, no spaces around it."""
    line = text(problems, field, value, longest=100)
    if line and (not line.isprintable() or line != line.strip()):
        problems.add(field, value, "must be one printable line without spaces around it")
    return line


def titles(problems: Problems, field: str, value: object) -> tuple[str, str]:
    """What people call a thing in Korean and in English: `{ko: ..., en: ...}`; empty where it is not said."""
    entry = Entry(problems, field, value, ("ko", "en"))
    return entry.optional("ko", title, ""), entry.optional("en", title, "")


def name(problems: Problems, field: str, value: object) -> str:
    """A name that programs use: lower-case letters, digits and `-`."""
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    problems.add(field, value, "must be lower-case letters, digits and '-', at most 63", _name_hint(value))
    return ""


def matching(pattern: re.Pattern[str], message: str) -> Reader[str]:
    """A reader of text of one shape."""

    def read(problems: Problems, field: str, value: object) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        problems.add(field, value, message)
        return ""

    return read


def choice(kind: type[E]) -> Reader[E]:
    """A reader of one word out of a closed list."""
    words = [each.value for each in kind]
    default = next(iter(kind))

    def read(problems: Problems, field: str, value: object) -> E:
        if isinstance(value, str) and value in words:
            return kind(value)
        meant = did_you_mean(value, words, "") if isinstance(value, str) else ""
        problems.add(field, value, f"must be one of {', '.join(words)}", meant)
        return default

    return read


def whole_number(least: int, most: int) -> Reader[int]:
    """A reader of whole numbers between two bounds, both allowed."""

    def read(problems: Problems, field: str, value: object) -> int:
        number = int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
        if isinstance(number, bool) or not isinstance(number, int):
            problems.add(field, value, "must be a whole number", f"write one between {least} and {most:,}")
            return least
        if not least <= number <= most:
            problems.add(field, value, f"must lie between {least} and {most:,}")
            return least
        return number

    return read


def flag(problems: Problems, field: str, value: object) -> bool:
    """True or false, and nothing that only looks like it."""
    if value is True or value == "true":
        return True
    if value is not False and value != "false":
        problems.add(field, value, "must be true or false")
    return False


def duration(least_ms: int, most_ms: int, range_text: str) -> Reader[int]:
    """A reader of durations in milliseconds. A bare number is refused: it could be seconds or, as in Slurm, minutes."""

    def read(problems: Problems, field: str, value: object) -> int:
        if isinstance(value, int | float) or (isinstance(value, str) and value.replace(".", "", 1).isdecimal()):
            hint = f"write {value}s for seconds or {value}m for minutes"
            problems.add(field, value, "has no unit", hint if not isinstance(value, bool) else "write it like 4h")
            return least_ms
        try:
            milliseconds = parse_duration(value if isinstance(value, str) else "")
        except UnitError:
            problems.add(field, value, "is not a duration", "write it like 4h, 90s, 1h30m or 04:00:00")
            return least_ms
        if not least_ms <= milliseconds <= most_ms:
            problems.add(field, value, f"must be {range_text}")
        return milliseconds

    return read


def moment(problems: Problems, field: str, value: object) -> int:
    """A date and time with its time zone, in milliseconds since the epoch."""
    try:
        return parse_moment(value if isinstance(value, str) else "")
    except UnitError as error:
        message = "has no time zone" if "time zone" in str(error) else "is not a date and time"
        problems.add(field, value, message, "write it like 2027-03-02T09:00:00+09:00")
        return 1


def memory(problems: Problems, field: str, value: object) -> int:
    """Memory in MiB, more than none."""
    try:
        mib = parse_memory(value if isinstance(value, str) else "")
    except UnitError as error:
        message = "is out of range" if "out of range" in str(error) else "is not an amount of memory"
        problems.add(field, value, message, "write it like 256GB or 512MB, at most 1024TB")
        return 1
    if mib == 0:
        problems.add(field, value, "must be at least 1MB")
    return mib


def gpu_count(problems: Problems, field: str, value: object) -> int:
    """GPUs in thousandths, from a number alone."""
    match = _GPUS.fullmatch(_as_text(value) or "")
    if match is None or match["gpu_class"] is not None:
        problems.add(field, value, "is not a number of GPUs", "write it like 8 or 0.5")
        return 0
    return _milli(problems, field, value, match["count"])


def gpu_request(problems: Problems, field: str, value: object) -> GpuRequest:
    """GPUs as people write them: `H100:8`, `H100`, `8`, `0.5`, `H100:3g.40gb`. The class is empty if none is named."""
    written = _as_text(value)
    if written is None:
        problems.add(field, value, "is not a number of GPUs", "write it like H100:8, 8 or 0.5")
        return GpuRequest(gpu_class="", milli=0)
    if GPU_CLASS.fullmatch(written):
        return GpuRequest(gpu_class=written, milli=1000)
    if cut := _SLICE.fullmatch(written):
        return GpuRequest(gpu_class=cut["gpu_class"] or "", milli=0, profile=cut["profile"].lower())
    match = _GPUS.fullmatch(written)
    if match is None:
        message = "must not be negative" if re.match(r"(?:[^:]*:)?-\d", written) else "is not a number of GPUs"
        if re.fullmatch(r"(?:[^:]*:)?\d{8,}", written):
            message = "must be at most 1,000,000 GPUs"
        problems.add(field, value, message, "write it like H100:8, 8 or 0.5, with at most three decimals")
        return GpuRequest(gpu_class="", milli=0)
    return GpuRequest(gpu_class=match["gpu_class"] or "", milli=_milli(problems, field, value, match["count"]))


def _milli(problems: Problems, field: str, value: object, count: str) -> int:
    try:
        return parse_gpu_count(count)
    except UnitError:
        fraction = float(count) % 1 != 0
        message = "more than one GPU must be a whole number" if fraction else "must be at most 1,000,000 GPUs"
        problems.add(field, value, message)
        return 0


def _as_text(value: object) -> str | None:
    """Numbers of a JSON document as they would be written in a YAML file."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return None


def _name_hint(value: object) -> str:
    if not isinstance(value, str):
        return ""
    fixed = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:LONGEST_NAME].strip("-")
    return f"for example {fixed}" if NAME.fullmatch(fixed) else ""
