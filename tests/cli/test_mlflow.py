"""An MLflow registry is read over its documented REST interface (2.0), which a small server here speaks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dure.cli.errors import BadInput, Refused
from dure.cli.mlflow import MlflowVersion, read_registry

TOKEN = "registry-token"
VERSIONS = [
    {"name": "Chat", "version": "2", "run_id": "r2", "status": "READY", "source": "s3://bucket/2"},
    {"name": "Chat", "version": "1", "run_id": "r1", "status": "READY", "source": "file:///etc/passwd"},
    {"name": "Chat", "version": "3", "status": "FAILED_REGISTRATION", "source": "s3://bucket/3"},
]
METRICS = {"r1": [{"key": "mmlu", "value": 0.5, "timestamp": 1, "step": 0}], "r2": [{"key": "mmlu", "value": 0.71}]}


class Registry(BaseHTTPRequestHandler):
    """The four answers of MLflow that are asked for, in pages of one version."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error_code": "UNAUTHENTICATED"})
        elif asked.get("name") == "moved":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.end_headers()
        elif address.path.endswith("/registered-models/get") and asked["name"] == "Chat":
            self._answer(
                200, {"registered_model": {"name": "Chat", "aliases": [{"alias": "champion", "version": "2"}]}}
            )
        elif address.path.endswith("/model-versions/search") and asked["filter"] == "name='Chat'":
            page = int(asked.get("page_token", "0"))
            more = {"next_page_token": str(page + 1)} if page + 1 < len(VERSIONS) else {}
            self._answer(200, {"model_versions": [VERSIONS[page]]} | more)
        elif address.path.endswith("/runs/get"):
            self._answer(
                200, {"run": {"info": {"run_id": asked["run_id"]}, "data": {"metrics": METRICS[asked["run_id"]]}}}
            )
        elif asked.get("name") == "strange":
            self._answer(200, {"registered_model": 7})
        else:
            self._answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_versions_come_oldest_first_with_metrics_aliases_and_where_they_are(registry: str) -> None:
    assert read_registry(f"{registry}/", "Chat", TOKEN) == [
        MlflowVersion(number=1, source=f"{registry}/#/models/Chat/versions/1", metrics={"mmlu": "0.5"}, aliases=()),
        MlflowVersion(
            number=2, source=f"{registry}/#/models/Chat/versions/2", metrics={"mmlu": "0.71"}, aliases=("champion",)
        ),
    ]


@pytest.mark.parametrize(
    ("name", "token", "said"),
    [
        ("Chat", "", "wants another token"),
        ("nothing", TOKEN, "has no such model"),
        ("moved", TOKEN, "answered 302"),
        ("strange", TOKEN, "not what MLflow answers"),
    ],
)
def test_what_cannot_be_had_is_told(registry: str, name: str, token: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        read_registry(registry, name, token)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://mlflow.example", "not the address"),
        ("file:///etc/passwd", "not the address"),
        ("https://user:secret@mlflow.example", "password in it"),
        ("http://mlflow.example", "over https only"),
        ("https://mlflow.example/?x=1", "not the address"),
    ],
)
def test_an_address_that_is_not_safe_is_not_asked(url: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        read_registry(url, "Chat", TOKEN)
    assert "secret" not in str(refused.value)


def test_a_name_cannot_end_the_filter(registry: str) -> None:
    with pytest.raises((BadInput, Refused)):
        read_registry(registry, "Chat' OR name='Other", TOKEN)


def test_nobody_there_is_told(registry: str) -> None:
    with pytest.raises(Refused, match="cannot be asked"):
        read_registry("http://127.0.0.1:9", "Chat", "")
