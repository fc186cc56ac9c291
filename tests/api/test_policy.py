"""The rules in force over the wire, and a refusal that says what would help."""

from __future__ import annotations

import httpx

from .test_operations import figures


def test_everybody_may_read_the_rules_in_force(hanbit: httpx.Client) -> None:
    rules = hanbit.get("/v1/policy").raise_for_status().json()["rules"]
    by_id = {each["rule"]["id"]: each for each in rules}
    embargo = by_id["embargo"]
    assert embargo["rule"]["title_ko"] == "공개 시점 전의 데이터는 소유 기관만 읽을 수 있다"
    assert embargo["rule"]["remedy_en"].startswith("Wait until the embargo is over")
    assert '@id("embargo")' in embargo["text"]


def test_a_refusal_by_policy_carries_its_rules_in_both_languages_and_what_would_help(
    operator: httpx.Client, hanbit: httpx.Client
) -> None:
    job = {"name": "n", "project": "chat", "command": ["true"], "cpus": 1, "data": ["rain-records"]}
    for path in ("/v1/jobs", "/v1/plan"):
        problem = hanbit.post(path, json=job).json()
        assert (problem["status"], problem["code"]) == (403, "forbidden-by-policy")
        [reason] = problem["reasons"]
        assert (reason["rule"], bool(reason["title_ko"])) == ("reader-must-be-named", True)
        assert "협약" in reason["remedy_ko"]
        assert "an agreement with ministry about rain-records" in problem["remedy"]["en"]
        assert "rain-records에 관해 ministry 기관과 맺은 협약" in problem["remedy"]["ko"]
    assert figures(operator)["dure_policy_errors_total", ""] == 0


def test_other_refusals_have_no_rules(hanbit: httpx.Client) -> None:
    problem = hanbit.post("/v1/jobs", json={"name": "n", "project": "no-such", "command": ["true"]}).json()
    assert problem.keys() & {"reasons", "remedy"} == set()
