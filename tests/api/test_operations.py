"""What operators' tools read: metrics, readiness, and log lines."""

from __future__ import annotations

import json
import logging
import os

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dure.api.logs import JsonLines, TextLines, request_id

from .test_jobs import submit


def figures(http: httpx.Client) -> dict[tuple[str, str], float]:
    """Each sample by its name and its labels."""
    answer = http.get("/metrics").raise_for_status()
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_prometheus_reads_fleet_shares_jobs_and_requests(operator: httpx.Client, hanbit: httpx.Client) -> None:
    before = figures(operator)
    submit(hanbit, gpus="H100:4", nodes=2, command=["true"])
    after = figures(operator)
    assert after["dure_nodes", "site=daejeon,state=up"] == 2
    gpus = [value for (name, labels), value in after.items() if name == "dure_gpus" and "daejeon" in labels]
    assert sum(gpus) == 8
    assert after["dure_share_guarantee_gpus", "gpu_class=H100,share=hanbit"] == 4
    assert after["dure_site_contact_lost", "engine=local,site=daejeon"] == 0
    assert after["dure_health", "status=ok"] == 1
    assert after["dure_ledger_entries_total", ""] > before["dure_ledger_entries_total", ""]
    submitted = ("dure_http_requests_total", "method=POST,path=/v1/jobs,status=201")
    assert after[submitted] == before.get(submitted, 0) + 1
    timed = ("dure_http_request_duration_seconds_count", "method=POST,path=/v1/jobs")
    assert after[timed] == before.get(timed, 0) + 1
    assert after["process_resident_memory_bytes", ""] > 1e7


def test_gpus_that_are_only_declared_say_nothing_of_themselves(operator: httpx.Client) -> None:
    if os.path.exists("/proc/driver/nvidia"):
        pytest.skip("this machine has GPUs")
    assert not [name for name, _ in figures(operator) if name.startswith("DCGM_")]


def test_metrics_are_for_those_who_audit(auditor: httpx.Client, hanbit: httpx.Client, nobody: httpx.Client) -> None:
    assert auditor.get("/metrics").status_code == 200
    assert hanbit.get("/metrics").status_code == 403
    assert nobody.get("/metrics").status_code == 401


def test_a_load_balancer_asks_without_a_token(nobody: httpx.Client) -> None:
    assert nobody.get("/livez").text == "live\n"
    assert nobody.get("/readyz").text == "ready\n"


def test_an_answer_has_the_id_of_its_request(nobody: httpx.Client) -> None:
    assert nobody.get("/livez", headers={"X-Request-Id": "a.b-1"}).headers["X-Request-Id"] == "a.b-1"
    made = {
        nobody.get("/v1/jobs", headers={"X-Request-Id": bad}).headers["X-Request-Id"] for bad in ("", "a b", "x" * 65)
    }
    assert len(made) == 3
    assert all(name.isalnum() for name in made)


def line(formatter: logging.Formatter, error: BaseException | None = None) -> str:
    info = (type(error), error, None) if error else None
    record = logging.LogRecord("dure.here", logging.WARNING, "f.py", 1, "engine %s is %s", ("a", "gone\n"), info)
    record.attempt = "j1.2"
    return formatter.format(record)


def test_a_json_line_says_what_it_is_about() -> None:
    token = request_id.set("r1")
    try:
        said = json.loads(line(JsonLines(), ValueError("no")))
    finally:
        request_id.reset(token)
    assert said.pop("time").endswith("Z")
    assert "ValueError: no" in said.pop("exception")
    assert said == {
        "level": "WARNING",
        "logger": "dure.here",
        "message": "engine a is gone\n",
        "request_id": "r1",
        "attempt": "j1.2",
    }


def test_a_text_line_ends_with_what_it_is_about() -> None:
    assert line(TextLines()).endswith("WARNING dure.here: engine a is gone\n attempt=j1.2")


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/v1/health"])
def test_what_tools_read_is_in_the_interfaces_document(nobody: httpx.Client, path: str) -> None:
    assert path in nobody.get("/openapi.json").json()["paths"]
