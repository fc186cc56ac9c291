"""How fast a real server takes jobs over HTTP, each durable before its answer, and how soon an idle one starts one.

The server is a process of its own, started as `dure up`; so is the client, whose load is part of the figure, because
both share the machine. The one GPU is taken, so accepted jobs queue; every decision still looks at them.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measurement import Measurement

CLIENTS = 32
BATCH_CLIENTS = 4
BATCH = 1_000
ARRIVALS_PER_S = 1_000
SECONDS = 5.0
WARM_UP_SECONDS = 1.0
STARTS = 40
START_TIMEOUT_S = 180

NATION = """
gpu_classes: {H100: {}}
sites:
  - {name: here, country: KR, owner: lab, nodes: [{name: node, count: 1, gpus: "H100:1", cpus: 32, memory: 64GB}]}
organisations:
  - {name: lab, kind: university, country: KR, parent_country: KR, projects: [vision]}
shares:
  - {name: lab, guarantee: {H100: 1}}
"""
JOB = {"name": "bench", "project": "vision", "gpus": "H100:1", "command": ["sleep", "600"], "time": "1h"}


def measure() -> list[Measurement]:
    """Submissions per second with 32 clients, and the time from submission to the process's first instruction."""
    with _server() as (url, token, folder):
        _send(url, token, "PUT", "/v1/nation", NATION.encode(), "application/yaml")
        started_ms = sorted(_submit_to_start_ms(url, token, folder) for _ in range(STARTS))
        holder = _submit(url, token, JOB)
        result = _load_from_elsewhere(url, token, "single")
        in_batches = _load_from_elsewhere(url, token, "batch")
        reads = _load_from_elsewhere(url, token, "reads")
        # Nothing may run on when the server is gone; draining the node keeps the next in the queue from starting.
        _send(url, token, "POST", "/v1/nodes/node-0000/drain", b"", "application/json")
        _send(url, token, "POST", f"/v1/jobs/{holder}/cancel", b"", "application/json")
    return [
        Measurement(
            name=f"submissions over HTTP, durable before the answer, {CLIENTS} clients",
            value=result["per_s"],
            unit="jobs/s",
            must=3_000,
            aim=8_000,
            better="more",
            compared_to="Slurm, as sites tune it: some hundred sbatch/s",
        ),
        Measurement(
            name="answer to a submission, 99th percentile, at that load",
            value=result["p99_ms"],
            unit="ms",
            must=None,
            aim=50,
            better="less",
            compared_to="",
        ),
        Measurement(
            name=f"jobs in batches of {BATCH:,} over HTTP, durable before the answer, {BATCH_CLIENTS} clients",
            value=in_batches["per_s"],
            unit="jobs/s",
            must=20_000,
            aim=None,
            better="more",
            compared_to="the same server, one job a request: above",
        ),
        Measurement(
            name=f"a read while {ARRIVALS_PER_S:,} jobs/s arrive, 99th percentile",
            value=reads["p99_ms"],
            unit="ms",
            must=50,
            aim=None,
            better="less",
            compared_to=f"{reads['arrived_per_s']:,.0f} jobs/s arrived meanwhile",
        ),
        Measurement(
            name="submit to process start, idle, median",
            value=started_ms[len(started_ms) // 2],
            unit="ms",
            must=50,
            aim=20,
            better="less",
            compared_to="Slurm: at least its scheduler's tick, 1 s or more unless tuned",
        ),
    ]


def submissions_per_s(options: Sequence[str]) -> tuple[float, float]:
    """The same loads, single and in batches, on a server that is started with more options: its ledger elsewhere."""
    with _server(options) as (url, token, _):
        _send(url, token, "PUT", "/v1/nation", NATION.encode(), "application/yaml")
        _send(url, token, "POST", "/v1/nodes/node-0000/drain", b"", "application/json")
        single, in_batches = (_load_from_elsewhere(url, token, kind)["per_s"] for kind in ("single", "batch"))
        return single, in_batches


def _load_from_elsewhere(url: str, token: str, kind: str) -> dict[str, float]:
    """What clients in a process of their own measured."""
    command = [sys.executable, "-m", "benchmarks.http", url, kind]
    found = subprocess.run(command, input=token, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(found.stdout)
    return measured


@contextmanager
def _server(options: Sequence[str] = ()) -> Iterator[tuple[str, str, Path]]:
    """A real server on a state folder that goes when it is no longer needed."""
    with tempfile.TemporaryDirectory(prefix="dure-bench-") as name:
        state = Path(name) / "state"
        process = subprocess.Popen(
            [sys.executable, "-m", "dure.cli.main", "up", "--port", "0", "--state", str(state), *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            url = url_when_ready(process)
            token = (state / "operator.token").read_text().strip()
            yield url, token, Path(name)
        finally:
            process.terminate()
            process.wait()


def url_when_ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"serves at (http://\S+)", line):
            return found[1]
    raise RuntimeError("the server did not start")


def _send(url: str, token: str, method: str, path: str, body: bytes, content_type: str) -> bytes:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
    request = urllib.request.Request(url + path, data=body, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:
        found: bytes = answer.read()
    return found


def _submit(url: str, token: str, document: Mapping[str, object]) -> str:
    answer = _send(url, token, "POST", "/v1/jobs", json.dumps(document).encode(), "application/json")
    job: str = json.loads(answer)["jobs"][0]
    return job


def _submit_to_start_ms(url: str, token: str, folder: Path) -> float:
    """From before the request is sent until the job's own process reads the clock; then wait until it is over."""
    started = folder / "started"
    read_clock = f"date +%s%N > {started}.part && mv {started}.part {started}"
    began_ns = time.time_ns()
    job = _submit(url, token, dict(JOB) | {"command": ["sh", "-c", read_clock]})
    while not started.exists():
        time.sleep(0.001)
    took_ms = (int(started.read_text()) - began_ns) / 1e6
    started.unlink()
    while b'"state":"succeeded"' not in _send(url, token, "GET", f"/v1/jobs/{job}", b"", "application/json"):
        time.sleep(0.01)
    return took_ms


class Times:
    """When a measurement counts from, and when it ends."""

    def __init__(self) -> None:
        began = time.perf_counter()
        self.counted_from, self.end = began + WARM_UP_SECONDS, began + WARM_UP_SECONDS + SECONDS

    def go_on(self) -> bool:
        return time.perf_counter() < self.end

    def counts(self, began: float) -> bool:
        return began >= self.counted_from


class Connection:
    """One connection that asks one thing after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader = reader
        self._writer = writer
        self._token = token.encode()

    @classmethod
    async def open(cls, url: str, token: str) -> Connection:
        host, _, port = url.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port)), token)

    async def ask(self, line: bytes, body: bytes = b"", kind: bytes = b"application/json", key: bytes = b"") -> float:
        """Send one request and read its answer, which must be a success. Returns the seconds it took."""
        began = time.perf_counter()
        self._writer.write(
            b"%s HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\nAuthorization: Bearer %s\r\nIdempotency-Key: %s\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (line, kind, self._token, key, len(body), body)
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 20"), head
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        await self._reader.readexactly(int(length[1]))
        return time.perf_counter() - began


async def load(url: str, token: str, kind: str) -> dict[str, float]:
    """What clients measure together: `single` jobs, jobs in a `batch`, or `reads` while jobs arrive."""
    times = Times()
    if kind == "reads":
        arrivals = [_arrivals(url, token, times) for _ in range(CLIENTS)]
        readers = [_reader(url, token, times, path) for path in (b"/v1/jobs/j1?eta=false", b"/v1/shares", b"/v1/sites")]
        *arrived, first, second, third = await asyncio.gather(*arrivals, *readers)
        found = _figures([first, second, third], 1)
        return found | {"arrived_per_s": sum(map(len, arrived)) / SECONDS}
    if kind == "batch":
        return _figures(await asyncio.gather(*(_batches(url, token, times) for _ in range(BATCH_CLIENTS))), BATCH)
    return _figures(await asyncio.gather(*(_singles(number, url, token, times) for number in range(CLIENTS))), 1)


def _figures(clients: Sequence[list[float]], jobs: int) -> dict[str, float]:
    latencies = sorted(each for client in clients for each in client)
    return {"per_s": len(latencies) * jobs / SECONDS, "p99_ms": latencies[len(latencies) * 99 // 100] * 1000}


async def _singles(number: int, url: str, token: str, times: Times) -> list[float]:
    """Submit one job after another. Returns the seconds each counted answer took."""
    connection, body = await Connection.open(url, token), json.dumps(JOB).encode()
    latencies, sent = [], 0
    while times.go_on():
        sent += 1
        began = time.perf_counter()
        took = await connection.ask(b"POST /v1/jobs", body, key=b"%d-%d" % (number, sent))
        latencies += [took] if times.counts(began) else []
    return latencies


async def _batches(url: str, token: str, times: Times) -> list[float]:
    connection, body, latencies = await Connection.open(url, token), _sweep(BATCH), []
    while times.go_on():
        key = secrets.token_hex(8).encode()
        took = await connection.ask(b"POST /v1/jobs/batch", body, b"application/x-ndjson", key)
        # A batch takes long enough that what counts is when it was done.
        latencies += [took] if times.counts(time.perf_counter()) else []
    return latencies


def _sweep(jobs: int) -> bytes:
    """Lines that differ as those of a parameter sweep do: in their names, and in what they run."""
    lines = (JOB | {"name": f"bench-{job}", "command": ["sleep", str(600 + job)]} for job in range(jobs))
    return b"\n".join(json.dumps(line).encode() for line in lines)


async def _arrivals(url: str, token: str, times: Times) -> list[float]:
    """Jobs of one member of many, at its pace whether or not the server keeps up."""
    connection, body = await Connection.open(url, token), json.dumps(JOB).encode()
    pace_s, due, latencies = CLIENTS / ARRIVALS_PER_S, time.perf_counter(), []
    while times.go_on():
        due += pace_s
        await asyncio.sleep(due - time.perf_counter())
        began = time.perf_counter()
        took = await connection.ask(b"POST /v1/jobs", body, key=secrets.token_hex(8).encode())
        latencies += [took] if times.counts(began) else []
    return latencies


async def _reader(url: str, token: str, times: Times, path: bytes) -> list[float]:
    connection, latencies = await Connection.open(url, token), []
    while times.go_on():
        await asyncio.sleep(0.02)
        began = time.perf_counter()
        took = await connection.ask(b"GET " + path)
        latencies += [took] if times.counts(began) else []
    return latencies


if __name__ == "__main__":
    import uvloop

    print(json.dumps(uvloop.run(load(sys.argv[1], sys.stdin.read().strip(), sys.argv[2]))))
