"""How fast a real server takes jobs over HTTP, each durable before its answer, and how soon an idle one starts one.

The server is a process of its own, started as `dure up`; so is the client, whose load is part of the figure, because
both share the machine. The one GPU is taken, so accepted jobs queue; every decision still looks at them.
"""

from __future__ import annotations

import asyncio
import json
import re
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
        result = _load_from_elsewhere(url, token)
        # Nothing may run on when the server is gone; draining the node keeps the next in the queue from starting.
        _send(url, token, "POST", "/v1/nodes/node-0000/drain", b"", "application/json")
        _send(url, token, "POST", f"/v1/jobs/{holder}/cancel", b"", "application/json")
    return [
        Measurement(
            name=f"submissions over HTTP, durable before the answer, {CLIENTS} clients",
            value=result["per_s"],
            unit="jobs/s",
            must=2_000,
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
            name="submit to process start, idle, median",
            value=started_ms[len(started_ms) // 2],
            unit="ms",
            must=50,
            aim=20,
            better="less",
            compared_to="Slurm: at least its scheduler's tick, 1 s or more unless tuned",
        ),
    ]


def submissions_per_s(options: Sequence[str]) -> float:
    """The same load on a server that is started with more options: its ledger elsewhere, for one."""
    with _server(options) as (url, token, _):
        _send(url, token, "PUT", "/v1/nation", NATION.encode(), "application/yaml")
        _send(url, token, "POST", "/v1/nodes/node-0000/drain", b"", "application/json")
        return _load_from_elsewhere(url, token)["per_s"]


def _load_from_elsewhere(url: str, token: str) -> dict[str, float]:
    """What clients in a process of their own measured."""
    command = [sys.executable, "-m", "benchmarks.http", url]
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
            url = _url_when_ready(process)
            token = (state / "operator.token").read_text().strip()
            yield url, token, Path(name)
        finally:
            process.terminate()
            process.wait()


def _url_when_ready(process: subprocess.Popen[str]) -> str:
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


async def load(url: str, token: str) -> dict[str, float]:
    """Submit from `CLIENTS` connections at once, each waiting for its answer before it asks again."""
    host, _, port = url.removeprefix("http://").partition(":")
    began = time.perf_counter()
    counted_from, end = began + WARM_UP_SECONDS, began + WARM_UP_SECONDS + SECONDS
    clients = [_client(number, host, int(port), token, counted_from, end) for number in range(CLIENTS)]
    latencies = sorted(each for client in await asyncio.gather(*clients) for each in client)
    return {"per_s": len(latencies) / SECONDS, "p99_ms": latencies[len(latencies) * 99 // 100] * 1000}


async def _client(number: int, host: str, port: int, token: str, counted_from: float, end: float) -> list[float]:
    """One connection. Returns the seconds each counted answer took."""
    reader, writer = await asyncio.open_connection(host, port)
    body = json.dumps(JOB).encode()
    latencies: list[float] = []
    sent = 0
    while (began := time.perf_counter()) < end:
        sent += 1
        writer.write(
            b"POST /v1/jobs HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nIdempotency-Key: %d-%d\r\nContent-Length: %d\r\n\r\n%s"
            % (token.encode(), number, sent, len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201 "), head
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        await reader.readexactly(int(length[1]))
        if began >= counted_from:
            latencies.append(time.perf_counter() - began)
    writer.close()
    return latencies


if __name__ == "__main__":
    import uvloop

    print(json.dumps(uvloop.run(load(sys.argv[1], sys.stdin.read().strip()))))
