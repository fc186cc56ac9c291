"""Jobs that are submitted together: the ledger and the rows are those of jobs submitted one by one."""

from __future__ import annotations

from dure.control.requests import ApplyNation, CancelJob, JobNotAccepted, SubmitJob, SubmitJobs, SubmittedJobs
from dure.model.datasets import Purpose
from dure.model.events import AccessRefused, CancelRequested, JobSubmitted, encode_all
from dure.model.jobs import ArrayRange, JobSpec, JobState
from dure.world.world import WORTH_A_RUN

from .builders import HANBIT, NATION, OPERATOR, START_MS, ask, empty_control, nation, run, spec

FORBIDDEN = (
    "datasets:\n  - {name: scans, owner: ministry, classes: [medical], jurisdiction: KR, purposes: [education],"
    " sites: [daejeon], readers: [hanbit]}\n"
)


def sweep() -> tuple[JobSpec, ...]:
    """Jobs of all kinds, among them some that are refused, one that is denied, and one that waits for one before it."""
    many = [spec(name=f"n{number}", gpus=number % 3) for number in range(2 * WORTH_A_RUN)]
    denied = spec(name="denied", data=("scans",), purpose=Purpose.RESEARCH)
    return (
        *many,
        denied,
        spec(name="too-large", gpus=64),
        spec(name="after", depends=("j3",)),
        spec(name="array", array=ArrayRange(first=0, last=3)),
        spec(name="later", not_before_ms=START_MS + 60_000),
        *many,
    )


def test_a_batch_is_written_as_its_jobs_would_be_one_by_one() -> None:
    together, apart = empty_control(), empty_control()
    for control in (together, apart):
        ask(control, ApplyNation(caller=OPERATOR, nation=nation(NATION + FORBIDDEN)))
    batch = run(together, [SubmitJobs(caller=HANBIT, specs=sweep())])
    singles = [run(apart, [SubmitJob(caller=HANBIT, spec=each)]) for each in sweep()]
    [answer] = batch.answers
    assert isinstance(answer, SubmittedJobs)
    codes = [each.code for each in answer.jobs if isinstance(each, JobNotAccepted)]
    assert codes == ["forbidden-by-policy", "no-node-large-enough"]
    kinds = (JobSubmitted, AccessRefused)
    written = [event for step in singles for event in step.events if isinstance(event, kinds)]
    assert encode_all([event for event in batch.events if isinstance(event, kinds)]) == encode_all(written)
    contents = [row for step in singles for row in step.rows if row.table == "specs"]
    assert [row for row in batch.rows if row.table == "specs"] == contents
    assert {job: card.submitted for job, card in together.world.jobs.items()} == {
        job: card.submitted for job, card in apart.world.jobs.items()
    }


def test_what_comes_after_submissions_in_a_step_sees_them() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation()))
    jobs = [SubmitJob(caller=HANBIT, spec=spec(name=f"n{number}", gpus=0)) for number in range(WORTH_A_RUN)]
    step = run(control, [*jobs, CancelJob(caller=HANBIT, job="j2"), *jobs])
    assert control.world.jobs["j2"].state is JobState.CANCELLED
    is_cancel = [isinstance(event, CancelRequested) for event in step.events]
    assert is_cancel.index(True) == WORTH_A_RUN


def test_watchers_of_a_batch_are_told_of_each_job_as_it_was_then() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation()))
    specs = tuple(spec(name=f"n{number}", gpus=4) for number in range(WORTH_A_RUN))
    step = run(control, [SubmitJobs(caller=HANBIT, specs=specs)])
    run(control, [CancelJob(caller=HANBIT, job="j8")])
    told = [change.full() for change in step.changes]
    assert [b'"job":"j%d"' % number in each for number, each in enumerate(told, 1)] == [True] * WORTH_A_RUN
    assert b'"state":"queued"' in told[7]
    assert b'"name":"n7"' in told[7]
    assert b'"name":"n7"' not in step.changes[7].public()
