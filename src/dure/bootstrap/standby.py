"""What a server does while another one leads."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from dure.bootstrap.listening import name_of
from dure.bootstrap.platform import SystemClock, warm_up
from dure.bootstrap.snapshots import SnapshotTaker

if TYPE_CHECKING:
    from dure.api.wire import Wire
    from dure.ledger.postgres import Candidate, PostgresLedger


class StandBy:
    """Answers that another server leads, until this one does."""

    def __init__(self, listener: socket.socket, wire: Wire, snapshots: SnapshotTaker) -> None:
        self._listener = listener
        self._wire = wire
        self._snapshots = snapshots
        self.until = 0.0
        """When this server took over, by the clock that measures how long its start takes."""

    def __call__(self, candidate: Candidate) -> PostgresLedger:
        """Wait for the lead. Raises `KeyboardInterrupt` when the process is told to stop."""
        import uvloop

        from dure.api.standby import Standby

        url = f"{self._wire.scheme}://{name_of(self._listener)}"
        leader = candidate.leader() or "another server"
        # Whoever reads the address may ask at once, and waits for the moment that serving takes to begin.
        self._listener.listen()
        sys.stdout.write(f"Dure stands by at {url}: {leader} leads\n")
        sys.stdout.flush()
        # What takes long is done before it is needed.
        warming = threading.Thread(target=warm_up, name="warm-up", daemon=True)
        warming.start()
        standby = Standby(candidate, leader, SystemClock(), self._wire, self._snapshots.consider)
        with closing(self._snapshots), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ledger = runner.run(standby.until_leading(self._listener.dup()))
        self.until = time.perf_counter()
        warming.join()
        return ledger
