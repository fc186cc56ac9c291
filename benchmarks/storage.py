"""What it costs to keep the ledger in PostgreSQL instead of SQLite, and how soon a standby serves for a dead leader.

A real PostgreSQL server on this machine, beside everything else, with full durability; the SQLite figures of the same
run are in the sections `ledger` and `http`.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx

from benchmarks.http import BATCH, BATCH_CLIENTS, CLIENTS, submissions_per_s
from benchmarks.ledger import _batches, append_all
from benchmarks.measurement import Figure, Measurement, Skipped
from dure.ledger.contract import Row
from dure.ledger.note import Signer
from dure.ledger.postgres import PostgresLedger
from dure.ledger.sqlite import SqliteLedger
from tests.control.server import ServerProcess, end_everything
from tests.postgres import PostgresServer, running_postgres, why_not

SMALL_BATCH = 32
SMALL_BATCHES = 600
FAILOVERS = 3
_SIGNER = Signer.generate("dure.example/bench")


def measure() -> list[Figure]:
    """Appends in large and small batches, submissions over HTTP, and failovers."""
    if reason := why_not():
        return [Skipped("the ledger in PostgreSQL", reason)]
    with running_postgres() as server, tempfile.TemporaryDirectory(prefix="dure-bench-") as folder:
        path = Path(folder)
        return [
            _rate("ledger entries appended durably to PostgreSQL, in batches of 1,000", server, _large_batches, 20_000),
            _rate(f"the same in batches of {SMALL_BATCH}", server, _small_batches, None),
            _sqlite_rate(f"the same in SQLite, in batches of {SMALL_BATCH}", path),
            *_submissions(server),
            _failover(server, path),
        ]


def _rate(
    name: str, server: PostgresServer, batches: Callable[[], list[tuple[list[bytes], list[Row]]]], must: float | None
) -> Measurement:
    with closing(PostgresLedger.open(server.new_database(), _SIGNER)) as ledger:
        return _figure(name, append_all(ledger, batches()), must)


def _sqlite_rate(name: str, folder: Path) -> Measurement:
    with closing(SqliteLedger.open(folder / "ledger.sqlite", _SIGNER)) as ledger:
        return _figure(name, append_all(ledger, _small_batches()), None)


def _figure(name: str, per_s: float, must: float | None) -> Measurement:
    return Measurement(name=name, value=per_s, unit="entries/s", must=must, aim=None, better="more", compared_to="")


def _large_batches() -> list[tuple[list[bytes], list[Row]]]:
    return list(_batches())


def _small_batches() -> list[tuple[list[bytes], list[Row]]]:
    """What a busy platform appends at a time."""
    small = [
        (entries[first : first + SMALL_BATCH], rows[first : first + SMALL_BATCH])
        for entries, rows in _batches()
        for first in range(0, len(entries), SMALL_BATCH)
    ]
    return small[:SMALL_BATCHES]


def _submissions(server: PostgresServer) -> list[Measurement]:
    single, in_batches = submissions_per_s(["--database", server.new_database()])
    return [
        Measurement(
            name=f"submissions over HTTP with the ledger in PostgreSQL, durable before the answer, {CLIENTS} clients",
            value=single,
            unit="jobs/s",
            must=3_000,
            aim=8_000,
            better="more",
            compared_to="",
        ),
        Measurement(
            name=f"jobs in batches of {BATCH:,} over HTTP with the ledger in PostgreSQL, {BATCH_CLIENTS} clients",
            value=in_batches,
            unit="jobs/s",
            must=20_000,
            aim=None,
            better="more",
            compared_to="",
        ),
    ]


def _failover(server: PostgresServer, folder: Path) -> Measurement:
    """The worst of several: from SIGKILL to the leader until the standby answers as the leader."""
    options = ["--database", server.new_database()]
    state = folder / "state"
    leader = ServerProcess(state, 0, options, name="0")
    took_s = []
    try:
        for number in range(1, FAILOVERS + 1):
            standby = ServerProcess(state, 0, options, name=str(number), ready="stands by at")
            _until(standby, "standby")
            # It loads what it will need while it stands by.
            time.sleep(3)
            leader.process.send_signal(signal.SIGKILL)
            began = time.perf_counter()
            _until(standby, "ok")
            took_s.append(time.perf_counter() - began)
            leader.process.wait()
            leader = standby
    finally:
        leader.kill()
        end_everything(state)
    return Measurement(
        name="a killed leader is replaced by the standby, the worst of three",
        value=max(took_s),
        unit="s",
        must=5,
        aim=None,
        better="less",
        compared_to="Slurm: SlurmctldTimeout, 120 s unless set",
    )


def _until(server: ServerProcess, status: str) -> None:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
        while True:
            try:
                if http.get("/v1/health").json()["status"] == status:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.01)
