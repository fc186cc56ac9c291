"""A dictionary laid over another: it sees through to what is below and keeps its own changes.

A plan is judged on such a copy of the books, which costs what the plan changes and not what the books hold.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")
_ABSENT: Any = object()


class Overlay(dict[Key, Value]):
    """Can be looked into and written to; what lies below is never changed, and the whole cannot be listed."""

    def __init__(self, below: dict[Key, Value]) -> None:
        super().__init__()
        self._below = below

    def __missing__(self, key: Key) -> Value:
        return self._below[key]

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or key in self._below

    def get(self, key: Key, default: Any = None) -> Any:
        """The value of a key, here or below, or the default."""
        found = dict.get(self, key, _ABSENT)
        return self._below.get(key, default) if found is _ABSENT else found

    def __iter__(self) -> NoReturn:
        raise TypeError("an overlay can be looked into, not listed")

    def items(self) -> NoReturn:
        """Not to be had: most of it lies below."""
        raise TypeError("an overlay can be looked into, not listed")
