"""The output of ranks on its way into their logs: whatever a job prints, it neither fills the disk nor is held up.

A log keeps what comes first, up to its limit, and what came last: the beginning says what ran, the end why it ended.
What lies between is read and let go, so that the job runs on as if all of it were kept.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Sequence

from dure.executors.local import records

TAIL_BYTES = 64 * 1024
"""How much of the end is kept of an output that is longer than its log may be."""
_PIECE_BYTES = 64 * 1024


class RankLog:
    """The log of one rank."""

    def __init__(self, rank: int, most_bytes: int) -> None:
        self._file = os.open(records.log_name(rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._most_bytes = most_bytes
        self._room = most_bytes
        self._left_out = 0
        self._tail = bytearray()

    def take(self, piece: bytes) -> None:
        """Keep what there is room for, and remember the end of the rest."""
        kept = self._write(piece[: self._room])
        self._room -= kept
        if kept < len(piece):
            self._leave_out(piece[kept:])

    def finish(self) -> None:
        """Add the end of what was left out, and say how much was."""
        if self._left_out:
            end = bytes(self._tail[-TAIL_BYTES:])
            count = f"{self._left_out:,} bytes were left out here, except the last {len(end):,}"
            self._write(f"\ndure: {count}:\n".encode() + end)
        os.close(self._file)

    def _leave_out(self, piece: bytes) -> None:
        if not self._left_out:
            if self._room:
                reason = "the disk takes no more"
                self._room = 0  # so that it is not in pieces, should there be room for an instant again
            else:
                reason = f"it has reached {self._most_bytes:,} bytes, which is the limit of this engine"
            self._write(f"\ndure: this log is full: {reason}. Its end will be added when the rank ends.\n".encode())
        self._left_out += len(piece)
        self._tail += piece
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]

    def _write(self, piece: bytes) -> int:
        """How many bytes the disk took."""
        written = 0
        try:
            while written < len(piece):
                written += os.write(self._file, piece[written:])
        except OSError:
            pass  # the job must not suffer for a full disk
        return written


class OutputKeeper:
    """Moves the output of all ranks of an attempt into their logs, on a thread of its own."""

    def __init__(self) -> None:
        self._logs: dict[int, RankLog] = {}
        """By the end of the pipe that the rank's output comes out of."""
        self._woken, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)

    def open(self, rank: int, most_bytes: int) -> int:
        """Begin a rank's log. Returns where the rank writes to, which the caller closes once it has forked the rank."""
        log = RankLog(rank, most_bytes)
        source, target = os.pipe()
        os.set_blocking(source, False)
        self._logs[source] = log
        return target

    def start(self) -> None:
        """Begin to move output. Not before the last fork: a thread would not come along."""
        self._thread.start()

    def finish(self) -> None:
        """Take what is left, and return when it is in the logs. Only once every process of the attempt is gone."""
        os.close(self._waker)
        self._thread.join()

    def _run(self) -> None:
        watched = select.poll()
        watched.register(self._woken, select.POLLIN)
        for source in self._logs:
            watched.register(source, select.POLLIN)
        last_round = False
        while self._logs:
            # Somebody outside may have been handed an end of the pipe, so in the last round nobody waits for it.
            ready = [source for source, _ in watched.poll(0 if last_round else None)]
            self._move([source for source in ready if source != self._woken], watched)
            if last_round and not set(ready) & self._logs.keys():
                break
            last_round = last_round or self._woken in ready
        for log in self._logs.values():
            log.finish()

    def _move(self, sources: Sequence[int], watched: select.poll) -> None:
        for source in sources:
            try:
                piece = os.read(source, _PIECE_BYTES)
            except BlockingIOError:
                continue
            if piece:
                self._logs[source].take(piece)
            else:
                watched.unregister(source)
                os.close(source)
                self._logs.pop(source).finish()
