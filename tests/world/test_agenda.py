"""What is due, against a plain dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dure.world.agenda import Agenda

STEPS = st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.integers(0, 20)), max_size=40)


@given(STEPS, st.integers(0, 20))
def test_what_is_due_is_what_was_last_noted(steps: list[tuple[str, int | None]], now_ms: int) -> None:
    agenda, plain = Agenda(), dict[str, int]()
    for job, at_ms in steps:
        if at_ms is None:
            agenda.drop(job)
            plain.pop(job, None)
        else:
            agenda.put(job, at_ms)
            plain[job] = at_ms
        due = sorted((noted_ms, name) for name, noted_ms in plain.items() if noted_ms <= now_ms)
        assert agenda.due(now_ms) == agenda.due(now_ms) == [name for _, name in due]
        assert agenda.next_ms() == min(plain.values(), default=None)


def test_a_copy_goes_its_own_way() -> None:
    agenda = Agenda()
    agenda.put("a", 1)
    other = agenda.copy()
    other.drop("a")
    other.put("b", 2)
    assert (agenda.due(9), other.due(9)) == (["a"], ["b"])
