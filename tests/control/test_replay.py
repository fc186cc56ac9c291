"""Whatever happens, the ledger alone says how things stand, and the same history gives the same bytes."""

from __future__ import annotations

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from dure.control.attempts import attempt_id
from dure.control.control import Control
from dure.control.ports import Ended, NeverStarted, Observation, Started
from dure.control.requests import CancelJob, ChangeNode, Request, SubmitJob
from dure.ledger.memory import MemoryLedger
from dure.model.jobs import ArrayRange, Retry
from dure.world.cards import JobCard

from .builders import OPERATOR, START_MS, run, small_control, spec

MUCH_LATER_MS = START_MS + 1_000_000_000


class Submit(Struct, frozen=True):
    project: str
    gpus: int
    nodes: int
    retries: int
    tasks: int
    waits_for_last: bool


class Cancel(Struct, frozen=True):
    which: int


class Node(Struct, frozen=True):
    name: str
    state: str


class Seen(Struct, frozen=True):
    """Something about one of the open attempts: it runs, it ended, or it never ran."""

    which: int
    what: str
    exit_code: int


class Wait(Struct, frozen=True):
    milliseconds: int


Happening = Submit | Cancel | Node | Seen | Wait

happenings = st.lists(
    st.one_of(
        st.builds(
            Submit,
            project=st.sampled_from(["chat", "vision", "weather"]),
            gpus=st.integers(0, 4),
            nodes=st.integers(1, 2),
            retries=st.integers(0, 2),
            tasks=st.sampled_from([0, 0, 3]),
            waits_for_last=st.booleans(),
        ),
        st.builds(Cancel, st.integers(0, 30)),
        st.builds(Node, st.sampled_from(["dj-0000", "dj-0001"]), st.sampled_from(["up", "drained"])),
        st.builds(
            Seen, st.integers(0, 30), st.sampled_from(["started", "ended", "never"]), st.sampled_from([0, 1, 75, -15])
        ),
        st.builds(Wait, st.sampled_from([1, 500, 1_000, 5_000, 4_000_000])),
    ),
    max_size=30,
)


def request_of(control: Control, happening: Happening) -> list[Request]:
    jobs = list(control.world.jobs)
    match happening:
        case Submit():
            wanted = spec(
                happening.project,
                happening.gpus,
                nodes=happening.nodes,
                cpus=0 if happening.gpus else 1,
                retry=Retry(limit=happening.retries),
                array=ArrayRange(first=0, last=happening.tasks - 1) if happening.tasks else None,
                depends=tuple(jobs[-1:]) if happening.waits_for_last else (),
            )
            return [SubmitJob(caller=OPERATOR, spec=wanted)]
        case Cancel() if jobs:
            return [CancelJob(caller=OPERATOR, job=jobs[happening.which % len(jobs)])]
        case Node():
            return [ChangeNode(caller=OPERATOR, node=happening.name, state=happening.state)]
        case _:
            return []


def observation_of(control: Control, happening: Happening, now_ms: int) -> list[Observation]:
    running = control.world.running()
    if not isinstance(happening, Seen) or not running:
        return []
    card = running[happening.which % len(running)]
    name = attempt_id(card.job, card.attempt)
    if happening.what == "started":
        return [Started(attempt_id=name, at_ms=now_ms - 1)]
    if happening.what == "ended":
        return [Ended(attempt_id=name, at_ms=now_ms - 1, exit_code=happening.exit_code)]
    return [NeverStarted(attempt_id=name, at_ms=now_ms, reason="no disk")]


def live(control: Control, history: list[Happening], now_ms: int = START_MS) -> None:
    for happening in history:
        now_ms += happening.milliseconds if isinstance(happening, Wait) else 10
        run(control, request_of(control, happening), observation_of(control, happening, now_ms), now_ms)
        assert not control.halted, control.halted


@settings(max_examples=30, deadline=None)
@given(happenings)
def test_a_world_rebuilt_from_the_ledger_is_the_world_that_was(history: list[Happening]) -> None:
    control = small_control()
    live(control, history)
    world, position = control.world, control.position
    control.rebuild()
    assert control.position == position
    assert control.world.jobs == world.jobs
    assert control.world.shares() == world.shares()
    assert control.world.nodes() == world.nodes()
    assert [card.job for card in control.world.queue()] == [card.job for card in world.queue()]
    assert control.world.next_wake_ms() == world.next_wake_ms()


def one_job_without_gpus() -> Submit:
    return Submit(project="chat", gpus=0, nodes=1, retries=0, tasks=0, waits_for_last=False)


@settings(max_examples=20, deadline=None)
@given(happenings, happenings)
@example([one_job_without_gpus(), Wait(500)], [Wait(500), Seen(0, "ended", 0)])
def test_going_on_after_a_restart_writes_what_would_have_been_written_without_it(
    before: list[Happening], after: list[Happening]
) -> None:
    roots = []
    for restarts in (False, True):
        ledger = MemoryLedger()
        control = small_control(ledger, seed=1)
        live(control, before)
        if restarts:
            control.rebuild()
        live(control, after)
        roots.append(ledger.root())
    assert roots[0] == roots[1]


@settings(max_examples=10, deadline=None)
@given(happenings)
def test_a_job_that_is_over_has_a_row_with_what_its_card_says(history: list[Happening]) -> None:
    control = small_control()
    live(control, history)
    for job, card in control.world.jobs.items():
        row = control.ledger.row("jobs", job)
        assert (row is not None) == card.state.is_final
        assert row is None or msgspec.json.decode(row, type=JobCard) == card
