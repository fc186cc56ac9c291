"""Nobody asks more than their share of requests, and nobody guesses for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.api.limits import BURST_S, MOST_ADDRESSES, Bucket, Failures, Limits, network_of
from dure.control.access import Caller, Role
from dure.identity.settings import RateLimits
from tests.control.builders import HANBIT, MINISTRY, NATION, OPERATOR
from tests.control.server import ServerProcess, running_server

COLLEAGUE = Caller(id="t77", role=Role.MEMBER, organisation="hanbit")


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 30)), min_size=1, max_size=60))
def test_no_pattern_of_asking_gets_more_than_the_rate_and_one_burst(asks: list[tuple[int, int]]) -> None:
    per_s, most = 10, 50
    now_ms = taken = 0
    bucket = Bucket(per_s, most, now_ms)
    for pause_ms, amount in asks:
        now_ms += pause_ms
        if bucket.take(amount, now_ms) == 0:
            taken += amount
            # The last one taken may overdraw; whoever comes next pays for it.
            assert taken <= most + now_ms * per_s / 1000 + amount


@given(st.integers(1, 1_000), st.integers(1, 5_000))
def test_whoever_waits_as_long_as_told_is_let_in(per_s: int, amount: int) -> None:
    bucket = Bucket(per_s, per_s, 0)
    assert bucket.take(amount + per_s, 0) == 0
    wait_ms = bucket.take(1, 0)
    assert wait_ms > 0
    assert bucket.take(1, wait_ms + 1) == 0


def test_an_organisation_has_one_limit_for_all_its_tokens_and_no_other_pays() -> None:
    limits = Limits(RateLimits(token=5, organisation=7, operator=0))
    counts = [0, 0]
    for _ in range(10 * BURST_S):
        for index, caller in enumerate((HANBIT, COLLEAGUE)):
            counts[index] += limits.take(caller, 1, 0) == 0
    assert sum(counts) == 7 * BURST_S
    assert limits.take(MINISTRY, 1, 0) == 0


def test_an_operator_has_no_limit_unless_one_is_set() -> None:
    assert all(Limits(RateLimits()).take(OPERATOR, 100_000, 0) == 0 for _ in range(100))
    limited = Limits(RateLimits(operator=1))
    assert limited.take(OPERATOR, BURST_S, 0) == 0
    assert limited.take(OPERATOR, 1, 0) > 0


def test_failures_are_counted_for_a_network_and_forgotten_for_the_longest_quiet() -> None:
    failures = Failures()
    assert [failures.count("2001:db8::1", 0, 3) == 0 for _ in range(3)] == [True] * 3
    assert failures.count("2001:db8::ffff", 0, 3) > 0
    assert failures.count("2001:db8:1::1", 0, 3) == 0
    for number in range(MOST_ADDRESSES):
        failures.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0, 3)
    assert failures.count("2001:db8::1", 0, 3) == 0


@pytest.mark.parametrize("address", ["", "unix", "1.2.3.4", "::1", "fe80::1%eth0", "999.1.1.1"])
def test_any_address_has_a_network(address: str) -> None:
    assert isinstance(network_of(address), str)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that lets a token ask once a second, and knows local accounts."""
    folder: Path = tmp_path_factory.mktemp("limits")
    (folder / "identity.yaml").write_text(
        "limits: {token: 1, organisation: 100, operator: 0}\nlocal_accounts: true\ntokens: {usual: 1d, longest: 7d}\n"
    )
    with running_server(folder / "state", options=["--identity", str(folder / "identity.yaml")]) as running:
        with running.client() as http:
            http.put("/v1/nation", content=NATION, headers={"Content-Type": "application/yaml"}).raise_for_status()
        yield running


def test_who_asks_too_much_is_told_when_to_come_again(strict: ServerProcess) -> None:
    with strict.client() as operator:
        tokens = [
            operator.post("/v1/tokens", json={"role": "member", "organisation": name}).json()["text"]
            for name in ("hanbit", "ministry")
        ]
    with strict.client(tokens[0]) as http:
        answers = [http.get("/v1/whoami") for _ in range(3 * BURST_S)]
    assert [each.status_code for each in answers[:BURST_S]] == [200] * BURST_S
    refused = answers[-1]
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-requests")
    assert int(refused.headers["retry-after"]) >= 1
    with strict.client(tokens[1]) as other:
        assert other.get("/v1/whoami").status_code == 200


def test_a_batch_counts_its_jobs(strict: ServerProcess) -> None:
    with strict.client() as operator:
        token = operator.post("/v1/tokens", json={"role": "member", "organisation": "ministry"}).json()["text"]
    headers = {"Content-Type": "application/x-ndjson"}
    with strict.client(token) as http:
        assert http.post("/v1/jobs/batch", content=b"{}\n" * 15 * BURST_S, headers=headers).status_code == 201
        refused = http.get("/v1/whoami")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 14 * BURST_S - 60


def test_a_token_lives_no_longer_than_the_identity_file_allows(strict: ServerProcess) -> None:
    day_ms = 24 * 3600 * 1000
    with strict.client() as operator:
        usual = operator.post("/v1/tokens", json={"role": "auditor"}).json()["card"]
        assert usual["expires_at_ms"] - usual["issued_at_ms"] in range(day_ms - 60_000, day_ms + 1)
        longer = operator.post("/v1/tokens", json={"role": "auditor", "lifetime_ms": 8 * day_ms})
        assert (longer.status_code, longer.json()["problems"][0]["field"]) == (422, "lifetime_ms")


def test_a_local_account_is_a_way_in_and_its_password_is_shown_nowhere(strict: ServerProcess) -> None:
    password = "correct horse battery staple"
    wanted = {"kind": "local", "name": "night-watch", "role": "operator", "password": password}
    with strict.client() as operator:
        short = operator.post("/v1/accounts", json=wanted | {"password": "fourteen chars"})
        assert (short.status_code, short.json()["problems"][0]["field"]) == (422, "password")
        added = operator.post("/v1/accounts", json=wanted)
        assert added.status_code == 201, added.text
        assert operator.post("/v1/accounts", json=wanted).status_code == 409
        with httpx.Client(base_url=strict.url, trust_env=False) as nobody:
            given = {"name": "night-watch", "password": password}
            issued = nobody.post("/v1/sign-in/password", json=given).raise_for_status().json()
            wrong = nobody.post("/v1/sign-in/password", json=given | {"password": "wrong" * 4})
            unknown = nobody.post("/v1/sign-in/password", json=given | {"name": "no-such-name"})
        assert wrong.status_code == unknown.status_code == 401
        assert wrong.json() == unknown.json()
        with strict.client(issued["text"]) as person:
            assert person.get("/v1/whoami").json()["role"] == "operator"
            entries = person.get("/v1/ledger/entries", params={"limit": 1000}).text
        assert operator.delete(f"/v1/accounts/{added.json()['id']}").status_code == 200
        with strict.client(issued["text"]) as person:
            assert person.get("/v1/whoami").status_code == 401
    for text in (entries, strict.output, added.text):
        assert password not in text
        assert "argon2" not in text
        assert "night-watch" not in entries


def test_guessing_a_password_takes_longer_each_time(strict: ServerProcess) -> None:
    with httpx.Client(base_url=strict.url, trust_env=False) as nobody:
        given = {"name": "somebody", "password": "not the password"}
        answers = [nobody.post("/v1/sign-in/password", json=given) for _ in range(5)]
    assert [each.status_code for each in answers[:3]] == [401] * 3
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "too-many-failures")
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_an_address_that_keeps_failing_is_told_to_wait_and_a_good_token_from_there_is_not(
    strict: ServerProcess,
) -> None:
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(base_url=strict.url, transport=elsewhere) as http:
        codes = {http.get("/v1/whoami", headers={"Authorization": "Bearer dure_x"}).status_code for _ in range(120)}
        assert codes == {401, 429}
        good = {"Authorization": f"Bearer {strict.token}"}
        assert http.get("/v1/whoami", headers=good).status_code == 200
