"""What happens to nodes, and what that does to the jobs on them, through the loop and its ledger."""

from __future__ import annotations

import json

from dure.control.access import PLATFORM
from dure.control.control import Control
from dure.control.draft import Step
from dure.control.orders import LaunchOrder, StopOrder
from dure.control.ports import Ended, Observation, Started
from dure.control.requests import ApplyNation, ChangeNode, NationStands, NodeStands
from dure.model.events import AttemptEnded, NodeChanged, NodeReason, decode
from dure.model.jobs import JobState, Outcome
from dure.model.units import HOUR_MS

from .builders import NATION, OPERATOR, START_MS, ask, nation, run, small_control, spec, submit

NODE, OTHER = "dj-0000", "dj-0001"


def changes(control: Control) -> list[tuple[str, str, NodeReason]]:
    """Every change of a node in the ledger: name, state, reason."""
    events = [decode(entry) for entry in control.ledger.entries()]
    return [(event.node, event.state, event.reason) for event in events if isinstance(event, NodeChanged)]


def change(control: Control, node: str, state: str) -> Step:
    step = control.step([ChangeNode(caller=OPERATOR, node=node, state=state)], [], START_MS)
    control.commit(step)
    return step


def end(control: Control, job: str, exit_code: int, now_ms: int = START_MS) -> Step:
    """A job's running attempt ends."""
    attempt = f"{job}.{control.world.jobs[job].attempt}"
    seen: list[Observation] = [
        Started(attempt_id=attempt, at_ms=now_ms),
        Ended(attempt_id=attempt, at_ms=now_ms, exit_code=exit_code),
    ]
    return run(control, seen=seen, now_ms=now_ms)


def node_of(control: Control, job: str) -> str:
    (placement,) = control.world.jobs[job].placements
    return placement.node


def failing_node() -> Control:
    """Jobs of two organisations fail on one node by turns, three in a row."""
    control = small_control()
    for project in ("chat", "weather", "chat"):
        job = submit(control, spec(project))
        assert node_of(control, job) == NODE
        end(control, job, exit_code=1)
    return control


def test_a_node_on_which_jobs_of_several_organisations_fail_is_set_aside_by_the_platform() -> None:
    control = failing_node()
    assert changes(control) == [(NODE, "suspect", NodeReason.REPEATED_FAILURES)]
    assert control.world.next_wake_ms() == START_MS + 4 * HOUR_MS
    assert node_of(control, submit(control, spec())) == OTHER


def test_a_suspect_node_comes_back_after_its_probation_and_goes_again_at_the_next_failure() -> None:
    control = failing_node()
    later_ms = START_MS + 4 * HOUR_MS
    run(control, now_ms=later_ms)
    assert changes(control)[1:] == [(NODE, "up", NodeReason.PROBATION_OVER)]
    job = submit(control, spec(), now_ms=later_ms)
    assert node_of(control, job) == NODE
    end(control, job, exit_code=1, now_ms=later_ms)
    assert changes(control)[2:] == [(NODE, "suspect", NodeReason.REPEATED_FAILURES)]


def test_what_was_counted_and_the_probation_outlive_the_process() -> None:
    control = failing_node()
    wake_ms = control.world.next_wake_ms()
    control.rebuild()
    assert control.world.next_wake_ms() == wake_ms
    assert control.world.node(NODE).until_ms == wake_ms
    run(control)
    assert len(changes(control)) == 1, "it is not set aside twice"


def test_an_operator_clears_a_suspect_node() -> None:
    control = failing_node()
    change(control, NODE, "up")
    job = submit(control, spec("weather"))
    assert node_of(control, job) == NODE
    end(control, job, exit_code=1)
    assert [state for _, state, _ in changes(control)] == ["suspect", "up"]


def test_jobs_leave_a_drained_node_within_the_grace_and_go_on_elsewhere() -> None:
    control = small_control()
    job = submit(control, spec())
    step = change(control, NODE, "drained")
    assert step.answers == [NodeStands(node=NODE, state="drained", jobs=(job,))]
    [order] = step.orders
    assert isinstance(order, StopOrder)
    assert (order.attempt_id, order.grace_ms) == (f"{job}.1", control.world.nation.timing.grace_ms)
    [launch] = end(control, job, exit_code=-15).orders
    assert isinstance(launch, LaunchOrder)
    assert (node_of(control, job), control.world.jobs[job].preemptions) == (OTHER, 0)
    ended = [event for event in map(decode, control.ledger.entries()) if isinstance(event, AttemptEnded)]
    assert [event.outcome for event in ended] == [Outcome.DRAINED]


def test_a_job_that_may_not_be_preempted_stays_on_a_drained_node() -> None:
    control = small_control()
    job = submit(control, spec(preemptible=False))
    assert change(control, NODE, "drained").orders == []
    assert control.world.jobs[job].state is JobState.STARTING


def test_a_cordoned_node_keeps_what_runs_and_one_that_is_down_keeps_nothing() -> None:
    control = small_control()
    job = submit(control, spec(preemptible=False))
    assert change(control, NODE, "cordoned").orders == []
    assert node_of(control, submit(control, spec())) == OTHER
    [order] = change(control, NODE, "down").orders
    assert isinstance(order, StopOrder)
    end(control, job, exit_code=-9)
    assert node_of(control, job) == OTHER


def test_watchers_are_told_why_a_node_changed() -> None:
    control = small_control()
    for project in ("chat", "weather"):
        end(control, submit(control, spec(project)), exit_code=1)
    job = submit(control, spec("chat"))
    told = [each.public() for each in end(control, job, exit_code=1).changes if each.name == "node"]
    assert [json.loads(each) for each in told] == [{"node": NODE, "state": "suspect", "reason": "repeated-failures"}]


def test_who_asked_for_a_change_is_in_the_ledger() -> None:
    control = failing_node()
    events = [decode(entry) for entry in control.ledger.entries()]
    assert [event.by for event in events if isinstance(event, NodeChanged)] == [PLATFORM.id]
    assert isinstance(ask(control, ChangeNode(caller=OPERATOR, node=NODE, state="up")), NodeStands)


def test_a_node_that_was_taken_away_while_down_is_a_new_one_when_it_comes_back() -> None:
    small = NATION.replace("guarantee: {H100: 4}", "guarantee: {H100: 2}")
    control = small_control()
    change(control, OTHER, "down")
    for document in (small.replace("count: 2", "count: 1"), small):
        assert isinstance(ask(control, ApplyNation(caller=OPERATOR, nation=nation(document))), NationStands)
    job = submit(control, spec("chat", gpus=4, nodes=2))
    assert control.world.jobs[job].state is JobState.STARTING
    assert not control.halted
