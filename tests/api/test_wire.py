"""The wire: TLS, where the server may listen without it, and how long it waits for what never comes."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dure.api.wire import Wire, WireError, check_wire
from dure.cli.main import main
from tests.control.server import ServerProcess, running_server

API_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def certificate(folder: Path, password: bytes | None = None, name: str = "server") -> tuple[Path, Path]:
    """A certificate for this machine that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dure test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden))
    return paths


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_this_machine_tokens_never_travel_in_clear_unless_said(host: str, tmp_path: Path) -> None:
    with pytest.raises(WireError, match="--tls-cert"):
        check_wire(Wire(), host)
    cert, key = certificate(tmp_path)
    check_wire(Wire(certificate=cert, key=key), host)
    check_wire(Wire(trusted_proxy="192.0.2.7"), host)
    check_wire(Wire(insecure_http=True), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_this_machine_nothing_needs_to_be_said(host: str) -> None:
    check_wire(Wire(), host)


def test_dure_up_says_so_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["up", "--host", "0.0.0.0", "--port", "0", "--state", "mine"])
    assert result.exit_code == 1
    assert "in clear" in result.output
    assert "--insecure-http" in result.output
    assert not (tmp_path / "mine").exists()


def test_broken_tls_is_said_before_anything_is_served(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    _, other_key = certificate(tmp_path, name="other")
    _, locked_key = certificate(tmp_path, password=b"secret", name="locked")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("not a certificate")
    for wire in (
        Wire(certificate=cert),
        Wire(key=key),
        Wire(certificate=cert, key=other_key),
        Wire(certificate=cert, key=locked_key),
        Wire(certificate=nonsense, key=key),
        Wire(certificate=tmp_path / "missing.pem", key=key),
    ):
        with pytest.raises(WireError, match=r"--tls-cert|PEM"):
            check_wire(wire, "127.0.0.1")


def test_an_identity_file_that_is_wrong_is_told_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "identity.yaml").write_text("provider: {issuer: http://id.example.kr}\nrole: []\n")
    result = CliRunner().invoke(main, ["up", "--port", "0", "--state", "mine", "--identity", "identity.yaml"])
    assert result.exit_code == 1
    for said in ("identity.yaml", "https://", "provider.client_id", "role", "did you mean roles"):
        assert said in result.output
    assert not (tmp_path / "mine").exists()


def test_over_tls_cookies_are_for_tls_only_and_the_command_line_trusts_a_private_authority(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    options = ["--tls-cert", str(cert), "--tls-key", str(key)]
    with running_server(tmp_path / "state", options=options) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=cert)
        headers = {"Authorization": f"Bearer {server.token}"}
        with httpx.Client(base_url=server.url, verify=context, headers=headers, trust_env=False) as http:
            answer = http.get(http.post("/v1/sign-in-links").json()["path"])
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-dure_session=dures_")
            assert "Secure" in cookie
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
        environment = os.environ | {"DURE_URL": server.url, "DURE_STATE": str(server.state)}
        command = [sys.executable, "-m", "dure.cli.main", "whoami"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 1
        assert "certificate" in done.stderr
        trusting = environment | {"DURE_CA": str(cert)}
        done = subprocess.run(command, capture_output=True, text=True, env=trusting, check=False)
        assert done.returncode == 0, done.stderr
        assert "operator" in done.stdout


@pytest.mark.parametrize("path", ["/v1/health", "/v1/queue", "/no-such-address", "/v1/jobs/none", "/openapi.json"])
def test_every_answer_tells_browsers_to_keep_and_guess_nothing(server: ServerProcess, path: str) -> None:
    with server.client() as operator:
        answer = operator.get(path, headers={"Origin": "https://elsewhere.example"})
    assert {name: answer.headers[name] for name in API_HEADERS} == API_HEADERS
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_head_that_never_ends_is_not_kept(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
        wire.sendall(b"GET /v1/health HTTP/1.1\r\n")
        received = b""
        try:
            for _ in range(200):
                wire.sendall(b"X-Filler: " + b"x" * 1000 + b"\r\n")
            received = wire.recv(1000)
        except OSError:
            pass
        assert not received or received.startswith(b"HTTP/1.1 431")


def test_a_client_that_says_nothing_is_let_go(server: ServerProcess) -> None:
    """One connection that never says anything, one that begins; both end within the patience, others are answered."""
    began = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=40) as silent,
        socket.create_connection(("127.0.0.1", server.port), timeout=40) as slow,
    ):
        slow.sendall(b"GET /v1/health HTTP/1.1\r\nHost")
        with server.client() as operator:
            assert operator.get("/v1/whoami").status_code == 200
        assert silent.recv(1000).startswith(b"HTTP/1.1 408")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 35


@pytest.mark.parametrize(
    "body",
    [b"[" * 900_000, b'{"role":' * 100_000, b'{"scope":[' + b"[" * 500_000, b"\xff\xfe", b'{"role": "\xff"}', b""],
)
def test_a_body_that_is_nested_or_broken_is_refused(server: ServerProcess, body: bytes) -> None:
    with server.client() as operator:
        for method, path in (
            ("POST", "/v1/tokens"),
            ("POST", "/v1/accounts"),
            ("POST", "/v1/jobs"),
            ("POST", "/v1/plan"),
        ):
            answer = operator.request(method, path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 422, (path, answer.text)
