"""The lender's ledger over the interface: running totals, and only one's own lines for members."""

from __future__ import annotations

import time

import httpx

DAY_MS = 24 * 3_600_000


def lending(client: httpx.Client, **parameters: int) -> dict[str, object]:
    body: dict[str, object] = client.get("/v1/lending", params=parameters).raise_for_status().json()
    return body


def test_every_reader_gets_a_report_of_whole_days(operator: httpx.Client, auditor: httpx.Client) -> None:
    now_ms = time.time_ns() // 1_000_000
    for client in (operator, auditor):
        report = lending(client, from_ms=now_ms)
        assert report["from_ms"] == now_ms // DAY_MS * DAY_MS
        assert report["warning_and_grace_ms"] == 3_000


def test_a_time_that_is_no_number_is_refused(operator: httpx.Client) -> None:
    answer = operator.get("/v1/lending", params={"from_ms": "yesterday"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-parameter")
