"""What the platform itself recorded of a job: when it held which GPUs, where, for what, and on which data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.model.model_versions import DatasetUse, HardwareTime, JobRun, Precision
from dure.reports.usage import Attempt
from dure.world.cards import JobCard
from dure.world.templates import split_copy

_ATTEMPT = msgspec.json.Decoder(Attempt)
_CARD = msgspec.json.Decoder(JobCard)


def card_of(job: str, memory: Memory) -> JobCard | None:
    """A job's card, from memory or, long after its end, from the ledger's rows."""
    card = memory.world.card_of(job)
    if card is not None:
        return card
    row = memory.ledger.row("jobs", job)
    return _CARD.decode(row) if row is not None else None


def attempts_of(job: str, memory: Memory, draft: Draft | None = None) -> list[Attempt]:
    """Every attempt of a job, or of an array's tasks and a service's replicas, as of the draft's step."""
    rows = dict(row for mark in "._" for row in memory.ledger.rows("attempts", f"{job}{mark}"))
    for row in draft.rows if draft else ():
        if row.table == "attempts" and row.body is not None and row.key.startswith((f"{job}.", f"{job}_")):
            rows[row.key] = row.body
    return [_ATTEMPT.decode(body) for body in rows.values()]


def hardware_time(attempts: Iterable[Attempt], now_ms: int) -> tuple[HardwareTime, ...]:
    """GPU time by class, exactly: what attempts that still run have held up to now counts as well."""
    held: Counter[str] = Counter()
    for each in attempts:
        if each.gpu_class:
            ended_at_ms = now_ms if each.ended_at_ms is None else each.ended_at_ms
            held[each.gpu_class] += each.gpus_milli * max(0, ended_at_ms - each.started_at_ms)
    return tuple(HardwareTime(gpu_class=name, gpu_milli_ms=held[name]) for name in sorted(held))


def job_run(
    card: JobCard, precision: Precision | None, busy_percent: int | None, memory: Memory, draft: Draft
) -> JobRun:
    """The record of a job that is over."""
    asked = card.submitted
    attempts = sorted(attempts_of(card.job, memory, draft), key=lambda each: each.started_at_ms)
    ends = [each.ended_at_ms for each in attempts if each.ended_at_ms is not None]
    return JobRun(
        job=card.job,
        project=asked.project,
        commitment=asked.commitment,
        submitted_at_ms=asked.at_ms,
        started_at_ms=attempts[0].started_at_ms if attempts else 0,
        ended_at_ms=max(ends, default=0),
        attempts=tuple((each.started_at_ms, each.ended_at_ms or 0) for each in attempts),
        hardware=hardware_time(attempts, draft.now_ms),
        sites=(card.site,) if card.site else (),
        data=tuple(_uses(asked.data, memory)),
        purpose=asked.purpose,
        agreements=asked.agreements,
        precision=precision or _declared_precision(card.job, memory),
        busy_percent=busy_percent,
    )


def _uses(names: Iterable[str], memory: Memory) -> Iterator[DatasetUse]:
    digests = {each.name: each.digest for each in memory.world.nation.datasets}
    return (DatasetUse(dataset=name, digest=digests.get(name, "")) for name in names)


def _declared_precision(job: str, memory: Memory) -> Precision | None:
    spec = memory.specs.of(split_copy(job)[0])
    return spec.precision if spec is not None else None
