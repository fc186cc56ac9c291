"""A platform that has run for long: how soon it serves again with a million entries, and what many running jobs take.

The ledgers are made of the events that a platform would have written, one after the other; the servers are real.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.http import url_when_ready
from benchmarks.measurement import Measurement
from dure.bootstrap import open_ledger, prepare_state
from dure.intake.nationfile import nation_from_yaml
from dure.model.events import AnyEvent, AttemptEnded, AttemptStarted, JobSubmitted, NationApplied, Planned, encode_all
from dure.model.jobs import Outcome
from dure.model.plan import Placement, Plan, Start

ENTRIES = 1_000_000
TAIL = 10_000
RUNNING = 100_000
PIECE = 20_000
START_MS = 1_790_000_000_000
TRIES = 3

NATION = """
gpu_classes: {{H100: {{}}}}
sites:
  - {{name: here, country: KR, owner: lab, engine: {engine}, nodes: [
      {{name: node, count: {nodes}, gpus: "H100:8", cpus: 64, memory: 512GB}}]}}
organisations:
  - {{name: lab, kind: university, country: KR, parent_country: KR, projects: [vision]}}
shares:
  - {{name: lab, guarantee: {{H100: {gpus}}}}}
"""


def measure() -> list[Measurement]:
    """Restart with a snapshot and a tail, and memory with many running jobs."""
    return [_restart(), _memory()]


def _restart() -> Measurement:
    with tempfile.TemporaryDirectory(prefix="dure-bench-") as name:
        state = Path(name) / "state"
        _write_ledger(state, "local", 1, _jobs_that_ended(0, ENTRIES - TAIL))
        subprocess.run([sys.executable, "-c", _SNAPSHOT, str(state)], check=True, stdout=subprocess.DEVNULL)
        append(state, _jobs_that_ended(ENTRIES - TAIL, ENTRIES))
        took = []
        for _ in range(TRIES):
            began = time.perf_counter()
            with _server(state):
                took.append(time.perf_counter() - began)
    return Measurement(
        name=f"restart with {ENTRIES:,} ledger entries to serving (snapshot and {TAIL:,} entries after it)",
        value=sorted(took)[TRIES // 2],
        unit="s",
        must=5,
        aim=None,
        better="less",
        compared_to="replaying it all: about a minute",
    )


def _memory() -> Measurement:
    with tempfile.TemporaryDirectory(prefix="dure-bench-") as name:
        state = Path(name) / "state"
        # Nobody has set up the way to this engine, so the jobs run on, out of contact.
        _write_ledger(state, "slurm", RUNNING // 8, jobs_that_run(RUNNING))
        with _server(state) as process:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    kib = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    return Measurement(
        name=f"memory of a server with {RUNNING:,} running jobs",
        value=kib / 1024,
        unit="MiB",
        must=2_048,
        aim=None,
        better="less",
        compared_to="",
    )


def _jobs_that_ended(first: int, last: int) -> Iterator[AnyEvent]:
    for number in range(first // 4 + 1, last // 4 + 1):
        at_ms = START_MS + number * 10
        yield from _begun(number, at_ms, "node-0000", 0)
        outcome = Outcome.SUCCEEDED
        yield AttemptEnded(at_ms=at_ms + 3, job=f"j{number}", attempt=1, outcome=outcome, exit_code=0)


def jobs_that_run(count: int, data: tuple[str, ...] = (), since_ms: int = START_MS) -> Iterator[AnyEvent]:
    """One job on each GPU, eight to a node, that began shortly after `since_ms` and are not over."""
    for number in range(1, count + 1):
        yield from _begun(number, since_ms + number, f"node-{(number - 1) // 8:04d}", (number - 1) % 8, data)


def _begun(number: int, at_ms: int, node: str, gpu: int, data: tuple[str, ...] = ()) -> Iterator[AnyEvent]:
    job = f"j{number}"
    yield JobSubmitted(
        at_ms=at_ms,
        job=job,
        project="vision",
        by="t1",
        commitment=hashlib.sha256(job.encode()).hexdigest(),
        gpus=(("H100", 1000),),
        nodes=1,
        cpus=1,
        memory_mib=1024,
        time_ms=24 * 3_600_000,
        within="site",
        priority=0,
        preemptible=True,
        checkpoint_every_ms=0,
        retry_limit=0,
        retry_backoff_ms=0,
        depends=(),
        data=data,
        purpose="research",
        sites=("here",),
    )
    placement = Placement(node=node, gpus=(gpu,), milli=1000)
    start = Start(job=job, attempt=1, site="here", gpu_class="H100", placements=(placement,), borrowed=False)
    yield Planned(at_ms=at_ms, plan=Plan(at_ms=at_ms, decisions=(start,)))
    yield AttemptStarted(at_ms=at_ms, job=job, attempt=1)


def _write_ledger(state: Path, engine: str, nodes: int, events: Iterator[AnyEvent]) -> None:
    prepare_state(state)
    nation = nation_from_yaml(NATION.format(engine=engine, nodes=nodes, gpus=nodes * 8))
    append(state, iter([NationApplied(at_ms=START_MS, by="platform", nation=nation)]))
    append(state, events)


def append(state: Path, events: Iterator[AnyEvent]) -> None:
    """Put these events into the ledger of a state folder."""
    ledger = open_ledger(state)
    piece: list[AnyEvent] = []
    for event in events:
        piece.append(event)
        if len(piece) == PIECE:
            ledger.append(ledger.size, encode_all(piece), [], event.at_ms)
            piece = []
    if piece:
        ledger.append(ledger.size, encode_all(piece), [], piece[-1].at_ms)
    ledger.close()


_SNAPSHOT = "from dure import bootstrap; bootstrap.take_snapshot()"


@contextmanager
def _server(state: Path) -> Iterator[subprocess.Popen[str]]:
    """A real server on a state folder, from when it serves."""
    command = [sys.executable, "-m", "dure.cli.main", "up", "--port", "0", "--state", str(state)]
    with open(os.devnull, "w", encoding="ascii") as nowhere:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=nowhere, text=True)
        try:
            url_when_ready(process)
            yield process
        finally:
            process.terminate()
            process.wait()
