"""How fast the ledger takes entries durably, and how fast it is verified from entries to signed root."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from benchmarks.measurement import Measurement
from dure.ledger.contract import Ledger, Row
from dure.ledger.note import Signer
from dure.ledger.sqlite import SqliteLedger
from dure.ledger.verify import verify
from dure.model.events import AnyEvent, AttemptEnded, AttemptStarted, JobSubmitted, Planned, encode
from dure.model.jobs import Outcome
from dure.model.plan import Placement, Plan, Start

JOBS = 25_000
BATCH = 1_000
FIRST_MS = 1_760_000_000_000
FASTEST_OF = 3


def measure() -> list[Measurement]:
    """Append 25,000 jobs' lives (100,000 entries) with a row per entry, then verify them."""
    with tempfile.TemporaryDirectory(prefix="dure-bench-") as folder:
        ledger = SqliteLedger.open(Path(folder) / "ledger.sqlite", Signer.generate("dure.example/bench"))
        batches = list(_batches())
        appended_per_s = append_all(ledger, batches)
        verified_per_s = max(_verify(ledger) for _ in range(FASTEST_OF))
        ledger.close()
    return [
        Measurement(
            name="ledger entries appended durably, in batches of 1,000",
            value=appended_per_s,
            unit="entries/s",
            must=20_000,
            aim=None,
            better="more",
            compared_to="pymerkle 7 SqliteTree: 5 appends/s",
        ),
        Measurement(
            name="ledger entries verified, from bytes to signed root",
            value=verified_per_s,
            unit="entries/s",
            must=300_000,
            aim=None,
            better="more",
            compared_to="hashing the tree alone, in the same language: about 1,000,000 entries/s",
        ),
    ]


def append_all(ledger: Ledger, batches: list[tuple[list[bytes], list[Row]]]) -> float:
    """Append batch by batch. Returns entries per second."""
    began = time.perf_counter()
    for number, (entries, rows) in enumerate(batches):
        ledger.append(ledger.size, entries, rows, FIRST_MS + number * 50)
    return ledger.size / (time.perf_counter() - began)


def _verify(ledger: SqliteLedger) -> float:
    checkpoint = ledger.latest_checkpoint()
    assert checkpoint is not None
    began = time.perf_counter()
    with ledger.stored() as log:
        verdict = verify(log, ledger.verifier)
    seconds = time.perf_counter() - began
    assert verdict.is_sound
    assert verdict.root == checkpoint.root
    return verdict.size / seconds


def _batches() -> Iterator[tuple[list[bytes], list[Row]]]:
    events = [(job, event) for number in range(JOBS) for job, event in _life(number)]
    for first in range(0, len(events), BATCH):
        entries = [(job, encode(event)) for job, event in events[first : first + BATCH]]
        yield [entry for _, entry in entries], [Row("jobs", job, entry) for job, entry in entries]


def _life(number: int) -> Iterator[tuple[str, AnyEvent]]:
    """A two-node gang from submission to its end: four entries, 250 bytes on average."""
    job, at_ms = f"job-{number:07d}", FIRST_MS + number
    nodes = (f"h100-{number % 1000:04d}", f"h100-{number % 1000 + 1000:04d}")
    placements = tuple(Placement(node=node, gpus=tuple(range(8)), milli=1000) for node in nodes)
    start = Start(job=job, attempt=1, site="pangyo", gpu_class="H100", placements=placements, borrowed=True)
    yield job, _submission(job, at_ms)
    yield job, Planned(at_ms=at_ms, plan=Plan(at_ms=at_ms, decisions=(start,)))
    yield job, AttemptStarted(at_ms=at_ms, job=job, attempt=1)
    yield job, AttemptEnded(at_ms=at_ms, job=job, attempt=1, outcome=Outcome.SUCCEEDED, exit_code=0)


def _submission(job: str, at_ms: int) -> JobSubmitted:
    return JobSubmitted(
        at_ms=at_ms,
        job=job,
        project="protein-folding",
        by="t-4f1c9a",
        commitment=sha256(job.encode()).hexdigest(),
        gpus=(("H100", 8000), ("H200", 8000)),
        nodes=2,
        cpus=64,
        memory_mib=524_288,
        time_ms=14_400_000,
        within="site",
        priority=0,
        preemptible=True,
        checkpoint_every_ms=600_000,
        retry_limit=2,
        retry_backoff_ms=1_000,
        depends=(),
        data=("genomes",),
        purpose="research",
        sites=("pangyo", "gwangju"),
    )
