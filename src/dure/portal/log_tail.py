"""The end of a job's output, for a page: short, safe to show, and with the place where following goes on."""

from __future__ import annotations

import os

from msgspec import Struct

LONGEST_TAIL = 64 * 1024
"""Bytes of output that a page starts with."""


class LogTail(Struct, frozen=True, kw_only=True):
    """The end of a rank's output. `offset` is the byte after it."""

    text: str
    offset: int
    is_cut: bool
    """True when there was more before it."""


def read_tail(path: str) -> LogTail | None:
    """The end of a log file, from the start of a line if it was cut; None while there is no such file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - LONGEST_TAIL)
            file.seek(start)
            body = file.read(size - start)
    except FileNotFoundError:
        return None
    if start:
        body = body[body.find(b"\n") + 1 :]
    return LogTail(text=body.decode(errors="replace"), offset=size, is_cut=start > 0)
