"""Text to plain values: YAML without its surprises, and JSON.

In YAML every scalar stays the text that was written, so that Norway (`NO`) is a country, `04:00:00` a duration and
`1.10` a version; each field knows its own type. Only `null`, `~` and nothing at all are no value. Keys that appear
twice, aliases and tags are refused: none can be read in two ways, and no short text can unfold into a huge one.

Values are built from the parser's events and not by its composer, which is recursive C without a bound: a few kilobytes
of `[` from anybody would end the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec
import yaml

from dure.intake.refusals import BadInput, Problem, shown

LARGEST_DOCUMENT = 4 * 1024 * 1024
"""Characters (or bytes) of a document."""
DEEPEST_DOCUMENT = 50
"""Mappings and lists inside one another."""

Value = str | int | float | bool | dict[str, "Value"] | list["Value"] | None

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NO_VALUE = {"", "~", "null", "Null", "NULL"}


def read_yaml(text: str) -> Value:
    """The values in a YAML document. Raises `BadInput` with line and column when it cannot be read."""
    _refuse_too_large(text)
    try:
        return _Reading(yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error.problem or "cannot be read", error.problem_mark) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise BadInput([Problem(field="", value="", message=f"not readable as YAML: {_first_line(error)}")]) from None


def read_json(body: bytes | str) -> Value:
    """The values in a JSON document. Raises `BadInput` when it cannot be read."""
    _refuse_too_large(body)
    try:
        value: Value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise BadInput([Problem(field="", value="", message=f"not readable as JSON: {_first_line(error)}")]) from None
    return value


class _Reading:
    """One walk over a document's events."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events

    def document(self) -> Value:
        """The value of the only document; None when there is none."""
        value: Value = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _unreadable("a second document starts here; put it in a file of its own", event.start_mark)
                value = self._value(next(self._events), depth=1)
        return value

    def _value(self, event: yaml.Event, depth: int) -> Value:
        """The value that starts with this event; takes the rest of it from the stream."""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _unreadable("anchors and aliases are not used here; write the value out", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _unreadable("tags (words that start with !) are not used here; remove it", event.start_mark)
        if depth > DEEPEST_DOCUMENT:
            raise _unreadable(f"nested deeper than {DEEPEST_DOCUMENT} levels", event.start_mark)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(depth)
        return _scalar(event)

    def _list(self, depth: int) -> list[Value]:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Value]:
        mapping: dict[str, Value] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, depth + 1)
            if not isinstance(key, str):
                raise _unreadable("a name is expected before the colon", event.start_mark)
            if key in mapping:
                raise _unreadable(f"{shown(key)} appears twice; keep one", event.start_mark)
            mapping[key] = self._value(next(self._events), depth + 1)
        return mapping


def _scalar(event: yaml.Event) -> str | None:
    """The text as it was written; None where nothing, or a plain `null` or `~`, stands."""
    assert isinstance(event, yaml.ScalarEvent)
    is_plain = event.implicit[0]
    return None if is_plain and event.value in _NO_VALUE else event.value


def _refuse_too_large(document: str | bytes) -> None:
    if len(document) > LARGEST_DOCUMENT:
        message = f"the document is larger than {LARGEST_DOCUMENT // 1024**2} MiB"
        raise BadInput([Problem(field="", value=f"{len(document)} characters", message=message)])


class _Mark(Protocol):
    """Where something stands in the text, counted from 0; both of the parser's loaders have their own."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


def _unreadable(message: str, mark: _Mark | None) -> BadInput:
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return BadInput([Problem(field=where, value="", message=message)])


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
