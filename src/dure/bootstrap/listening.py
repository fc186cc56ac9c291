"""The socket that people reach the platform by."""

from __future__ import annotations

import socket

from dure.bootstrap.state import StartError


def listen(host: str, port: int) -> socket.socket:
    """A socket to listen on. Bound before anything else, so that a port in use is said at once and plainly."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}: {error.strerror}; name an address of this machine with --host"
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        hint = "another server may be running there; stop it, or choose another with --port"
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror}; {hint}") from None
    return listener


def name_of(listener: socket.socket) -> str:
    """Host and port as they are written in an address."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
