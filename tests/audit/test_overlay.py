"""Looked into, an overlay is the changed dictionary; what lies below stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.audit.overlay import Overlay

ITEMS = st.dictionaries(st.integers(0, 5), st.integers())


@given(ITEMS, ITEMS)
def test_it_sees_through_to_what_it_does_not_change(below: dict[int, int], changes: dict[int, int]) -> None:
    before = dict(below)
    overlay = Overlay(below)
    overlay.update(changes)
    expected = below | changes
    for key in range(7):
        assert overlay.get(key, -1) == expected.get(key, -1)
        assert (key in overlay) == (key in expected)
    assert all(overlay[key] == value for key, value in expected.items())
    assert below == before


def test_it_cannot_be_listed() -> None:
    overlay = Overlay({1: 2})
    with pytest.raises(TypeError):
        list(overlay)
    with pytest.raises(TypeError):
        overlay.items()
