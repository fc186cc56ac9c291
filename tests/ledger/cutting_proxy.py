"""A network between a server and its database that breaks at the worst moment: after an append, before its answer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class CuttingProxy:
    """Passes connections on to a port of this machine; once armed, it lets the next append through, and cuts then."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._armed = False
        self._doomed: socket.socket | None = None
        self.has_cut = threading.Event()
        threading.Thread(target=self._accept_forever, daemon=True).start()

    def arm(self) -> None:
        """Cut at the next append."""
        self._armed = True

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept_forever(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
                threading.Thread(target=self._to_client, args=(client, server), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if self._armed and b"INSERT INTO entries" in data:
                    self._armed, self._doomed = False, client
                    self.has_cut.set()
                server.sendall(data)
        server.close()

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                # The server has answered, so it has committed; the client will never know.
                if client is self._doomed:
                    break
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()
