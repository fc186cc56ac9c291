"""A real identity provider, and people with browsers who sign in at it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

FOLDER = Path(__file__).parent / "provider"
NODE = shutil.which("node")
IS_THERE = NODE is not None and (FOLDER / "node_modules" / "oidc-provider").is_dir()
WHY_NOT = "Node.js or its package oidc-provider is not installed"
PATIENCE_S = 60


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def running_provider(redirect_uri: str, output: Path) -> Iterator[str]:
    """The issuer of a provider that knows Dure under this redirect URI."""
    assert NODE is not None
    with output.open("w") as written:
        process = subprocess.Popen(
            [NODE, str(FOLDER / "provider.mjs"), redirect_uri],
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (said := re.search(r"^issuer (\S+)$", output.read_text(), re.M)):
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.02)
        yield said[1]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Browser:
    """Follows redirects and fills in forms, as a person does; keeps its cookies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(timeout=30, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        return self.http.get(urljoin(self.url, path))

    def begin(self, query: str = "") -> str:
        """The provider's address to which Dure sends this browser."""
        answer = self.get(f"/login/provider{query}")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def log_in(self, address: str, name: str) -> str:
        """Log in at the provider and agree; returns the address to which it sends the browser then."""
        answer = self.http.get(address)
        while True:
            if answer.is_redirect:
                address = urljoin(str(answer.url), answer.headers["location"])
                if address.startswith(self.url):
                    return address
                answer = self.http.get(address)
            else:
                answer = self._fill_in(answer, name)

    def sign_in(self, name: str, query: str = "") -> httpx.Response:
        """The whole way to the provider and back."""
        return self.http.get(self.log_in(self.begin(query), name))

    def approve(self, address: str, name: str) -> None:
        """Approve a device's code at the provider: confirm it, log in, and agree."""
        answer = self.http.get(address, follow_redirects=True)
        for _ in range(6):
            if "<form" not in answer.text:
                return
            answer = self._fill_in(answer, name)
            while answer.is_redirect:
                answer = self.http.get(urljoin(str(answer.url), answer.headers["location"]))
        raise AssertionError(answer.text)

    def _fill_in(self, page: httpx.Response, name: str) -> httpx.Response:
        form = re.search(r"<form[^>]*action=\"([^\"]+)\"", page.text)
        assert form, (page.status_code, page.text)
        fields = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page.text))
        fields |= {"login": name, "password": "any"} if 'name="login"' in page.text else {}
        return self.http.post(urljoin(str(page.url), unescape(form[1])), data=fields)


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
