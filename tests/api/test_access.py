"""Nobody gets past the door without the permission that an operation names."""

from __future__ import annotations

import re

import httpx
import pytest

from dure.api.operations import Operation
from dure.api.table import OPERATIONS
from dure.control.access import GRANTS, Permission, Role

OPEN = {("GET", "/v1/health"), ("GET", "/openapi.json"), ("GET", "/login")}
GUARDED = [operation for operation in OPERATIONS if operation.permission is not None]


def named(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def address(operation: Operation) -> str:
    """The path with names in it that nothing has."""
    return re.sub(r"{\w+}", "nothing", operation.path)


def send(http: httpx.Client, operation: Operation) -> httpx.Response:
    kind = next(iter(operation.bodies), None)
    headers = {"Content-Type": kind} if kind else {}
    return http.request(operation.method, address(operation), headers=headers, content=b"?" if kind else None)


def test_only_these_operations_are_open_to_anybody() -> None:
    assert {(each.method, each.path) for each in OPERATIONS if each.permission is None} == OPEN


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


@pytest.mark.parametrize("operation", [each for each in GUARDED if each.permission is Permission.OPERATE], ids=named)
def test_a_member_operates_nothing(hanbit: httpx.Client, operation: Operation) -> None:
    answer = send(hanbit, operation)
    assert answer.status_code == 403
    assert answer.json()["code"] == "role-lacks-permission"


@pytest.mark.parametrize("operation", [each for each in GUARDED if each.method != "GET"], ids=named)
def test_an_auditor_changes_nothing(auditor: httpx.Client, operation: Operation) -> None:
    status = send(auditor, operation).status_code
    assert status == (201 if operation.path == "/v1/sign-in-links" else 403)


def test_every_role_is_granted_something_and_only_the_operator_everything() -> None:
    assert set(GRANTS) == set(Role)
    assert [role for role in Role if GRANTS[role] == set(Permission)] == [Role.OPERATOR]


def test_a_method_that_is_not_offered_is_said_to_be_so(operator: httpx.Client) -> None:
    paths = {operation.path: set[str]() for operation in OPERATIONS}
    for operation in OPERATIONS:
        paths[operation.path].add(operation.method)
    for path, methods in paths.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
            answer = operator.request(method, re.sub(r"{\w+}", "nothing", path))
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
