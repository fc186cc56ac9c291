"""The client against a small real server that misbehaves on purpose."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dure.cli.client import CutOff, Server
from dure.cli.errors import BadInput, Refused


class Script(ThreadingHTTPServer):
    """Answers requests in the order of `answers`; None hangs up without one."""

    daemon_threads = True

    def __init__(self, answers: list[bytes | None]) -> None:
        super().__init__(("127.0.0.1", 0), Scripted)
        self.answers = answers
        self.seen: list[dict[str, str]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: hanging up is what the tests ask for."""


class Scripted(BaseHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Script)
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        server.seen.append(dict(self.headers))
        answer = server.answers.pop(0)
        if answer is None:
            self.close_connection = True
        else:
            self.wfile.write(answer)

    do_GET = do_POST


def http(status: str, body: bytes, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@contextmanager
def scripted(*answers: bytes | None) -> Iterator[tuple[Script, Server]]:
    with Script(list(answers)) as script:
        thread = threading.Thread(target=script.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script, Server(f"http://127.0.0.1:{script.server_address[1]}", "dure_secret")
        finally:
            script.shutdown()
            thread.join()


def test_a_submission_that_was_cut_off_is_sent_again_under_the_same_key() -> None:
    with scripted(None, None, http("201 Created", b'{"jobs": ["j1"]}')) as (script, server):
        assert server.submit(b"name: x", "application/yaml") == b'{"jobs": ["j1"]}'
        keys = {seen["Idempotency-Key"] for seen in script.seen}
    assert len(script.seen) == 3
    assert len(keys) == 1


def test_two_submissions_have_two_keys() -> None:
    created = http("201 Created", b"{}")
    with scripted(created, created) as (script, server):
        server.submit(b"name: x", "application/yaml")
        server.submit(b"name: x", "application/yaml")
    assert script.seen[0]["Idempotency-Key"] != script.seen[1]["Idempotency-Key"]


def test_a_submission_gives_up_after_three_tries() -> None:
    with scripted(None, None, None) as (script, server), pytest.raises(CutOff, match="try again"):
        server.submit(b"name: x", "application/yaml")
    assert len(script.seen) == 3


def test_a_request_that_is_no_submission_is_sent_once() -> None:
    with scripted(None, http("200 OK", b"{}")) as (script, server), pytest.raises(CutOff):
        server.send("POST", "/v1/jobs/j1/cancel")
    assert len(script.seen) == 1


def test_a_refused_token_is_never_repeated_in_the_message() -> None:
    with scripted(http("401 Unauthorized", b"{}")) as (_, server), pytest.raises(Refused) as refused:
        server.get("/v1/queue")
    assert "DURE_TOKEN" in refused.value.message
    assert "dure_secret" not in refused.value.message


def test_a_stranger_at_the_address_is_recognised() -> None:
    page = http("502 Bad Gateway", b"<html>nginx</html>", "text/html")
    with scripted(page) as (_, server), pytest.raises(Refused, match="not a Dure answer; check DURE_URL"):
        server.get("/v1/queue")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("422 Unprocessable Content", BadInput),
        ("400 Bad Request", BadInput),
        ("409 Conflict", Refused),
        ("403 Forbidden", Refused),
    ],
)
def test_wrong_input_and_refusals_are_told_apart(status: str, kind: type[Exception]) -> None:
    body = b'{"title": "No", "detail": "because"}'
    with scripted(http(status, body, "application/problem+json")) as (_, server), pytest.raises(kind, match="because"):
        server.get("/v1/queue")


def test_events_are_read_as_they_were_written() -> None:
    stream = b': still here\n\nevent: output\ndata: {"text": "a\\nb"}\n\nid: 7\nevent: end\ndata: {}\n\n'
    with scripted(http("200 OK", stream, "text/event-stream")) as (_, server):
        assert list(server.events("/v1/x")) == [("output", '{"text": "a\\nb"}'), ("end", "{}")]
