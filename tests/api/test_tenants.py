"""A member of one organisation learns nothing about another's but what the queue shows to all, and changes nothing."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from itertools import count

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dure.api.operations import Operation
from dure.api.table import OPERATIONS
from tests.api.test_jobs import state, submit, until
from tests.control.server import ServerProcess

WITH_IDS = [operation for operation in OPERATIONS if "{" in operation.path and operation.permission is not None]
PUBLIC = {"j", "gpus", "nodes", "share", "organisation", "state", "visible"}
MARK = "swordfish"
YAML = "application/yaml"
OFFER = f"""
provider: ministry
recipient: kaist
datasets: [rain-records]
purposes: [research]
operations: [compute]
sites: [daejeon]
from: 2027-01-01T00:00Z
until: 2099-01-01T00:00Z
clearance_reference: {MARK}
"""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NUMBERS = count()


@pytest.fixture(scope="module")
def secrets(server: ServerProcess) -> Iterator[dict[str, str]]:
    """Things of the ministry's, each with a mark in it that nobody else may see, by the parameter that names it."""
    with server.client() as operator:
        issued = operator.post("/v1/tokens", json={"role": "member", "organisation": "ministry"}).json()
        account = operator.post(
            "/v1/accounts", json={"kind": "service", "name": MARK, "role": "member", "organisation": "ministry"}
        ).json()
        with server.client(issued["text"]) as ministry:
            command = ["bash", "-c", f"echo {MARK}; exec tail -f /dev/null"]
            job = submit(ministry, name=MARK, project="weather", command=command)
            until(lambda: ministry.get(f"/v1/jobs/{job}/log").text == f"{MARK}\n")
            headers = {"Content-Type": "application/octet-stream"}
            ministry.put(f"/v1/projects/weather/secrets/{MARK}", content=MARK, headers=headers).raise_for_status()
            agreement = operator.post("/v1/agreements", content=OFFER, headers={"Content-Type": YAML}).json()
            until(lambda: state(ministry, job) == "running")
            done = submit(ministry, name="done", project="weather", gpus=0, cpus=1)
            until(lambda: state(ministry, done) == "succeeded")
            model = "/v1/models/ministry/rain/versions"
            ministry.post(model, json={"jobs": [done], "code": MARK}).raise_for_status()
            incident = ministry.post(f"{model}/1/incidents", json={"kind": "other", "reference": MARK})
            yield {
                "organisation": "ministry",
                "model": "rain",
                "version": "1",
                "task": incident.json()["tasks"][0],
                "job": job,
                "token": issued["card"]["id"],
                "account": account["id"],
                "project": "weather",
                "name": MARK,
                "agreement": agreement["agreement"],
                "dataset": "rain-records",
            }
            assert state(ministry, job) == "running", "somebody stopped the ministry's job"
            assert ministry.get("/v1/whoami").json()["token"] == issued["card"]["id"]
            operator.post(f"/v1/jobs/{job}/cancel")


@pytest.fixture(scope="module")
def outsiders(server: ServerProcess) -> Iterator[list[httpx.Client]]:
    """Everybody of another organisation: a member, an administrator, and one whose token is for one project."""
    with server.client() as operator:
        wanted = [{"role": "member"}, {"role": "administrator"}, {"role": "member", "project": "chat"}]
        bodies = [operator.post("/v1/tokens", json=each | {"organisation": "hanbit"}).json() for each in wanted]
        clients = [server.client(each["text"]) for each in bodies]
        yield clients
        for each in clients:
            each.close()


def address(operation: Operation, names: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda match: names.get(match[1], "nothing"), operation.path)


def call(http: httpx.Client, operation: Operation, path: str, method: str = "") -> httpx.Response:
    kind = next(iter(operation.bodies), None)
    headers = {"Content-Type": kind} if kind else {}
    return http.request(method or operation.method, path, headers=headers, content=b"value" if kind else None)


@pytest.mark.parametrize("operation", WITH_IDS, ids=lambda each: f"{each.method} {each.path}")
@pytest.mark.parametrize("method", METHODS)
def test_no_id_of_anothers_opens_anything(
    outsiders: list[httpx.Client], secrets: dict[str, str], operation: Operation, method: str
) -> None:
    for http in outsiders:
        answer = call(http, operation, address(operation, secrets | {"name": "KEY"}), method)
        assert MARK not in answer.text
        assert MARK not in str(answer.headers)
        if method == operation.method and operation.path != "/v1/jobs/{job}":
            assert answer.status_code in (403, 404), answer.text


def test_of_a_foreign_job_all_see_the_same_line_and_nothing_else(
    outsiders: list[httpx.Client], secrets: dict[str, str]
) -> None:
    seen = [http.get(f"/v1/jobs/{secrets['job']}").json() for http in outsiders]
    assert all(MARK not in str(each) for each in seen)
    assert all(each["line"]["visible"] is False for each in seen)
    assert all(each["line"]["name"] is None for each in seen)


def test_listings_show_of_others_only_what_the_queue_shows(
    outsiders: list[httpx.Client], secrets: dict[str, str]
) -> None:
    for http in outsiders:
        for path in (
            "/v1/jobs",
            "/v1/queue",
            "/v1/jobs?project=weather",
            "/v1/usage",
            "/v1/lending",
            "/",
            "/v1/nation",
            "/v1/agreements",
            "/v1/models",
            "/v1/tasks",
            "/v1/datasets",
        ):
            assert MARK not in http.get(path).text, path


@pytest.mark.parametrize(
    ("path", "existing"), [("/v1/tokens/{}", "token"), ("/v1/accounts/{}", "account")], ids=["token", "account"]
)
def test_what_another_has_is_refused_exactly_like_what_nobody_has(
    outsiders: list[httpx.Client], secrets: dict[str, str], path: str, existing: str
) -> None:
    administrator = outsiders[1]
    answers = []
    for name in (secrets[existing], "nothing"):
        answer = administrator.delete(path.format(name))
        answers.append((answer.status_code, answer.text.replace(name, "?"), sorted(answer.headers)))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


def test_an_administrator_lists_only_their_own(outsiders: list[httpx.Client], secrets: dict[str, str]) -> None:
    administrator = outsiders[1]
    tokens = administrator.get("/v1/tokens").json()["tokens"]
    assert {each["organisation"] for each in tokens} == {"hanbit"}
    assert {
        grant["organisation"]
        for each in administrator.get("/v1/accounts").json()["accounts"]
        for grant in each["grants"]
    } <= {"hanbit"}
    assert secrets["token"] not in [each["id"] for each in tokens]


def disguised(path: str) -> list[str]:
    """The same address as seen by somebody who hopes that a check looks at other letters than the router does."""
    _, version, collection, rest = path.split("/", 3)
    return [
        f"//{version}/{collection}/{rest}",
        f"/{version}//{collection}/{rest}",
        f"/{version}/{collection}/./{rest}",
        f"/{version}/nodes/../{collection}/{rest}",
        f"/{version}/nodes/%2e%2e/{collection}/{rest}",
        f"/{version}/{collection}%2f{rest}",
        f"/%76{version[1:]}/{collection}/{rest}",
        f"{path}/",
        f"{path}%00",
        f"{path};a=b",
        f"{path}%3fa=b",
        f"/{version.upper()}/{collection}/{rest}",
        f"/openapi.json/..{path}",
        f"/assets/..%2f..{path}",
    ]


def raw(server: ServerProcess, request_line: str, token: str = "") -> bytes:
    """The answer to a request whose first line no client would send."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
        wire.sendall(f"{request_line}\r\nHost: dure\r\n{authorization}Connection: close\r\n\r\n".encode())
        received = b""
        while chunk := wire.recv(65536):
            received += chunk
        return received


@pytest.mark.parametrize("operation", [each for each in WITH_IDS if each.method == "GET"], ids=lambda each: each.path)
def test_no_disguise_of_an_address_gets_past_the_door(
    server: ServerProcess, secrets: dict[str, str], operation: Operation
) -> None:
    for path in disguised(address(operation, secrets)):
        answer = raw(server, f"GET {path} HTTP/1.1")
        assert answer.split(b" ")[1] in (b"400", b"401", b"404"), (path, answer[:200])
        assert MARK.encode() not in answer


@pytest.mark.parametrize(
    "line",
    [
        "get /v1/queue HTTP/1.1",
        "GeT /v1/queue HTTP/1.1",
        "GET /v1/queue",
        "GET http://elsewhere.example/v1/queue HTTP/1.1",
        "GET v1/queue HTTP/1.1",
        "GET /v1/queue HTTP/9.9",
        "TRACE /v1/queue HTTP/1.1",
        "CONNECT /v1/queue HTTP/1.1",
        "PRI * HTTP/2.0",
        "OPTIONS * HTTP/1.1",
        "GET /v1/\xff\xfe HTTP/1.1",
    ],
)
def test_no_odd_request_gets_past_the_door(server: ServerProcess, line: str) -> None:
    answer = raw(server, line)
    assert not answer or answer.split(b" ")[1] in (b"400", b"401", b"404", b"405"), answer[:200]
    assert b"Traceback" not in answer


@given(
    order=st.lists(st.tuples(st.sampled_from(WITH_IDS), st.sampled_from(METHODS), st.integers(0, 2)), max_size=12),
    suffix=st.text(max_size=8),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_outsiders_do_in_any_order_shows_or_stops_the_job(
    outsiders: list[httpx.Client], secrets: dict[str, str], order: list[tuple[Operation, str, int]], suffix: str
) -> None:
    for operation, method, who in order:
        path = address(operation, secrets | {"name": "KEY"})
        answer = outsiders[who].request(method, path, params={"attempt": suffix} if suffix else None)
        assert MARK not in answer.text
        assert answer.status_code < 500
