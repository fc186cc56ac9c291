"""A used key is never taken for a new one, whenever the used ones are read; new ones are hardly ever asked about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.control import used_keys
from dure.control.control import Control
from dure.control.used_keys import UsedKeys, read_used_keys
from dure.ledger.memory import MemoryLedger
from tests.control.builders import HANBIT, empty_control, small_control, spec, submit

KEYS = st.lists(st.text(min_size=1, max_size=2), max_size=20)


class AskedLedger(MemoryLedger):
    """Notes what it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def rows_of(self, table: str, keys: Sequence[str]) -> dict[str, bytes]:
        self.asked.extend(keys)
        return super().rows_of(table, keys)


class PagedLedger(MemoryLedger):
    """Has keys, in pages."""

    def __init__(self, pages: Sequence[list[str]]) -> None:
        super().__init__()
        self.pages = pages

    def keys(self, table: str) -> Iterator[list[str]]:
        assert table == "requests"
        yield from self.pages


def read_keys(control: Control) -> None:
    control.used_keys.begin_reading()
    control.used_keys.end_reading(read_used_keys(control.ledger, lambda: True))


@given(before=KEYS, during=KEYS, after=KEYS, asked=KEYS)
def test_no_used_key_is_ever_taken_for_a_new_one(
    before: list[str], during: list[str], after: list[str], asked: list[str]
) -> None:
    used = UsedKeys()
    assert all(used.may_have(key) for key in asked)
    used.note(before)
    used.begin_reading()
    used.note(during)
    used.end_reading(read_used_keys(PagedLedger([before[:5], before[5:]]), lambda: True))
    used.note(after)
    known = {*before, *during, *after}
    assert all(used.may_have(key) for key in known)
    assert sum(used.may_have(key) for key in set(asked) - known) <= 2


def test_while_they_are_read_again_the_former_answer_still_holds() -> None:
    used = UsedKeys()
    used.begin_reading()
    used.end_reading(read_used_keys(PagedLedger([["a"]]), lambda: True))
    used.begin_reading()
    used.note(["b"])
    assert (used.may_have("a"), used.may_have("b"), used.may_have("c")) == (True, True, False)
    used.end_reading(None)
    assert (used.may_have("a"), used.may_have("b"), used.may_have("c")) == (True, True, False)


def test_they_are_read_by_one_at_a_time() -> None:
    used = UsedKeys()
    used.begin_reading()
    with pytest.raises(AssertionError, match="being read already"):
        used.begin_reading()


def test_room_is_made_for_as_many_again_and_they_are_read_anew_when_it_is_used_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(used_keys, "LEAST_ROOM", 100)
    used = UsedKeys()
    used.begin_reading()
    pages = [[f"{page}-{number}" for number in range(60)] for page in range(6)]
    used.end_reading(read_used_keys(PagedLedger(pages), lambda: True))
    assert all(used.may_have(key) for page in pages for key in page)
    more = [f"new-{number}" for number in range(1_600 - 360)]
    is_full = []
    for key in more:
        used.note([key])
        is_full.append(used.must_be_read)
    assert is_full.index(True) == len(more) - 1
    assert sum(used.may_have(f"other-{number}") for number in range(10_000)) < 100


def test_reading_stops_when_the_platform_does() -> None:
    assert read_used_keys(PagedLedger([["a"]]), lambda: False) is None


def test_the_ledger_is_asked_about_every_key_until_they_were_read_and_then_only_about_used_ones() -> None:
    ledger = AskedLedger()
    control = small_control(ledger)
    assert submit(control, spec(), caller=HANBIT, key="early") == "j1"
    assert ledger.asked == [f"{HANBIT.id}:early"]
    read_keys(control)
    assert submit(control, spec(), caller=HANBIT, key="new") == "j2"
    assert ledger.asked == [f"{HANBIT.id}:early"]
    assert submit(control, spec(), caller=HANBIT, key="new") == "j2"
    assert submit(control, spec(), caller=HANBIT, key="early") == "j1"
    assert ledger.asked == [f"{HANBIT.id}:{key}" for key in ("early", "new", "early")]


def test_a_key_used_in_an_earlier_life_of_the_platform_is_known_as_soon_as_keys_were_read() -> None:
    ledger = AskedLedger()
    submit(small_control(ledger), spec(), caller=HANBIT, key="k")
    control = empty_control(ledger)
    read_keys(control)
    assert submit(control, spec(), caller=HANBIT, key="k") == "j1"
    assert submit(control, spec(), caller=HANBIT, key="other") == "j2"


def test_a_key_whose_step_did_not_become_durable_is_only_asked_about() -> None:
    control = small_control()
    read_keys(control)
    control.used_keys.note([f"{HANBIT.id}:k"])
    control.rebuild()
    assert submit(control, spec(), caller=HANBIT, key="k") == "j1"
