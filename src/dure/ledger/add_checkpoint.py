"""What a log asks a witness: the body of C2SP tlog-witness' `add-checkpoint`, written and read here alike."""

from __future__ import annotations

from msgspec import Struct

from dure.ledger.merkle import HASH_BYTES
from dure.ledger.note import NoteError, from_base64, to_base64

MOST_PROOF_HASHES = 63
SIZE_TYPE = "text/x.tlog.size"
"""Media type of the answer that says which size the witness saw last."""


class AddCheckpoint(Struct, frozen=True):
    """The size that the witness saw last, the proof that the log goes on from there, and the checkpoint."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: str

    def __str__(self) -> str:
        """The body of the request."""
        proof = "".join(f"{to_base64(each)}\n" for each in self.proof)
        return f"old {self.old_size}\n{proof}\n{self.checkpoint}"

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """From the body of a request. Raises `NoteError`."""
        try:
            head, blank_line, checkpoint = body.decode().partition("\n\n")
        except UnicodeDecodeError:
            raise NoteError("the request is not text in UTF-8") from None
        first, *lines = head.split("\n")
        size = first.removeprefix("old ")
        if not blank_line or not first.startswith("old ") or not (size.isascii() and size.isdigit() and len(size) < 20):
            raise NoteError("a request begins with the line `old SIZE`, and a blank line comes before the checkpoint")
        if str(int(size)) != size or len(lines) > MOST_PROOF_HASHES:
            raise NoteError(f"the old size is a plain number, and a proof has at most {MOST_PROOF_HASHES} hashes")
        proof = tuple(from_base64(line, HASH_BYTES, "hash of the proof") for line in lines)
        return cls(int(size), proof, checkpoint)
