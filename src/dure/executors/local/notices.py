"""A word to the server that an attempt's files have something new. It may get lost: the files are the truth."""

from __future__ import annotations

import json
import socket

_PATIENCE_S = 0.2
LARGEST_NOTICE_BYTES = 4_096
_LONGEST_PROBLEM = 300


def tell(path: str, attempt_id: str, problem: str = "") -> None:
    """Say that an attempt should be looked at, and what kept it from starting if something did."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(_PATIENCE_S)
        try:
            sender.sendto(compose(attempt_id, problem), path)
        except OSError:
            return  # no server is there, or it is too busy: it looks by itself sooner or later


def compose(attempt_id: str, problem: str) -> bytes:
    """The notice itself; a long problem is cut."""
    return json.dumps([attempt_id, problem[:_LONGEST_PROBLEM]]).encode()


def understand(notice: bytes) -> tuple[str, str]:
    """The attempt's id and the problem, if any, that `compose` was given."""
    attempt_id, problem = json.loads(notice)
    return attempt_id, problem
