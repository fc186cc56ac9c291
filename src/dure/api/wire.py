"""The wire: where the server listens, under which protection, and how long it waits for a request to arrive.

Tokens and what members compute go over it, so beyond this machine it is TLS, here or at a proxy, unless somebody says
that it need not be.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from asyncio import TimerHandle
from pathlib import Path
from typing import Any

import uvicorn
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD_S = 10.0
"""How long a client may take to say what it wants, from the first byte on, or from its connection."""
LARGEST_HEAD = 64 * 1024
"""Bytes of a request's first line and headers."""
BACKLOG = 2_048
A_YEAR_S = 365 * 24 * 3600
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class WireError(Exception):
    """The server cannot, or must not, listen like this; the message says why and what to do."""


class Wire(Struct, frozen=True, kw_only=True):
    """How the server is protected on the wire."""

    certificate: Path | None = None
    """PEM file with the certificate and those that signed it."""
    key: Path | None = None
    """PEM file with the certificate's private key."""
    trusted_proxy: str = ""
    """Address of a reverse proxy whose word on clients is taken, and which does TLS."""
    insecure_http: bool = False
    """Listen beyond this machine without TLS all the same."""

    @property
    def scheme(self) -> str:
        """What addresses of this server start with."""
        return "https" if self.certificate else "http"


def check_wire(wire: Wire, host: str) -> None:
    """Raises `WireError` when certificate and key cannot be used, or when tokens would travel in clear."""
    if bool(wire.certificate) != bool(wire.key):
        raise WireError("TLS needs both: give --tls-cert and --tls-key")
    if wire.certificate and wire.key:
        _load(wire.certificate, wire.key)
    elif not (wire.trusted_proxy or wire.insecure_http or _is_loopback(host)):
        raise WireError(
            f"listening on {host} without TLS would send tokens over the network in clear\n"
            "  Give --tls-cert and --tls-key; or --trust-proxy ADDRESS when a proxy there does TLS; "
            "or --insecure-http if this network is yours alone."
        )


def server_config(application: Any, wire: Wire, shutdown_s: int, is_secure: bool) -> uvicorn.Config:
    """How the HTTP server is set up."""
    return uvicorn.Config(
        application,
        http=PatientProtocol,
        ws="none",
        proxy_headers=bool(wire.trusted_proxy),
        forwarded_allow_ips=wire.trusted_proxy or None,
        headers=[("Strict-Transport-Security", f"max-age={A_YEAR_S}")] if is_secure else [],
        ssl_certfile=wire.certificate,
        ssl_keyfile=wire.key,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=shutdown_s,
    )


class PatientProtocol(HttpToolsProtocol):
    """HTTP as uvicorn speaks it, patient only for so long and only for so much.

    Without this, whoever opens connections and says nothing, or never stops saying headers, keeps them and our memory.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there: the clock runs until it has said what it wants."""
        super().connection_made(transport)
        self._is_in_head = False
        self._head_size = 0
        self._patience: TimerHandle | None = self.loop.call_later(LONGEST_HEAD_S, self._give_up, _TOO_SLOW)

    def data_received(self, data: bytes) -> None:
        """Some of a request, all of it, or several."""
        super().data_received(data)
        if not self._is_in_head:
            return
        self._head_size += len(data)
        if self._head_size > LARGEST_HEAD:
            self._give_up(_TOO_LARGE)
        elif self._patience is None:
            self._patience = self.loop.call_later(LONGEST_HEAD_S, self._give_up, _TOO_SLOW)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._is_in_head = True
        self._head_size = 0

    def on_headers_complete(self) -> None:
        """The client has said what it wants; the body's time and size are the application's to watch."""
        self._is_in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self, answer: bytes) -> None:
        # In the middle of an answer to an earlier request on this connection there is no place for another.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(answer)
        self.transport.close()


def _load(certificate: Path, key: Path) -> None:
    for file in (certificate, key):
        if not file.is_file():
            raise WireError(f"{file}: there is no such file; give the PEM files of certificate and key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password of ours, a key that wants one would be asked for on the terminal.
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise WireError(
            f"{certificate} and {key} cannot be used for TLS ({error}); "
            "give a PEM certificate and its own private key without a password"
        ) from None


def _no_password() -> str:
    raise ValueError("the key has a password")


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        # That nobody can listen there is said in better words when it is tried.
        return True
    return all(ipaddress.ip_address(str(address[4][0]).partition("%")[0]).is_loopback for address in found)
