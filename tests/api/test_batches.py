"""Many jobs in one request, on a real server."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx

from dure.api.batches import LARGEST_BATCH, MOST_JOBS, PIECE
from dure.api.operations import LARGEST_BODY

from .test_jobs import JOB, state, until

LINES = {"Content-Type": "application/x-ndjson"}


def lines(*jobs: Mapping[str, object] | str) -> str:
    return "\n".join(each if isinstance(each, str) else json.dumps({**JOB, **each}) for each in jobs) + "\n"


def post(http: httpx.Client, body: str, key: str = "", **params: str) -> httpx.Response:
    headers = LINES | ({"Idempotency-Key": key} if key else {})
    return http.post("/v1/jobs/batch", content=body, headers=headers, params=params)


def test_each_line_is_a_job_of_its_own(hanbit: httpx.Client) -> None:
    answer = post(hanbit, lines({"command": ["echo", "a"]}, "", {"command": ["echo", "b"]}))
    assert answer.status_code == 201, answer.text
    first, second = answer.json()["jobs"]
    until(lambda: {state(hanbit, first), state(hanbit, second)} == {"succeeded"})
    assert [hanbit.get(f"/v1/jobs/{job}/log").text for job in (first, second)] == ["a\n", "b\n"]


def test_a_line_that_is_refused_keeps_no_other_from_being_accepted(hanbit: httpx.Client) -> None:
    body = lines({}, "{", {"gpus": "H100:0.0001"}, {"project": "weather"}, {"gpus": "B200:1"}, {})
    jobs = post(hanbit, body).json()["jobs"]
    assert [isinstance(job, str) for job in jobs] == [True, False, False, False, False, True]
    codes = ["bad-document", "bad-document", "not-your-project", "unknown-gpu-class"]
    assert [job["code"] for job in jobs[1:5]] == codes


def test_the_same_batch_with_its_key_makes_no_more_jobs(hanbit: httpx.Client) -> None:
    body = lines(*[{"name": f"n{number}"} for number in range(PIECE + 3)])
    first = post(hanbit, body, key="twice").json()
    assert len(set(first["jobs"])) == PIECE + 3
    assert post(hanbit, body, key="twice").json() == first
    other = post(hanbit, body.replace("n0", "m0"), key="twice")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-key-reused")
    for job in first["jobs"]:
        hanbit.post(f"/v1/jobs/{job}/cancel")


def test_the_project_of_a_batch_is_for_lines_that_name_none(hanbit: httpx.Client) -> None:
    without = {key: value for key, value in JOB.items() if key != "project"}
    [job] = post(hanbit, json.dumps(without), project="vision").json()["jobs"]
    assert hanbit.get(f"/v1/jobs/{job}").json()["line"]["project"] == "vision"


def test_a_batch_that_is_none_is_refused_as_a_whole(hanbit: httpx.Client, auditor: httpx.Client) -> None:
    assert post(hanbit, "\n \n").json()["code"] == "bad-document"
    assert post(hanbit, "{}\n" * (MOST_JOBS + 1)).json()["code"] == "bad-document"
    wrong = hanbit.post("/v1/jobs/batch", content=b"[]", headers={"Content-Type": "application/json"})
    assert wrong.json()["code"] == "unsupported-media-type"
    assert post(auditor, lines({})).status_code == 403


def test_a_batch_may_be_larger_than_one_job_file_but_not_a_line(hanbit: httpx.Client) -> None:
    padding = {"env": {"PADDING": "x" * 100_000}}
    others = [{"project": "weather", **padding} for _ in range(12)]
    too_long = {"env": {f"PADDING_{number}": "x" * 100_000 for number in range(12)}}
    jobs = post(hanbit, lines(*others, too_long, {})).json()["jobs"]
    assert [job["code"] for job in jobs[:13]] == ["not-your-project"] * 12 + ["bad-document"]
    assert "1 MiB" in jobs[12]["message"]
    assert isinstance(jobs[13], str)


def test_a_batch_that_is_too_large_is_refused_before_it_is_read(hanbit: httpx.Client) -> None:
    answer = post(hanbit, "x" * (LARGEST_BATCH + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert "16 MiB" in answer.json()["detail"]
    # What is taken by other operations has not grown.
    single = hanbit.post("/v1/jobs", content="x" * (LARGEST_BODY + 1), headers={"Content-Type": "application/json"})
    assert (single.status_code, single.json()["code"]) == (413, "body-too-large")
