"""Nobody gets past the door without the permission that an operation names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from dure.api.app import make_app
from dure.api.operations import Operation
from dure.api.table import OPERATIONS
from dure.control.access import GRANTS, ROLES_IN_ORGANISATIONS, Permission, Role
from dure.portal.routes import routes
from tests.control.server import ServerProcess

EVERYBODY = set(Role)
SUBMITTERS = {Role.OPERATOR, Role.ADMINISTRATOR, Role.MEMBER}
AUDITORS = {Role.OPERATOR, Role.AUDITOR, Role.STEWARD}
ADMINISTRATORS = {Role.OPERATOR, Role.ADMINISTRATOR}
GOVERNORS = {Role.OPERATOR, Role.STEWARD}
OPERATORS = {Role.OPERATOR}
GOVERNORS = {Role.OPERATOR, Role.STEWARD}
NEEDS_NO_TOKEN: set[Role] = set()
PARTIES = {Role.OPERATOR, Role.STEWARD, Role.ADMINISTRATOR}

WHO_MAY: dict[tuple[str, str], set[Role]] = {
    ("POST", "/v1/jobs"): SUBMITTERS,
    ("POST", "/v1/jobs/batch"): SUBMITTERS,
    ("GET", "/v1/jobs"): EVERYBODY,
    ("GET", "/v1/jobs/{job}"): EVERYBODY,
    ("GET", "/v1/jobs/{job}/why"): EVERYBODY,
    ("GET", "/v1/jobs/{job}/log"): EVERYBODY,
    ("GET", "/v1/jobs/{job}/outputs"): EVERYBODY,
    ("GET", "/v1/jobs/{job}/outputs/file"): EVERYBODY,
    ("GET", "/v1/jobs/{job}/outputs/view"): EVERYBODY,
    ("GET", "/v1/airlock"): GOVERNORS,
    ("GET", "/v1/airlock/{job}"): GOVERNORS,
    ("GET", "/v1/airlock/{job}/results/{number}"): GOVERNORS,
    ("POST", "/v1/airlock/{job}/release"): GOVERNORS,
    ("POST", "/v1/airlock/{job}/refuse"): GOVERNORS,
    ("POST", "/airlock/{job}/decision"): GOVERNORS,
    ("POST", "/v1/jobs/{job}/cancel"): SUBMITTERS,
    ("POST", "/v1/plan"): SUBMITTERS,
    ("GET", "/v1/queue"): EVERYBODY,
    ("GET", "/v1/events"): EVERYBODY,
    ("GET", "/v1/nodes"): EVERYBODY,
    ("POST", "/v1/nodes/{node}/cordon"): OPERATORS,
    ("POST", "/v1/nodes/{node}/down"): OPERATORS,
    ("POST", "/v1/nodes/{node}/drain"): OPERATORS,
    ("POST", "/v1/nodes/{node}/resume"): OPERATORS,
    ("GET", "/v1/sites"): EVERYBODY,
    ("GET", "/v1/shares"): EVERYBODY,
    ("GET", "/v1/usage"): EVERYBODY,
    ("GET", "/v1/lending"): EVERYBODY,
    ("GET", "/v1/nation"): EVERYBODY,
    ("PUT", "/v1/nation"): OPERATORS,
    ("GET", "/v1/datasets"): EVERYBODY,
    ("GET", "/v1/datasets/{dataset}"): EVERYBODY,
    ("GET", "/v1/datasets/{dataset}/croissant"): EVERYBODY,
    ("GET", "/v1/agreements"): EVERYBODY,
    ("POST", "/v1/agreements"): PARTIES,
    ("GET", "/v1/agreements/{agreement}"): EVERYBODY,
    ("GET", "/v1/agreements/{agreement}/odrl"): EVERYBODY,
    ("POST", "/v1/agreements/{agreement}/counter"): PARTIES,
    ("POST", "/v1/agreements/{agreement}/accept"): PARTIES,
    ("POST", "/v1/agreements/{agreement}/decline"): PARTIES,
    ("POST", "/v1/agreements/{agreement}/end"): PARTIES,
    ("GET", "/v1/models"): EVERYBODY,
    ("GET", "/v1/models/{organisation}/{model}"): EVERYBODY,
    ("POST", "/v1/models/{organisation}/{model}/versions"): SUBMITTERS,
    ("GET", "/v1/models/{organisation}/{model}/versions/{version}"): EVERYBODY,
    ("GET", "/v1/models/{organisation}/{model}/versions/{version}/lineage"): EVERYBODY,
    ("PUT", "/v1/models/{organisation}/{model}/aliases/{alias}"): SUBMITTERS,
    ("POST", "/v1/models/{organisation}/{model}/versions/{version}/evaluations"): SUBMITTERS,
    ("PUT", "/v1/models/{organisation}/{model}/facts"): SUBMITTERS,
    ("POST", "/v1/models/{organisation}/{model}/evidence"): SUBMITTERS,
    ("GET", "/v1/models/{organisation}/{model}/versions/{version}/assessment"): EVERYBODY,
    ("PUT", "/v1/models/{organisation}/{model}/gate"): ADMINISTRATORS,
    ("POST", "/v1/models/{organisation}/{model}/versions/{version}/promotion"): ADMINISTRATORS,
    ("POST", "/v1/models/{organisation}/{model}/versions/{version}/withdrawal"): SUBMITTERS,
    ("POST", "/v1/models/{organisation}/{model}/versions/{version}/incidents"): SUBMITTERS,
    ("POST", "/v1/models/{organisation}/{model}/versions/{version}/bundle"): EVERYBODY,
    ("GET", "/v1/tasks"): EVERYBODY,
    ("POST", "/v1/tasks/{task}/close"): SUBMITTERS,
    ("GET", "/v1/ledger/checkpoint"): EVERYBODY,
    ("GET", "/v1/ledger/entries"): AUDITORS,
    ("GET", "/v1/ledger/log/checkpoint"): EVERYBODY,
    ("GET", "/v1/ledger/log/tile/{tile:path}"): AUDITORS,
    ("GET", "/v1/ledger/log/large/{number:path}"): AUDITORS,
    ("GET", "/v1/policy"): EVERYBODY,
    ("POST", "/v1/stop-orders"): GOVERNORS,
    ("GET", "/v1/stop-orders"): AUDITORS,
    ("POST", "/v1/proposals"): GOVERNORS,
    ("GET", "/v1/proposals"): AUDITORS,
    ("POST", "/v1/proposals/{proposal}/approve"): GOVERNORS,
    ("POST", "/v1/proposals/{proposal}/withdraw"): GOVERNORS,
    ("POST", "/v1/tokens"): ADMINISTRATORS,
    ("GET", "/v1/tokens"): ADMINISTRATORS,
    ("DELETE", "/v1/tokens/{token}"): ADMINISTRATORS,
    ("POST", "/v1/accounts"): ADMINISTRATORS,
    ("GET", "/v1/accounts"): ADMINISTRATORS,
    ("DELETE", "/v1/accounts/{account}"): ADMINISTRATORS,
    ("POST", "/v1/people/{person}/forget"): OPERATORS,
    ("PUT", "/v1/projects/{project}/secrets/{name}"): SUBMITTERS,
    ("GET", "/v1/whoami"): EVERYBODY,
    ("POST", "/v1/sign-out"): EVERYBODY,
    ("POST", "/v1/sign-in/password"): NEEDS_NO_TOKEN,
    ("POST", "/v1/sign-in-links"): EVERYBODY,
    ("POST", "/v1/sign-in/device"): NEEDS_NO_TOKEN,
    ("POST", "/v1/sign-in/device/token"): NEEDS_NO_TOKEN,
    ("GET", "/login"): NEEDS_NO_TOKEN,
    ("GET", "/login/provider"): NEEDS_NO_TOKEN,
    ("GET", "/login/callback"): NEEDS_NO_TOKEN,
    ("POST", "/logout"): EVERYBODY,
    ("GET", "/v1/health"): NEEDS_NO_TOKEN,
    ("GET", "/livez"): NEEDS_NO_TOKEN,
    ("GET", "/readyz"): NEEDS_NO_TOKEN,
    ("GET", "/metrics"): AUDITORS,
    ("GET", "/openapi.json"): NEEDS_NO_TOKEN,
}
"""Who may call each operation. Whoever adds one decides here, in so many words."""

PAGES = {
    "/": "signed in",
    "/data": "signed in",
    "/jobs/{job}": "signed in",
    "/airlock": "signed in",
    "/airlock/{job}": "signed in",
    "/changes": "signed in",
    "/assets/{name}": "anybody",
}

GUARDED = [operation for operation in OPERATIONS if operation.permission is not None]
DENIALS = {"not-signed-in", "role-lacks-permission", "scope-lacks-permission"}


def named(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def address(operation: Operation) -> str:
    """The path with names in it that nothing has."""
    return re.sub(r"{[\w:]+}", "nothing", operation.path)


def send(http: httpx.Client, operation: Operation) -> httpx.Response:
    kind = next(iter(operation.bodies), None)
    headers = {"Content-Type": kind} if kind else {}
    return http.request(operation.method, address(operation), headers=headers, content=b"?" if kind else None)


def every_route() -> Iterator[tuple[str, str]]:
    """What the application really serves, as its router has it."""
    nothing: Any = None
    for route in make_app(nothing, OPERATIONS, routes(nothing), nothing).routes:
        assert isinstance(route, Route), f"{route} is mounted: its own routes must be decided about too"
        for method in (route.methods or set()) - {"HEAD"}:
            yield method, route.path


def test_somebody_decided_about_every_route_and_verb() -> None:
    assert set(every_route()) == WHO_MAY.keys() | {("GET", path) for path in PAGES}


def test_what_an_operation_needs_is_what_was_decided() -> None:
    for operation in OPERATIONS:
        granted = {role for role in Role if operation.permission in GRANTS[role]}
        assert granted == WHO_MAY[operation.method, operation.path], named(operation)


@pytest.mark.parametrize("role", Role)
def test_each_role_may_do_what_was_decided_and_nothing_else(
    server: ServerProcess, operator: httpx.Client, role: Role
) -> None:
    organisation = "hanbit" if role in ROLES_IN_ORGANISATIONS else ""
    for operation in GUARDED:
        issued = operator.post("/v1/tokens", json={"role": role, "organisation": organisation}).raise_for_status()
        with server.client(issued.json()["text"]) as http:
            if operation.path == "/v1/events":
                with http.stream("GET", "/v1/events") as answer:
                    is_denied = answer.status_code in (401, 403)
            else:
                answer = send(http, operation)
                is_denied = answer.status_code in (401, 403) and answer.json()["code"] in DENIALS
        assert is_denied == (role not in WHO_MAY[operation.method, operation.path]), (named(operation), answer)


@pytest.mark.parametrize("path", [path for path, who in PAGES.items() if who == "signed in"])
def test_a_page_wants_to_know_who_reads_it(nobody: httpx.Client, path: str) -> None:
    assert nobody.get(path.replace("{job}", "j1")).status_code == 401


@pytest.mark.parametrize("operation", GUARDED, ids=named)
def test_without_a_token_nothing_is_done(nobody: httpx.Client, operation: Operation) -> None:
    answer = send(nobody, operation)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "not-signed-in"


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer dure_wrong", "Basic dXNlcjpwYXNz", "dure_", "Bearer " + "x" * 5_000]
)
def test_a_wrong_token_is_no_token(nobody: httpx.Client, header: str) -> None:
    assert nobody.get("/v1/queue", headers={"Authorization": header}).status_code == 401


def test_every_role_is_granted_something_and_only_the_operator_everything() -> None:
    assert set(GRANTS) == set(Role)
    assert [role for role in Role if GRANTS[role] == set(Permission)] == [Role.OPERATOR]


def test_a_method_that_is_not_offered_is_said_to_be_so(operator: httpx.Client) -> None:
    patterns = [(re.sub(r"{[\w:]+}", "[^/]+", operation.path), operation.method) for operation in OPERATIONS]
    for path in sorted({address(operation) for operation in OPERATIONS}):
        offered = {method for pattern, method in patterns if re.fullmatch(pattern, path)}
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - offered:
            answer = operator.request(method, path)
            assert answer.status_code == 405, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"


def test_a_revoked_token_is_refused_at_once(operator: httpx.Client, nobody: httpx.Client) -> None:
    issued = operator.post("/v1/tokens", json={"role": "auditor"}).json()
    headers = {"Authorization": f"Bearer {issued['text']}"}
    assert nobody.get("/v1/queue", headers=headers).status_code == 200
    assert operator.delete(f"/v1/tokens/{issued['card']['id']}").status_code == 200
    assert nobody.get("/v1/queue", headers=headers).status_code == 401
    assert issued["text"] not in operator.get("/v1/tokens").text


def test_a_sign_in_link_works_once_and_only_for_reading(hanbit: httpx.Client, nobody: httpx.Client) -> None:
    path = hanbit.post("/v1/sign-in-links").json()["path"]
    signed_in = nobody.get(path)
    assert signed_in.status_code == 303
    cookie = signed_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    session = {"Cookie": cookie.partition(";")[0]}
    nobody.cookies.clear()
    assert nobody.get("/v1/queue", headers=session).status_code == 200
    assert nobody.get("/", headers=session).status_code == 200
    assert nobody.post("/v1/sign-in-links", headers=session).status_code == 401
    assert "set-cookie" not in nobody.get(path).headers


def test_a_session_ends_with_its_token(operator: httpx.Client, nobody: httpx.Client) -> None:
    issued = operator.post("/v1/tokens", json={"role": "auditor"}).json()
    bearer = {"Authorization": f"Bearer {issued['text']}"}
    path = nobody.post("/v1/sign-in-links", headers=bearer).json()["path"]
    session = {"Cookie": nobody.get(path).headers["set-cookie"].partition(";")[0]}
    nobody.cookies.clear()
    assert nobody.get("/v1/queue", headers=session).status_code == 200
    operator.delete(f"/v1/tokens/{issued['card']['id']}")
    assert nobody.get("/v1/queue", headers=session).status_code == 401


@pytest.mark.parametrize(
    "cookie", ["dure_session=x", "dure_session=AAAA", "dure_session=" + "A" * 400, "dure_session=é"]
)
def test_a_forged_session_is_none(nobody: httpx.Client, cookie: str) -> None:
    assert nobody.get("/v1/queue", headers=[(b"cookie", cookie.encode())]).status_code == 401
