"""Events, keys and rows that the ledger's tests share."""

from __future__ import annotations

from dure.ledger.contract import Row
from dure.ledger.note import Signer
from dure.model.events import AttemptStarted, JobReleased, encode
from dure.model.oversight import ChangeApproved, ChangeProposed, KeyChanged
from dure.model.proposals import KeyChange

ORIGIN = "dure.example/ledger"
SIGNER = Signer(ORIGIN, bytes(range(32)))
NOON_MS = 1_760_000_000_000


def entry(number: int) -> bytes:
    """Canonical bytes of an event that is different for every number."""
    if number % 2:
        return encode(JobReleased(at_ms=NOON_MS + number, job=f"job-{number}"))
    return encode(AttemptStarted(at_ms=NOON_MS + number, job=f"job-{number}", attempt=1))


def entries(start: int, stop: int) -> list[bytes]:
    """The entries numbered `start` to `stop - 1`."""
    return [entry(number) for number in range(start, stop)]


def key_agreed(signer: Signer, approved_by: str = "bob") -> list[bytes]:
    """Entries with which two people agree on another key."""
    change = KeyChange(key=str(signer.verifier))
    return [
        encode(ChangeProposed(at_ms=NOON_MS, proposal="p1", change=change, by="ann")),
        encode(ChangeApproved(at_ms=NOON_MS, proposal="p1", by=approved_by)),
    ]


def key_changed(former: Signer, signer: Signer, checkpoint: str) -> bytes:
    """The entry with which a ledger goes on under another key."""
    named = {"key": str(signer.verifier), "former": str(former.verifier), "checkpoint": checkpoint}
    return encode(KeyChanged(at_ms=NOON_MS, **named))


def row(key: str, body: str, table: str = "jobs") -> Row:
    """A row that holds a text."""
    return Row(table, key, body.encode())
