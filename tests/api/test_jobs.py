"""Jobs over HTTP, on a real server with real processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import httpx
import pytest

JOB = {"name": "hello", "project": "chat", "gpus": "H100:1", "command": ["echo", "hello"]}


def submit(http: httpx.Client, **fields: object) -> str:
    answer = http.post("/v1/jobs", json=JOB | fields)
    assert answer.status_code == 201, answer.text
    job: str = answer.json()["jobs"][0]
    return job


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def state(http: httpx.Client, job: str) -> str:
    found: str = http.get(f"/v1/jobs/{job}").raise_for_status().json()["line"]["state"]
    return found


def test_a_job_runs_and_its_output_can_be_read(hanbit: httpx.Client) -> None:
    job = submit(hanbit)
    until(lambda: state(hanbit, job) == "succeeded")
    assert hanbit.get(f"/v1/jobs/{job}/log").text == "hello\n"
    assert hanbit.get(f"/v1/jobs/{job}/log", params={"offset": 2}).text == "llo\n"
    assert hanbit.get("/v1/usage").json()["lines"][0]["organisation"] == "hanbit"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/yaml", "name: hello\nproject: chat\ngpus: H100:1\ncommand: [echo, hello]\n"),
        ("text/x-shellscript", "#!/bin/bash\n#SBATCH --job-name=hello\n#SBATCH --gpus=H100:1\necho hello\n"),
    ],
)
def test_a_job_file_and_a_slurm_script_are_jobs_too(hanbit: httpx.Client, content_type: str, body: str) -> None:
    answer = hanbit.post("/v1/jobs", params={"project": "chat"}, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 201, answer.text
    [job] = answer.json()["jobs"]
    until(lambda: state(hanbit, job) == "succeeded")
    assert hanbit.get(f"/v1/jobs/{job}/log").text == "hello\n"


def test_following_a_log_ends_when_the_job_does(hanbit: httpx.Client) -> None:
    job = submit(hanbit, command=["bash", "-c", "echo first; sleep 0.3; echo second; exit 3"])
    headers = {"Accept": "text/event-stream"}
    with hanbit.stream("GET", f"/v1/jobs/{job}/log", headers=headers) as stream:
        events = [line for line in stream.iter_lines() if line.startswith("data: ")]
    bodies = [json.loads(line.removeprefix("data: ")) for line in events]
    assert "".join(body.get("text", "") for body in bodies) == "first\nsecond\n"
    assert bodies[-1] == {"state": "failed", "exit_code": 3}


def test_the_same_key_gives_the_same_job(hanbit: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = (hanbit.post("/v1/jobs", json=JOB, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    other = hanbit.post("/v1/jobs", json=JOB | {"name": "other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-key-reused")


def test_every_mistake_in_a_job_is_told_at_once(hanbit: httpx.Client) -> None:
    answer = hanbit.post("/v1/jobs", json=JOB | {"gpus": "H100:-1", "tme": "1h", "priority": 1_000_000})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "bad-document"
    assert {each["field"] for each in problem["problems"]} == {"gpus", "tme", "priority"}


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 422, "bad-document"),
        (b"\xff", "application/yaml", 422, "bad-document"),
        (b"name: x", "application/pdf", 415, "unsupported-media-type"),
        (b"", "", 415, "unsupported-media-type"),
        (b" " * (1 << 20) + b"{}", "application/json", 413, "body-too-large"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem(
    hanbit: httpx.Client, body: bytes, content_type: str, status: int, code: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = hanbit.post("/v1/jobs", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_of_unknown_length_is_limited_too(hanbit: httpx.Client) -> None:
    chunks = (b"x" * 65_536 for _ in range(20))
    answer = hanbit.post("/v1/jobs", content=chunks, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"project": "weather"}, 403, "not-your-project"),
        ({"project": "nonsense"}, 409, "unknown-project"),
        ({"gpus": "B200:1"}, 409, "unknown-gpu-class"),
        ({"gpus": "H100:8"}, 409, "no-node-large-enough"),
        ({"secrets": ["NOT_SET"]}, 409, "unknown-secret"),
        ({"data": ["scans"]}, 409, "unknown-dataset"),
    ],
)
def test_a_sound_job_that_cannot_be_is_refused_with_a_code(
    hanbit: httpx.Client, fields: dict[str, object], status: int, code: str
) -> None:
    answer = hanbit.post("/v1/jobs", json=JOB | fields)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_plan_says_what_would_happen_and_writes_nothing(hanbit: httpx.Client, auditor: httpx.Client) -> None:
    before = auditor.get("/v1/ledger/checkpoint").json()["entries"]
    answer = hanbit.post("/v1/plan", json=JOB | {"gpus": "H100:4", "nodes": 2, "array": "0-2"})
    assert answer.status_code == 200, answer.text
    plan = answer.json()
    assert plan["tasks"] == 3
    assert plan["starting"] <= 1
    refused = hanbit.post("/v1/plan", json=JOB | {"gpus": "H100:16"})
    assert refused.json()["code"] == "no-node-large-enough"
    assert auditor.get("/v1/ledger/checkpoint").json()["entries"] == before


def test_others_see_only_how_large_a_job_is(
    hanbit: httpx.Client, ministry: httpx.Client, auditor: httpx.Client
) -> None:
    job = submit(hanbit, name="confidential", command=["sleep", "60"])
    seen = ministry.get(f"/v1/jobs/{job}").json()
    assert seen["line"]["visible"] is False
    for path in (f"/v1/jobs/{job}", "/v1/queue", "/v1/jobs", "/v1/nodes"):
        assert "confidential" not in ministry.get(path).text
    assert "confidential" in auditor.get("/v1/queue").text
    for path in (f"/v1/jobs/{job}/log", f"/v1/jobs/{job}/why"):
        assert ministry.get(path).status_code == 403
    assert ministry.get("/v1/ledger/entries").status_code == 403
    assert ministry.post(f"/v1/jobs/{job}/cancel").status_code == 403
    assert hanbit.post(f"/v1/jobs/{job}/cancel").status_code == 200
    until(lambda: state(hanbit, job) == "cancelled")


def test_a_waiting_job_says_why(hanbit: httpx.Client, operator: httpx.Client) -> None:
    for node in ("dj-0000", "dj-0001"):
        assert operator.post(f"/v1/nodes/{node}/drain").json()["state"] == "drained"
    try:
        job = submit(hanbit)
        why = hanbit.get(f"/v1/jobs/{job}/why").json()
        assert why["position"] == 1
        assert [each["code"] for each in why["blockers"]]
        assert hanbit.get("/v1/jobs", params={"state": "queued"}).json()["jobs"][0]["job"] == job
    finally:
        for node in ("dj-0000", "dj-0001"):
            operator.post(f"/v1/nodes/{node}/resume").raise_for_status()
    until(lambda: state(hanbit, job) == "succeeded")


def test_why_plan_and_the_report_expect_the_same_start(hanbit: httpx.Client) -> None:
    runs = submit(hanbit, gpus="H100:4", nodes=2, time="2h", command=["bash", "-c", "exec tail -f /dev/null"])
    until(lambda: state(hanbit, runs) == "running")
    waits = submit(hanbit, gpus="H100:4", time="1h")
    try:
        started_ms = hanbit.get(f"/v1/jobs/{runs}").json()["line"]["started_at_ms"]
        why = hanbit.get(f"/v1/jobs/{waits}/why").json()
        report = hanbit.get(f"/v1/jobs/{waits}", params={"eta": "true"}).json()["why"]
        plan = hanbit.post("/v1/plan", json=JOB | {"gpus": "H100:4", "nodes": 2}).json()["why"]
        for eta, hours in ((why["eta"], 2), (report["eta"], 2), (plan["eta"], 3)):
            assert started_ms <= eta["at_ms"] <= eta["earliest_ms"] <= eta["latest_ms"]
            assert eta["latest_ms"] == started_ms + hours * 3_600_000
            assert next(each["code"] for each in eta["assumptions"]) == "latest-whole-limits"
        assert plan["eta"]["starts_first"] == 1
    finally:
        for job in (runs, waits):
            hanbit.post(f"/v1/jobs/{job}/cancel").raise_for_status()
        until(lambda: state(hanbit, runs) == "cancelled")


def test_an_expected_start_is_left_out_on_request_and_said_to_be(hanbit: httpx.Client) -> None:
    runs = submit(hanbit, gpus="H100:4", nodes=2, command=["bash", "-c", "exec tail -f /dev/null"])
    waits = submit(hanbit, depends=[runs])
    try:
        asked = {name: hanbit.get(f"/v1/jobs/{waits}/why", params={"eta": name}).json() for name in ("true", "false")}
        assert [(each["eta"], each["no_eta"]) for each in asked.values()] == [(None, "held"), (None, "not-asked")]
        assert hanbit.get(f"/v1/jobs/{runs}/why").json()["no_eta"] == "not-waiting"
        assert hanbit.get(f"/v1/jobs/{waits}/why", params={"eta": "soon"}).status_code == 400
    finally:
        hanbit.post(f"/v1/jobs/{runs}/cancel").raise_for_status()
        until(lambda: state(hanbit, waits) == "cancelled")


def test_a_watcher_sees_states_and_resumes_where_it_was_cut_off(hanbit: httpx.Client, ministry: httpx.Client) -> None:
    def watch(http: httpx.Client, job: str, after: str) -> list[tuple[str, dict[str, object]]]:
        seen, last_id = [], after
        with http.stream("GET", "/v1/events", headers={"Last-Event-ID": after} if after else {}) as stream:
            for line in stream.iter_lines():
                last_id = line.removeprefix("id: ") if line.startswith("id: ") else last_id
                if line.startswith("data: "):
                    change = json.loads(line.removeprefix("data: "))
                    seen.append((last_id, change))
                    if change.get("job") == job and change["state"] == "succeeded":
                        return seen
        return seen

    start = str(hanbit.get("/v1/health").json()["entries"])
    job = submit(hanbit, command=["sleep", "0.5"])
    seen = [(at, change) for at, change in watch(hanbit, job, start) if change["job"] == job]
    states = [change["state"] for _, change in seen]
    assert states[-1] == "succeeded"
    assert "running" in states
    resumed = [change["state"] for _, change in watch(hanbit, job, seen[0][0]) if change["job"] == job]
    assert resumed == states[1:]
    public = [change for _, change in watch(ministry, job, start) if change["job"] == job]
    assert {change["name"] for change in public} == {None}


def test_a_secret_reaches_its_job_and_is_never_given_back(hanbit: httpx.Client, ministry: httpx.Client) -> None:
    path, headers = "/v1/projects/chat/secrets/API_KEY", {"Content-Type": "application/octet-stream"}
    assert ministry.put(path, content=b"mine", headers=headers).status_code == 403
    assert hanbit.put(path, content=b"hunter2", headers=headers).status_code == 200
    assert hanbit.put("/v1/projects/chat/secrets/1-x", content=b"x", headers=headers).status_code == 400
    job = submit(hanbit, secrets=["API_KEY"], command=["bash", "-c", "echo ${#API_KEY}"])
    until(lambda: state(hanbit, job) == "succeeded")
    assert hanbit.get(f"/v1/jobs/{job}/log").text == "7\n"
    assert hanbit.get(path).status_code == 405


@pytest.mark.parametrize(
    "path", ["/v1/jobs/j999999", "/v1/jobs/j999999/why", "/v1/jobs/j999999/log", "/v1/jobs/%2e%2e"]
)
def test_an_unknown_job_is_not_found(hanbit: httpx.Client, path: str) -> None:
    answer = hanbit.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-job")


def test_a_queue_is_told_in_part_with_how_many_there_are(hanbit: httpx.Client) -> None:
    jobs = [submit(hanbit, gpus="H100:4", nodes=2, command=["sleep", "60"]) for _ in range(4)]
    found = hanbit.get("/v1/queue", params={"limit": 1}).raise_for_status().json()
    assert len(found["running"]) <= 1
    assert len(found["waiting"]) == 1
    assert found["running_in_all"] + found["waiting_in_all"] >= len(jobs)
    whole = hanbit.get("/v1/queue").raise_for_status().json()
    assert {each["job"] for each in (*whole["running"], *whole["waiting"])} >= set(jobs)
    for job in jobs:
        hanbit.post(f"/v1/jobs/{job}/cancel").raise_for_status()


@pytest.mark.parametrize(
    "address",
    [
        *(f"/v1/jobs?{query}" for query in ("limit=-1", "limit=x", "limit=99999999999999999999", "state=asleep")),
        # More would keep everybody else waiting while it is written.
        "/v1/jobs?limit=1001",
        "/v1/queue?limit=1001",
    ],
)
def test_a_parameter_that_cannot_be_read_is_a_problem(hanbit: httpx.Client, address: str) -> None:
    answer = hanbit.get(address)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-parameter")


def test_output_of_an_attempt_that_never_was_is_refused(operator: httpx.Client) -> None:
    job = operator.post("/v1/jobs", json=JOB).raise_for_status().json()["jobs"][0]
    answer = operator.get(f"/v1/jobs/{job}/log", params={"attempt": 9})
    assert answer.status_code == 400
    assert answer.json()["problems"][0]["field"] == "attempt"


def test_what_a_job_leaves_can_be_listed_and_fetched_by_its_organisation(
    hanbit: httpx.Client, ministry: httpx.Client
) -> None:
    job = submit(hanbit, command=["bash", "-c", "mkdir $DURE_OUTPUT/m; echo weights > $DURE_OUTPUT/m/w.txt"])
    until(lambda: state(hanbit, job) == "succeeded")
    [file] = hanbit.get(f"/v1/jobs/{job}/outputs").json()["files"]
    assert (file["path"], file["size_bytes"], file["media_type"]) == ("m/w.txt", 8, "text/plain")
    fetched = hanbit.get(f"/v1/jobs/{job}/outputs/file", params={"path": "m/w.txt"})
    assert fetched.content == b"weights\n"
    assert fetched.headers["content-disposition"] == "attachment; filename*=UTF-8''w.txt"
    assert hanbit.get(f"/v1/jobs/{job}/outputs/file", params={"path": "../rank0.log"}).status_code == 404
    assert hanbit.get(f"/v1/jobs/{job}/outputs", params={"attempt": 7}).status_code == 400
    assert ministry.get(f"/v1/jobs/{job}/outputs").status_code == 403
    assert ministry.get(f"/v1/jobs/{job}/outputs/file", params={"path": "m/w.txt"}).status_code == 403
