"""Proofs that an outsider checks offline: one text file says that an entry is in a log, and who vouches for that.

The file is C2SP tlog-proof: the position, the audit path of RFC 6962, and a checkpoint with its signatures. Ours hold
the logged entry as `extra` data, so that the file is all there is to hand over.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from dure.ledger.cosignature import WitnessKey, require_quorum
from dure.ledger.large import possible_leaves
from dure.ledger.merkle import HASH_BYTES, verify_inclusion
from dure.ledger.note import NoteError, TreeHead, VerifierKey, from_base64, open_checkpoint, to_base64

HEADER = "c2sp.org/tlog-proof@v1"
MOST_PROOF_HASHES = 63
MOST_CHARACTERS = 1 << 20


class ProofError(ValueError):
    """A proof that is malformed or does not prove what it should; the message says why, and names the entry."""


class TlogProof(Struct, frozen=True, kw_only=True):
    """What a proof file says, not yet verified."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def __str__(self) -> str:
        """The file's text."""
        extra = "" if self.extra is None else f"extra {to_base64(self.extra)}\n"
        path = "".join(f"{to_base64(each)}\n" for each in self.path)
        return f"{HEADER}\n{extra}index {self.index}\n{path}\n{self.checkpoint}"

    @classmethod
    def parse(cls, text: str) -> TlogProof:
        """From a file's text. Raises `ProofError`."""
        if len(text) > MOST_CHARACTERS:
            raise ProofError("this is too long for a proof")
        head, blank_line, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if lines.pop(0) != HEADER or not blank_line:
            raise ProofError(f"this is no proof: it does not begin with the line {HEADER}, or ends too early")
        try:
            extra = from_base64(lines.pop(0).removeprefix("extra "), None, "extra line") if _has_extra(lines) else None
            index = _index(lines.pop(0) if lines else "")
            path = tuple(from_base64(line, HASH_BYTES, "hash") for line in lines)
        except NoteError as error:
            raise ProofError(f"this proof is malformed: {error}") from None
        if len(path) > MOST_PROOF_HASHES:
            raise ProofError(f"this proof has {len(path)} hashes; none needs more than {MOST_PROOF_HASHES}")
        return cls(index=index, path=path, checkpoint=checkpoint, extra=extra)


class Proven(Struct, frozen=True, kw_only=True):
    """What a proof showed: the entry is at `index` in the log that `head` is of, and these witnesses saw that."""

    index: int
    head: TreeHead
    witnesses: tuple[str, ...]


def verify_proof(
    text: str, entry: bytes, log_key: VerifierKey, witnesses: Sequence[WitnessKey] = (), quorum: int = 0
) -> Proven:
    """Check offline that `entry` is in the log of `log_key`, under a checkpoint that `quorum` of `witnesses` cosigned.

    `text` is the proof file and `entry` the bytes of the entry, whole or as logged. Nothing in the file is believed
    that these keys do not vouch for. Raises `ProofError`.
    """
    return ProofVerifier(log_key, witnesses, quorum).verify(text, entry)


class ProofVerifier:
    """Verifies many proofs by the same keys. A checkpoint that several of them are under is judged once."""

    def __init__(self, log_key: VerifierKey, witnesses: Sequence[WitnessKey] = (), quorum: int = 0) -> None:
        self._log_key, self._witnesses, self._quorum = log_key, witnesses, quorum
        self._opened: dict[str, tuple[TreeHead, tuple[str, ...]]] = {}

    def verify(self, text: str, entry: bytes) -> Proven:
        """As `verify_proof`."""
        proof = TlogProof.parse(text)
        try:
            head, seen_by = self._open(proof.checkpoint)
        except NoteError as error:
            raise ProofError(f"the checkpoint over entry {proof.index} is refused: {error}") from None
        leaves = possible_leaves(entry)
        if not any(verify_inclusion(proof.index, head.size, leaf, proof.path, head.root) for leaf in leaves):
            raise ProofError(
                f"entry {proof.index} is not proven: these bytes and hashes do not give the root that was signed for "
                f"{head.size} entries"
            )
        return Proven(index=proof.index, head=head, witnesses=seen_by)

    def _open(self, checkpoint: str) -> tuple[TreeHead, tuple[str, ...]]:
        opened = self._opened.get(checkpoint)
        if opened is None:
            head = open_checkpoint(checkpoint, self._log_key)
            seen_by = require_quorum(checkpoint, self._witnesses, self._quorum)
            opened = self._opened[checkpoint] = head, tuple(each.name for each in seen_by)
        return opened


def _has_extra(lines: Sequence[str]) -> bool:
    return bool(lines) and lines[0].startswith("extra ")


def _index(line: str) -> int:
    number = line.removeprefix("index ")
    if not line.startswith("index ") or not number.isascii() or not number.isdigit() or len(number) > 19:
        raise NoteError("there is no line `index NUMBER`")
    if str(int(number)) != number:
        raise NoteError("the index is not a plain decimal number")
    return int(number)
