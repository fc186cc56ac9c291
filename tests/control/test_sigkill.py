"""A real server is killed with SIGKILL while clients submit and jobs run, and started again."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

from dure.ledger.keys import load_verifier_key
from dure.ledger.sqlite import read_stored
from dure.ledger.verify import verify

from .builders import NATION
from .server import ServerProcess, end_everything, running_server

KILLS = 8
CLIENTS = 3
JOB_SECONDS = 0.3
PAUSE_SECONDS = 0.08
"""Between two submissions of a client, so that jobs start about as fast as they come."""


class Submitter(threading.Thread):
    """Submits jobs one after the other, each under its own key, and asks again until it has an answer."""

    def __init__(self, number: int, url: str, token: str, document: dict[str, object]) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.accepted: dict[str, list[str]] = {}
        self.enough = threading.Event()
        self._number = number
        self._document = document
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10, trust_env=False
        )

    def run(self) -> None:
        while not self.enough.is_set():
            key = f"{self._number}-{len(self.accepted)}"
            self.accepted[key] = self._submit(key)
            time.sleep(PAUSE_SECONDS)

    def _submit(self, key: str) -> list[str]:
        while True:
            try:
                answer = self._http.post("/v1/jobs", json=self._document, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == 201:
                jobs: list[str] = answer.json()["jobs"]
                return jobs
            assert answer.status_code == 503, answer.text
            time.sleep(0.05)


def test_kills_at_any_moment_lose_no_accepted_job_and_run_no_attempt_twice(tmp_path: Path) -> None:
    chance = random.Random(7)
    runs = tmp_path / "runs"
    server = ServerProcess(tmp_path / "state")
    try:
        declare(server)
        submitters = [Submitter(each, server.url, server.token, job(runs)) for each in range(CLIENTS)]
        for each in submitters:
            each.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 1.0))
            server.kill()
            server = ServerProcess(server.state, server.port)
        for each in submitters:
            each.enough.set()
        for each in submitters:
            each.join()
        accepted = [job for each in submitters for jobs in each.accepted.values() for job in jobs]
        states = states_when_all_are_over(server)
        assert Counter(accepted).most_common(1)[0][1] == 1, "two keys never share a job"
        assert set(states) == set(accepted), "no accepted job is lost, and none was made twice"
        assert set(states.values()) == {"succeeded"}
        attempts = Counter(runs.read_text().split())
        assert attempts.most_common(1)[0][1] == 1, "no attempt ran twice"
        assert {attempt.rpartition(".")[0] for attempt in attempts} == set(accepted)
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.kill()
        end_everything(server.state)
    assert_ledger_is_sound(server.state)


def test_a_job_that_kept_running_is_adopted_and_its_end_is_noticed(tmp_path: Path) -> None:
    runs, go_on = tmp_path / "runs", tmp_path / "go-on"
    with running_server(tmp_path / "state") as server:
        declare(server)
        waits = f"echo $DURE_ATTEMPT_ID >> {runs}; until test -e {go_on}; do sleep 0.02; done; echo over"
        with server.client() as http:
            http.post("/v1/jobs", json=job(runs) | {"command": ["bash", "-c", waits]}).raise_for_status()
            wait_until(lambda: runs.exists())
        server.kill()
        with running_server(server.state) as again, again.client() as http:
            assert http.get("/v1/jobs/j1").json()["line"]["state"] == "running"
            go_on.touch()
            assert set(states_when_all_are_over(again).values()) == {"succeeded"}
            assert http.get("/v1/jobs/j1/log").text == "over\n"
            assert runs.read_text() == "j1.1\n"


def test_a_stop_that_was_ordered_before_the_crash_is_carried_out_after_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with running_server(tmp_path / "state") as server:
        declare(server)
        stubborn = f"trap '' TERM; echo $DURE_ATTEMPT_ID >> {runs}; while :; do sleep 0.05; done"
        with server.client() as http:
            http.post("/v1/jobs", json=job(runs) | {"command": ["bash", "-c", stubborn]}).raise_for_status()
            wait_until(lambda: runs.exists())
            http.post("/v1/jobs/j1/cancel").raise_for_status()
        server.kill()
        with running_server(server.state) as again:
            assert states_when_all_are_over(again) == {"j1": "cancelled"}


def declare(server: ServerProcess) -> None:
    with server.client() as http:
        http.put("/v1/nation", content=NATION, headers={"Content-Type": "application/yaml"}).raise_for_status()


def job(runs: Path) -> dict[str, object]:
    """Writes down that this attempt ran, works a while, and succeeds."""
    work = f"echo $DURE_ATTEMPT_ID >> {runs}; sleep {JOB_SECONDS}"
    return {"name": "short", "project": "chat", "gpus": "H100:1", "command": ["bash", "-c", work]}


def states_when_all_are_over(server: ServerProcess) -> dict[str, str]:
    with server.client() as http:

        def active() -> int:
            return len(http.get("/v1/jobs", params={"state": "active"}).json()["jobs"])

        wait_until(lambda: active() == 0, patience_s=60)
        jobs = http.get("/v1/jobs", params={"limit": 1000}).json()["jobs"]
    return {each["job"]: each["state"] for each in jobs}


def wait_until(condition: Callable[[], bool], patience_s: float = 20) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def assert_ledger_is_sound(state: Path) -> None:
    with read_stored(state / "ledger.sqlite") as log:
        verdict = verify(log, load_verifier_key(state / "ledger.pub"))
    assert verdict.is_sound
