"""The head of a stored log: from where appending goes on, and why that is believed."""

from __future__ import annotations

from msgspec import Struct

from dure.ledger.contract import Checkpoint, LedgerUnreadable
from dure.ledger.merkle import HASH_BYTES, Frontier
from dure.ledger.note import NoteError, Signer, open_checkpoint, sign_checkpoint

HISTORY_EVERY_MS = 60_000
"""Of the checkpoints of one minute only the last is kept, so that years of them can still be verified in a minute."""

_ADVICE = "Run `dure ledger verify` to see what is wrong; nothing is appended to a ledger that does not prove itself."


class StoredHead(Struct, frozen=True, kw_only=True):
    """What lies in the storage: number of entries, peaks of the tree, and the newest checkpoint."""

    size: int
    frontier: bytes
    note: str | None
    at_ms: int | None


class Head(Struct, frozen=True):
    """What appending goes on from."""

    frontier: Frontier
    checkpoint: Checkpoint | None

    @property
    def note(self) -> str | None:
        """The newest signed note; None before the first entry."""
        return self.checkpoint.note if self.checkpoint else None

    def extended(self, leaves: list[bytes], signer: Signer, at_ms: int) -> Head:
        """The head after more entries, under a new signed checkpoint; this same head when there are none."""
        if not leaves:
            return self
        frontier = self.frontier.copy()
        frontier.extend(leaves)
        root = frontier.root()
        note = sign_checkpoint(signer, frontier.size, root)
        return Head(frontier, Checkpoint(size=frontier.size, root=root, at_ms=at_ms, note=note))

    def outdated_by(self, later: Head) -> int | None:
        """Size of the checkpoint that need not be kept once `later` has one; None when it must be."""
        if self.checkpoint is None or later.checkpoint is None or later.checkpoint is self.checkpoint:
            return None
        same_minute = self.checkpoint.at_ms // HISTORY_EVERY_MS == later.checkpoint.at_ms // HISTORY_EVERY_MS
        return self.checkpoint.size if same_minute else None


def packed(frontier: Frontier) -> bytes:
    """A frontier as it is stored."""
    return b"".join(frontier.peaks())


def proven_head(stored: StoredHead, signer: Signer, where: str) -> Head:
    """The head to go on from; the stored frontier is believed because it gives the signed root.

    Raises `LedgerUnreadable` when it does not.
    """
    if stored.note is None and stored.size == 0:
        return Head(Frontier(), None)
    try:
        signed = open_checkpoint(stored.note or "", signer.verifier)
        peaks = [stored.frontier[at : at + HASH_BYTES] for at in range(0, len(stored.frontier), HASH_BYTES)]
        frontier = Frontier.restore(signed.size, peaks)
    except (NoteError, ValueError) as error:
        raise LedgerUnreadable(f"The last checkpoint of {where} is not valid: {error}. {_ADVICE}") from None
    if signed.size != stored.size or frontier.root() != signed.root:
        raise LedgerUnreadable(f"{where} does not fit its last checkpoint, of {signed.size} entries. {_ADVICE}")
    note, at_ms = stored.note or "", stored.at_ms or 0
    return Head(frontier, Checkpoint(size=signed.size, root=signed.root, at_ms=at_ms, note=note))
