"""The loop without clock, threads or wire."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import msgspec
import pytest

from dure import kernel
from dure.control.access import Role
from dure.control.orders import LaunchOrder, StopOrder, WarnOrder
from dure.control.ports import Ended, LedgerFenced, NeverStarted, Row, Started
from dure.control.requests import (
    ApplyNation,
    CancelJob,
    ChangeNode,
    IssueToken,
    JobStands,
    NationStands,
    NotDone,
    NotDoneCode,
    RevokeToken,
    StoreSecret,
    SubmitJob,
    Submitted,
    TokenIssuedOnce,
)
from dure.intake.refusals import Refusal, RefusalCode
from dure.ledger.memory import MemoryLedger
from dure.model.events import (
    AccessRefused,
    AttemptEnded,
    CancelRequested,
    JobReleased,
    JobSubmitted,
    LedgerRestored,
    Planned,
    TooLate,
    decode,
    encode,
)
from dure.model.jobs import ArrayRange, Checkpoint, JobState, Outcome, Retry
from dure.model.plan import Placement, Plan, Start
from dure.reports.usage import Attempt

from .builders import (
    AUDITOR,
    HANBIT,
    MINISTRY,
    NATION,
    OPERATOR,
    START_MS,
    ask,
    empty_control,
    nation,
    run,
    small_control,
    spec,
    submit,
)


def test_a_job_is_accepted_decided_and_launched_in_one_step() -> None:
    control = small_control()
    step = run(control, [SubmitJob(caller=HANBIT, spec=spec(env={"A": "1"}))])
    assert step.answers == [Submitted(jobs=("j1",))]
    assert [type(event) for event in step.events] == [JobSubmitted, Planned]
    [order] = step.orders
    assert isinstance(order, LaunchOrder)
    assert order.launch.attempt_id == "j1.1"
    assert order.launch.placements == (Placement(node="dj-0000", gpus=(0,), milli=1000),)
    assert order.launch.env == {"A": "1", "DURE_PROJECT": "chat", "DURE_PURPOSE": "research"}
    assert order.launch.checkpoint_dir == "/checkpoints/j1"


def test_what_a_job_runs_is_not_in_the_ledger_but_committed_to() -> None:
    control = small_control()
    submit(control, spec(command=("python", "private.py"), env={"KEY": "private"}))
    entries = b"".join(control.ledger.entries())
    assert b"private" not in entries
    row = control.ledger.row("specs", "j1")
    assert row is not None
    assert sha256(row).hexdigest().encode() in entries


def test_a_job_lives_from_queue_to_success() -> None:
    control = small_control()
    submit(control, spec())
    run(control, seen=[Started(attempt_id="j1.1", at_ms=START_MS + 5)], now_ms=START_MS + 10)
    assert control.world.jobs["j1"].state is JobState.RUNNING
    run(control, seen=[Ended(attempt_id="j1.1", at_ms=START_MS + 3_000, exit_code=0)], now_ms=START_MS + 3_010)
    card = control.world.jobs["j1"]
    assert (card.state, card.ended_at_ms) == (JobState.SUCCEEDED, START_MS + 3_000)
    record = msgspec.json.decode(control.ledger.row("attempts", "j1.1") or b"", type=Attempt)
    assert (record.organisation, record.gpus_milli, record.outcome) == ("hanbit", 1000, "succeeded")
    assert record.ended_at_ms == START_MS + 3_000


def test_what_is_already_known_is_not_written_again() -> None:
    control = small_control()
    submit(control, spec())
    ended = Ended(attempt_id="j1.1", at_ms=START_MS, exit_code=0)
    run(control, seen=[ended, ended], now_ms=START_MS + 1)
    size = control.position
    step = run(control, seen=[ended, Started(attempt_id="j1.1", at_ms=START_MS)], now_ms=START_MS + 2)
    assert control.position == size
    assert not step.events


def test_an_attempt_that_nobody_wants_any_more_is_stopped() -> None:
    control = small_control()
    [order] = run(control, seen=[Started(attempt_id="j7.1", at_ms=START_MS)]).orders
    assert isinstance(order, StopOrder)
    assert order.attempt_id == "j7.1"


def test_after_a_restore_no_job_is_taken_for_one_that_the_backup_does_not_know() -> None:
    ledger = MemoryLedger()
    control = small_control(ledger)
    submit(control, spec())
    ledger.append(ledger.size, [encode(LedgerRestored(at_ms=START_MS, first_job=1_000_000))], [], START_MS)
    control.rebuild()
    [orphan] = run(control, seen=[Started(attempt_id="j2.1", at_ms=START_MS)]).orders
    assert isinstance(orphan, StopOrder)
    assert submit(control, spec()) == "j1000000"


def test_a_borrower_is_warned_stopped_and_queued_again_whatever_its_exit_code() -> None:
    control = small_control()
    submit(control, spec("chat", gpus=4, checkpoint=Checkpoint(signal="USR1")))
    submit(control, spec("chat", gpus=4, checkpoint=Checkpoint(signal="USR1")))
    step = run(control, [SubmitJob(caller=MINISTRY, spec=spec("weather", gpus=4))], now_ms=START_MS + 1_000)
    borrower = next(job for job, card in control.world.jobs.items() if card.state is JobState.WARNED)
    [warning] = step.orders
    assert isinstance(warning, WarnOrder)
    assert (warning.attempt_id, warning.signal, warning.stop_at_ms) == (f"{borrower}.1", "USR1", START_MS + 2_000)
    [stop] = run(control, now_ms=START_MS + 2_000).orders
    assert isinstance(stop, StopOrder)
    assert (stop.attempt_id, stop.grace_ms) == (f"{borrower}.1", 2_000)
    step = run(
        control, seen=[Ended(attempt_id=f"{borrower}.1", at_ms=START_MS + 2_100, exit_code=0)], now_ms=START_MS + 2_100
    )
    ended = next(event for event in step.events if isinstance(event, AttemptEnded))
    assert ended.outcome is Outcome.PREEMPTED
    assert [order.attempt_id for order in step.orders] == ["j3.1"]
    assert control.world.jobs[borrower].state is JobState.QUEUED


@pytest.mark.parametrize(("exit_code", "state"), [(0, JobState.SUCCEEDED), (75, JobState.QUEUED), (1, JobState.FAILED)])
def test_a_warned_job_that_ends_by_itself_says_with_its_exit_code_what_it_means(
    exit_code: int, state: JobState
) -> None:
    control = small_control()
    submit(control, spec("chat", gpus=4))
    submit(control, spec("chat", gpus=4))
    submit(control, spec("weather", gpus=4))
    borrower = next(job for job, card in control.world.jobs.items() if card.state is JobState.WARNED)
    run(
        control,
        seen=[Ended(attempt_id=f"{borrower}.1", at_ms=START_MS + 10, exit_code=exit_code)],
        now_ms=START_MS + 10,
    )
    assert control.world.jobs[borrower].state is state


def test_a_cancelled_running_job_is_stopped_and_stays_cancelled() -> None:
    control = small_control()
    submit(control, spec())
    step = run(control, [CancelJob(caller=HANBIT, job="j1")], now_ms=START_MS + 1)
    assert [type(order) for order in step.orders] == [StopOrder]
    run(control, seen=[Ended(attempt_id="j1.1", at_ms=START_MS + 5, exit_code=0)], now_ms=START_MS + 5)
    assert control.world.jobs["j1"].state is JobState.CANCELLED
    reply = ask(control, CancelJob(caller=HANBIT, job="j1"), START_MS + 6)
    assert isinstance(reply, NotDone)
    assert reply.code is NotDoneCode.JOB_IS_OVER


def test_a_waiting_job_is_cancelled_at_once() -> None:
    control = small_control()
    for _ in range(3):
        submit(control, spec(gpus=4))
    assert ask(control, CancelJob(caller=HANBIT, job="j3")) == JobStands(job="j3", state=JobState.CANCELLED)


def test_nobody_cancels_another_organisations_job() -> None:
    control = small_control()
    submit(control, spec())
    for caller in (MINISTRY, AUDITOR):
        reply = ask(control, CancelJob(caller=caller, job="j1"))
        assert isinstance(reply, NotDone)
        assert reply.code is NotDoneCode.NOT_YOUR_JOB
    assert control.world.jobs["j1"].state is JobState.STARTING


def test_a_failed_job_is_tried_again_after_its_backoff() -> None:
    control = small_control()
    submit(control, spec(retry=Retry(limit=1, backoff_ms=1_000)))
    run(control, seen=[Ended(attempt_id="j1.1", at_ms=START_MS + 10, exit_code=3)], now_ms=START_MS + 10)
    assert control.world.jobs["j1"].state is JobState.HELD
    assert control.world.next_wake_ms() == START_MS + 1_010
    [order] = run(control, now_ms=START_MS + 1_010).orders
    assert isinstance(order, LaunchOrder)
    assert order.launch.attempt_id == "j1.2"


def test_a_dependent_job_starts_after_success_and_is_cancelled_after_failure() -> None:
    control = small_control()
    for _ in range(2):
        submit(control, spec())
    submit(control, spec(depends=("j1",)))
    submit(control, spec(depends=("j2",)))
    submit(control, spec(depends=("j4",)))
    assert control.world.jobs["j3"].state is JobState.HELD
    seen = [
        Ended(attempt_id="j1.1", at_ms=START_MS, exit_code=0),
        Ended(attempt_id="j2.1", at_ms=START_MS, exit_code=9),
    ]
    run(control, seen=seen, now_ms=START_MS + 1)
    states = [control.world.jobs[job].state for job in ("j3", "j4", "j5")]
    assert states == [JobState.STARTING, JobState.CANCELLED, JobState.CANCELLED]


def test_a_job_that_is_too_late_is_cancelled_and_the_ledger_says_why() -> None:
    control = small_control()
    first = submit(control, spec(gpus=4, nodes=2, preemptible=True))
    late = submit(control, spec(not_after_ms=START_MS + 60_000))
    waiting = submit(control, spec(deadline_ms=START_MS + 2 * 3_600_000))
    assert run(control, now_ms=START_MS + 60_000).events == []
    step = run(control, now_ms=START_MS + 60_001)
    (cancelled,) = step.events
    assert isinstance(cancelled, CancelRequested)
    assert (cancelled.job, cancelled.by, cancelled.too_late) == (late, OPERATOR.id, TooLate.TO_START)
    states = {job: control.world.jobs[job].state for job in (first, late, waiting)}
    assert states == {first: JobState.STARTING, late: JobState.CANCELLED, waiting: JobState.QUEUED}


def test_a_job_for_later_is_held_and_starts_when_its_time_has_come() -> None:
    control = small_control()
    job = submit(control, spec(not_before_ms=START_MS + 60_000))
    assert control.world.jobs[job].state is JobState.HELD
    assert control.world.next_wake_ms() == START_MS + 60_000
    step = run(control, now_ms=START_MS + 60_000)
    assert [type(event) for event in step.events] == [JobReleased, Planned]
    assert control.world.jobs[job].state is JobState.STARTING


def test_tasks_of_an_array_share_a_spec_and_know_their_number() -> None:
    control = small_control()
    step = run(control, [SubmitJob(caller=HANBIT, spec=spec(array=ArrayRange(first=3, last=4)))])
    assert step.answers == [Submitted(jobs=("j1",), array=ArrayRange(first=3, last=4))]
    launches = [order.launch for order in step.orders if isinstance(order, LaunchOrder)]
    assert [launch.env["DURE_ARRAY_TASK"] for launch in launches] == ["3", "4"]
    assert submit(control, spec()) == "j2"
    control.rebuild()
    assert submit(control, spec()) == "j3"


def test_an_attempt_that_cannot_be_started_is_tried_three_times() -> None:
    control = small_control()
    submit(control, spec())
    for attempt in (1, 2, 3):
        assert control.world.jobs["j1"].state is JobState.STARTING
        assert control.world.jobs["j1"].attempt == attempt
        control.rebuild()
        run(control, seen=[NeverStarted(attempt_id=f"j1.{attempt}", at_ms=START_MS, reason="no disk")])
    assert control.world.jobs["j1"].state is JobState.FAILED


def test_the_same_key_and_document_is_accepted_once() -> None:
    control = small_control()
    twice = SubmitJob(caller=HANBIT, spec=spec(), key="k", digest="d")
    step = run(control, [twice, twice])
    assert step.answers == [Submitted(jobs=("j1",))] * 2
    assert ask(control, twice) == Submitted(jobs=("j1",))
    control.rebuild()
    assert ask(control, twice) == Submitted(jobs=("j1",))
    assert list(control.world.jobs) == ["j1"]


def test_the_same_key_with_another_document_is_refused() -> None:
    control = small_control()
    ask(control, SubmitJob(caller=HANBIT, spec=spec(), key="k", digest="d"))
    reply = ask(control, SubmitJob(caller=HANBIT, spec=spec(), key="k", digest="other"))
    assert isinstance(reply, NotDone)
    assert reply.code is NotDoneCode.IDEMPOTENCY_KEY_REUSED
    assert isinstance(ask(control, SubmitJob(caller=MINISTRY, spec=spec("weather"), key="k", digest="x")), Submitted)


def test_a_refused_job_leaves_no_trace() -> None:
    control = small_control()
    size = control.position
    reply = ask(control, SubmitJob(caller=MINISTRY, spec=spec("chat"), key="k", digest="d"))
    assert isinstance(reply, Refusal)
    assert reply.code is RefusalCode.NOT_YOUR_PROJECT
    assert control.position == size
    assert control.ledger.rows("specs") == control.ledger.rows("requests") == []
    assert submit(control, spec()) == "j1"


def test_a_denial_by_policy_is_evidence() -> None:
    forbidden = NATION.replace(
        "country: KR, parent_country: KR, projects: [chat", "country: US, parent_country: US, projects: [chat"
    )
    document = forbidden + (
        "datasets:\n  - {name: scans, owner: ministry, classes: [medical], jurisdiction: KR, purposes: [research],"
        " sites: [daejeon], readers: [ministry]}\n"
    )
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(document)))
    step = run(control, [SubmitJob(caller=HANBIT, spec=spec(data=("scans",)))])
    [reply] = step.answers
    assert isinstance(reply, Refusal)
    assert reply.code is RefusalCode.FORBIDDEN_BY_POLICY
    [event] = step.events
    assert isinstance(event, AccessRefused)
    assert event.rules == reply.rules != ()


def test_a_token_is_shown_once_and_kept_only_as_a_digest() -> None:
    control = small_control()
    issued = ask(control, IssueToken(caller=OPERATOR, role=Role.MEMBER, organisation="hanbit"))
    assert isinstance(issued, TokenIssuedOnce)
    control.rebuild()
    caller = control.memory.tokens.caller(issued.text, START_MS)
    assert caller is not None
    assert (caller.role, caller.organisation) == (Role.MEMBER, "hanbit")
    kept = b"".join(control.ledger.entries()) + b"".join(body for _, body in control.ledger.rows("tokens"))
    assert issued.text.encode() not in kept
    ask(control, RevokeToken(caller=OPERATOR, token=issued.card.id))
    assert control.memory.tokens.caller(issued.text, START_MS) is None
    control.rebuild()
    assert control.memory.tokens.caller(issued.text, START_MS) is None


def test_a_members_token_needs_a_known_organisation() -> None:
    control = small_control()
    for organisation in ("", "nobody"):
        reply = ask(control, IssueToken(caller=OPERATOR, role=Role.MEMBER, organisation=organisation))
        assert isinstance(reply, NotDone)
        assert reply.code is NotDoneCode.UNKNOWN_ORGANISATION


def test_a_secret_reaches_the_job_and_nothing_else() -> None:
    control = small_control()
    job = SubmitJob(caller=HANBIT, spec=spec(secrets=("API_KEY",)))
    reply = ask(control, job)
    assert isinstance(reply, NotDone)
    assert reply.code is NotDoneCode.MISSING_CREDENTIAL
    stored = StoreSecret(caller=HANBIT, project="chat", name="API_KEY", value=b"hunter2")
    step = run(control, [stored, job])
    [order] = step.orders
    assert isinstance(order, LaunchOrder)
    assert order.launch.secret_env == {"API_KEY": "hunter2"}
    everything = b"".join(control.ledger.entries()) + b"".join(row.body or b"" for row in step.rows)
    assert b"hunter2" not in everything
    assert "hunter2" not in repr(stored)
    control.rebuild()
    assert control.memory.secrets.value("chat", "API_KEY") == "hunter2"


def test_only_its_own_organisation_sets_a_projects_secret() -> None:
    control = small_control()
    reply = ask(control, StoreSecret(caller=MINISTRY, project="chat", name="A", value=b"x"))
    assert isinstance(reply, NotDone)
    assert reply.code is NotDoneCode.NOT_YOUR_PROJECT


def test_applying_a_nation_twice_changes_nothing_the_second_time() -> None:
    control = small_control()
    size = control.position
    assert ask(control, ApplyNation(caller=OPERATOR, nation=nation())) == NationStands(changes=(), applied=True)
    assert control.position == size


def test_a_drained_node_takes_nothing_new() -> None:
    control = small_control()
    for node in ("dj-0000", "dj-0001"):
        ask(control, ChangeNode(caller=OPERATOR, node=node, state="drained"))
    submit(control, spec())
    assert control.world.jobs["j1"].state is JobState.QUEUED
    [order] = run(control, [ChangeNode(caller=OPERATOR, node="dj-0001", state="up")]).orders
    assert isinstance(order, LaunchOrder)
    assert order.launch.placements[0].node == "dj-0001"


def test_a_plan_that_breaks_a_promise_is_not_written_and_starts_are_halted(monkeypatch: pytest.MonkeyPatch) -> None:
    control = small_control()

    def greedy(world: object, now_ms: int) -> Plan:
        place = Placement(node="dj-0000", gpus=(8, 9), milli=1000)
        start = Start(job="j1", attempt=1, site="daejeon", gpu_class="H100", placements=(place,), borrowed=False)
        return Plan(at_ms=now_ms, decisions=(start,))

    monkeypatch.setattr(kernel, "decide", greedy)
    step = run(control, [SubmitJob(caller=HANBIT, spec=spec(gpus=2))])
    assert step.answers == [Submitted(jobs=("j1",))], "requests still count"
    assert step.orders == []
    assert not any(isinstance(decode(entry), Planned) for entry in control.ledger.entries())
    assert control.halted
    monkeypatch.undo()
    assert run(control, now_ms=START_MS + 1).orders == [], "until somebody has looked"


class FullDisk(MemoryLedger):
    """Refuses appends while `is_full`."""

    is_full = False

    def append(self, expected_size: int, entries: Sequence[bytes], rows: Sequence[Row], at_ms: int) -> None:
        if self.is_full:
            raise OSError("no space left on device")
        super().append(expected_size, entries, rows, at_ms)


def test_a_batch_that_could_not_be_written_never_happened() -> None:
    ledger = FullDisk()
    control = small_control(ledger)
    ledger.is_full = True
    with pytest.raises(OSError, match="no space"):
        run(control, [SubmitJob(caller=HANBIT, spec=spec(), key="k", digest="d")])
    ledger.is_full = False
    control.rebuild()
    assert control.world.jobs == {}
    assert submit(control, spec(), key="k") == "j1"


def test_a_writer_that_was_overtaken_writes_nothing() -> None:
    ledger = MemoryLedger()
    control, other = small_control(ledger), empty_control(ledger)
    submit(other, spec())
    with pytest.raises(LedgerFenced):
        submit(control, spec())
    control.rebuild()
    assert submit(control, spec()) == "j2"
