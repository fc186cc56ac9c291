"""The airlock as a member, a steward and an outsider meet it: a real server, a real sandbox, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure.executors.local.sandbox import Sandboxes
from tests.api.test_jobs import state, submit, until
from tests.control.builders import NATION
from tests.control.server import ServerProcess, running_server

NO_SANDBOX = Sandboxes().problem()
pytestmark = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)

YAML = {"Content-Type": "application/yaml"}
LEAVES = (
    "cd $DURE_OUTPUT; s=summary; echo 'the mean is 41.2' > $s.txt; cp $DURE_DATA_SCANS/people.csv people.csv; "
    "printf '\\x93NUMPY0' > weights.npy; echo a secret of $((40 + 1)) people; "
    "echo kept > $DURE_CHECKPOINT_DIR/step; exit 7"
)
TERMS = """
provider: ministry
recipient: hanbit
datasets: [scans]
purposes: [research]
operations: [{operations}]
sites: [daejeon]
from: 2026-01-01T00:00:00+09:00
until: 2099-01-01T00:00:00+09:00
"""


@pytest.fixture(scope="module")
def airlock_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("airlock")
    (folder / "data").mkdir()
    rows = "\n".join(f"{number},{30 + number % 50},flu" for number in range(100))
    (folder / "data" / "people.csv").write_text(f"id,age,diagnosis\n{rows}\n")
    data = f"""
datasets:
  - {{name: scans, owner: ministry, classes: [pseudonymised], jurisdiction: KR, purposes: [research],
      sites: [daejeon], readers: [hanbit], paths: {{daejeon: {folder}/data}}}}
"""
    with running_server(folder / "state") as running, running.client() as http:
        http.put("/v1/nation", content=NATION + data, headers=YAML).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def people(airlock_server: ServerProcess) -> Iterator[dict[str, httpx.Client]]:
    with airlock_server.client() as operator:
        wanted = {
            "member": {"role": "member", "organisation": "hanbit"},
            "hanbit": {"role": "administrator", "organisation": "hanbit"},
            "ministry": {"role": "administrator", "organisation": "ministry"},
            "auditor": {"role": "auditor"},
            "steward": {"role": "steward"},
        }
        clients = {
            name: airlock_server.client(operator.post("/v1/tokens", json=body).raise_for_status().json()["text"])
            for name, body in wanted.items()
        }
        yield clients
        for each in clients.values():
            each.close()


@pytest.fixture(scope="module")
def job(people: dict[str, httpx.Client]) -> str:
    """A job that is over and inspected, and about which nobody decides."""
    return inspected_job(people)


def inspected_job(people: dict[str, httpx.Client]) -> str:
    made = submit(people["member"], data=["scans"], purpose="research", command=["bash", "-c", LEAVES])
    until(lambda: state(people["member"], made) == "failed")
    deadline = time.monotonic() + 60
    while people["steward"].get(f"/v1/airlock/{made}").status_code == 404:
        assert time.monotonic() < deadline, "it was never inspected"
        time.sleep(0.05)
    return made


def agree(people: dict[str, httpx.Client], operations: str) -> str:
    body = TERMS.replace("{operations}", operations)
    offered = people["ministry"].post("/v1/agreements", content=body, headers=YAML)
    assert offered.status_code == 201, offered.text
    made: str = offered.json()["agreement"]
    accepted = people["hanbit"].post(f"/v1/agreements/{made}/accept", json={"version": 1})
    assert accepted.status_code == 200, accepted.text
    return made


def results(people: dict[str, httpx.Client], job: str) -> dict[str, dict[str, Any]]:
    shown = people["steward"].get(f"/v1/airlock/{job}").raise_for_status().json()["results"]
    return {each["path"]: each for each in shown}


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_nothing_that_a_job_left_or_printed_is_seen_before_it_is_released(
    people: dict[str, httpx.Client], job: str
) -> None:
    for who in ("member", "hanbit", "auditor", "steward"):
        reader = people[who]
        held = (403, "results-are-held")
        assert refusal(reader.get(f"/v1/jobs/{job}/log")) == held
        followed = reader.get(f"/v1/jobs/{job}/log", headers={"Accept": "text/event-stream"})
        assert refusal(followed) == held
        assert refusal(reader.get(f"/v1/jobs/{job}/outputs/file", params={"path": "summary.txt"})) == held
        assert refusal(reader.get(f"/v1/jobs/{job}/outputs/view", params={"path": "summary.txt"})) == held
        listed = reader.get(f"/v1/jobs/{job}/outputs").json()
        assert (listed["files"], listed["in_airlock"]) == ([], True)
        for page in (f"/jobs/{job}", f"/v1/jobs/{job}", "/v1/jobs", f"/v1/jobs/{job}/why"):
            text = reader.get(page).text
            assert "a secret of 41 people" not in text
            assert "summary.txt" not in text
    assert people["ministry"].get(f"/v1/jobs/{job}/log").status_code == 403


def test_of_its_exit_code_one_bit_is_told_and_of_its_gpus_nothing(people: dict[str, httpx.Client], job: str) -> None:
    report = people["member"].get(f"/v1/jobs/{job}").json()
    assert report["line"]["exit_code"] == 1
    assert {moment["exit_code"] for moment in report["timeline"]} <= {None, 0, 1}
    assert report["gpu_use"] is None


def test_a_running_job_tells_nothing_either(people: dict[str, httpx.Client]) -> None:
    command = ["bash", "-c", "echo early; echo early > $DURE_OUTPUT/a; exec tail -f /dev/null"]
    running = submit(people["member"], data=["scans"], purpose="research", command=command)
    until(lambda: state(people["member"], running) == "running")
    assert refusal(people["member"].get(f"/v1/jobs/{running}/log")) == (403, "results-are-held")
    assert people["member"].get(f"/v1/jobs/{running}/outputs").json()["files"] == []
    people["member"].post(f"/v1/jobs/{running}/cancel")
    until(lambda: state(people["member"], running) == "cancelled")


def test_the_steward_sees_every_result_with_what_was_found(
    people: dict[str, httpx.Client], job: str, airlock_server: ServerProcess
) -> None:
    found = results(people, job)
    assert {path: each["verdict"] for path, each in found.items()} == {
        "people.csv": "block",
        "rank0.log": "pass",
        "summary.txt": "pass",
        "weights.npy": "pass",
    }
    codes = {each["code"] for each in found["people.csv"]["findings"]}
    assert {"verbatim-copy", "copied-rows"} <= codes
    number = found["summary.txt"]["number"]
    assert people["steward"].get(f"/v1/airlock/{job}/results/{number}").content == b"the mean is 41.2\n"
    assert job in {each["job"] for each in people["steward"].get("/v1/airlock").json()["jobs"]}
    for who in ("member", "hanbit", "ministry", "auditor"):
        assert people[who].get(f"/v1/airlock/{job}/results/{number}").status_code == 403
        assert people[who].post(f"/v1/airlock/{job}/release", json={"reason": "mine"}).status_code == 403


def test_checkpoints_of_a_job_that_is_over_are_deleted(
    people: dict[str, httpx.Client], job: str, airlock_server: ServerProcess
) -> None:
    until(lambda: not (airlock_server.state / "checkpoints" / job).exists())


def test_a_release_goes_as_far_as_the_agreements_and_no_farther(people: dict[str, httpx.Client]) -> None:
    member, steward = people["member"], people["steward"]
    job = inspected_job(people)
    found = results(people, job)
    numbers = [found[path]["number"] for path in ("rank0.log", "summary.txt", "weights.npy")]
    decision = {"numbers": numbers, "reason": "figures only"}
    assert refusal(steward.post(f"/v1/airlock/{job}/release", json=decision)) == (409, "no-agreement-for-results")
    seeing = agree(people, "compute, view-results")
    released = steward.post(f"/v1/airlock/{job}/release", json=decision)
    assert released.status_code == 200, released.text
    assert member.get(f"/v1/jobs/{job}/log").text == "a secret of 41 people\n"
    assert {each["path"] for each in member.get(f"/v1/jobs/{job}/outputs").json()["files"]} == {
        "summary.txt",
        "weights.npy",
    }
    summary = {"path": "summary.txt"}
    assert member.get(f"/v1/jobs/{job}/outputs/view", params=summary).text == "the mean is 41.2\n"
    assert refusal(member.get(f"/v1/jobs/{job}/outputs/view", params={"path": "weights.npy"})) == (409, "not-a-text")
    no_taking = (403, "output-not-yours-to-take")
    assert refusal(member.get(f"/v1/jobs/{job}/outputs/file", params=summary)) == no_taking
    taking = agree(people, "compute, view-results, take-results")
    assert member.get(f"/v1/jobs/{job}/outputs/file", params=summary).content == b"the mean is 41.2\n"
    held = (403, "results-are-held")
    assert refusal(member.get(f"/v1/jobs/{job}/outputs/file", params={"path": "people.csv"})) == held
    for agreement in (seeing, taking):
        ended = people["ministry"].post(f"/v1/agreements/{agreement}/end", json={"reason": "over"})
        assert ended.status_code == 200, ended.text
    assert refusal(member.get(f"/v1/jobs/{job}/outputs/file", params=summary)) == no_taking
    assert refusal(member.get(f"/v1/jobs/{job}/log")) == held


def test_what_is_refused_is_deleted(people: dict[str, httpx.Client], airlock_server: ServerProcess) -> None:
    job = inspected_job(people)
    number = results(people, job)["people.csv"]["number"]
    copy = airlock_server.state / "local" / "attempts" / f"{job}.1" / "outputs" / "people.csv"
    assert copy.exists()
    refused = people["steward"].post(f"/v1/airlock/{job}/refuse", json={"numbers": [number], "reason": "a copy"})
    assert refused.status_code == 200, refused.text
    until(lambda: not copy.exists())
    assert people["steward"].get(f"/v1/airlock/{job}/results/{number}").status_code == 404
    again = people["steward"].post(f"/v1/airlock/{job}/release", json={"numbers": [number], "reason": "well"})
    assert refusal(again) == (409, "result-not-held")


def test_a_result_that_was_altered_since_it_was_inspected_is_not_handed_out(
    people: dict[str, httpx.Client], job: str, airlock_server: ServerProcess
) -> None:
    number = results(people, job)["summary.txt"]["number"]
    file = airlock_server.state / "local" / "attempts" / f"{job}.1" / "outputs" / "summary.txt"
    file.write_text("id,age\n")
    altered = people["steward"].get(f"/v1/airlock/{job}/results/{number}")
    assert refusal(altered) == (409, "result-altered")
    file.write_text("the mean is 41.2\n")
    assert people["steward"].get(f"/v1/airlock/{job}/results/{number}").status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"reason": ""}, {"reason": "x", "numbers": [0]}, {"reason": "x", "numbers": ["1"]}, {"reason": "x" * 501}],
)
def test_a_decision_needs_a_reason_and_numbers_of_results(
    people: dict[str, httpx.Client], job: str, body: dict[str, Any]
) -> None:
    for decision in ("release", "refuse"):
        assert people["steward"].post(f"/v1/airlock/{job}/{decision}", json=body).status_code == 422
    assert people["steward"].get("/v1/airlock/j999").status_code == 404


def test_the_portal_shows_the_airlock_to_stewards_in_both_languages(people: dict[str, httpx.Client], job: str) -> None:
    for language, title in (("en", "Airlock"), ("ko", "에어록")):
        asked = {"lang": language}
        assert title in people["steward"].get("/airlock", params=asked).raise_for_status().text
        shown = people["steward"].get(f"/airlock/{job}", params=asked).raise_for_status().text
        assert "1/summary.txt" in shown
        for who in ("member", "auditor"):
            for page in ("/airlock", f"/airlock/{job}"):
                denied = people[who].get(page, params=asked)
                assert denied.status_code == 403
                assert "summary.txt" not in denied.text
    assert "에어록에 보관" in people["member"].get(f"/jobs/{job}", params={"lang": "ko"}).text
