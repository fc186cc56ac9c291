"""Witnesses' cosignatures of checkpoints, as C2SP tlog-cosignature has them (`cosignature/v1`, Ed25519).

A cosignature is a signature line of a checkpoint. It says: at this time I saw this checkpoint, and it is a continuation
of every checkpoint of the same log that I cosigned before. Whoever demands cosignatures by k of n witnesses believes a
log's history unless n - k + 1 of them and the log's keeper lie together.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from dure.ledger.note import (
    COSIGNATURE_V1,
    NoteError,
    NoteSignature,
    check_name,
    is_signed,
    key_id,
    key_text,
    parse_private_key,
    parse_verifier_key,
    private_key_text,
    split_note,
)

_TIME = struct.Struct(">Q")
_ED25519_SIGNATURE_BYTES = 64


class WitnessKey(Struct, frozen=True):
    """The public half of a witness's key: the name it signs under and 32 bytes."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """From `NAME+ID+BASE64`. Raises `NoteError`."""
        return cls(*parse_verifier_key(text, COSIGNATURE_V1))

    @property
    def id(self) -> bytes:
        """Four bytes that, with the name, say which key made a signature."""
        return key_id(self.name, COSIGNATURE_V1, self.public)

    def __str__(self) -> str:
        return key_text(self.name, COSIGNATURE_V1, self.public)

    def cosigned_at_s(self, text: str, line: NoteSignature) -> int | None:
        """When this witness cosigned the checkpoint with this text, in seconds; None when it did not."""
        raw = line.signature
        if (line.name, line.id) != (self.name, self.id) or len(raw) != _TIME.size + _ED25519_SIGNATURE_BYTES:
            return None
        at_s: int = _TIME.unpack_from(raw)[0]
        return at_s if is_signed(self.public, cosigned_message(text, at_s), raw[_TIME.size :]) else None


class WitnessSigner:
    """A witness's private key. Print it nowhere: `repr` shows the public half."""

    def __init__(self, name: str, seed: bytes) -> None:
        check_name(name)
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = WitnessKey(name, self._private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> WitnessSigner:
        """A new key from the system's randomness."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> WitnessSigner:
        """From what `to_text` gave. Raises `NoteError`, whose message never repeats the key."""
        signer = cls(*parse_private_key(text, COSIGNATURE_V1))
        if text.strip() != signer.to_text():
            raise NoteError(f"the private key of {signer.verifier.name} has an id that does not belong to it")
        return signer

    def to_text(self) -> str:
        """The private key as it is kept. Keep it secret."""
        seed = self._private.private_bytes_raw()
        return private_key_text(self.verifier.name, COSIGNATURE_V1, self.verifier.id, seed)

    def cosign(self, text: str, at_s: int) -> NoteSignature:
        """The signature line over a checkpoint's text, made at `at_s` seconds since 1970."""
        signature = self._private.sign(cosigned_message(text, at_s))
        return NoteSignature(self.verifier.name, self.verifier.id, _TIME.pack(at_s) + signature)

    def __repr__(self) -> str:
        return f"WitnessSigner({self.verifier})"


def cosigned_message(text: str, at_s: int) -> bytes:
    """What a witness signs: a header, the time, and the whole text of the checkpoint."""
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def cosigners(note: str, witnesses: Sequence[WitnessKey]) -> list[WitnessKey]:
    """Those of the witnesses whose cosignature is under a checkpoint. Raises `NoteError` when it is no note.

    A witness counts once, however often it signed and under however many names its key is given.
    """
    text, lines = split_note(note)
    found = {
        witness.public: witness
        for witness in witnesses
        for line in lines
        if witness.cosigned_at_s(text, line) is not None
    }
    return list(found.values())


def with_cosignatures(note: str, lines: Sequence[NoteSignature]) -> str:
    """A checkpoint with more signature lines under it."""
    return note + "".join(f"{line}\n" for line in lines)


def require_quorum(note: str, witnesses: Sequence[WitnessKey], quorum: int) -> list[WitnessKey]:
    """The witnesses that cosigned a checkpoint. Raises `NoteError` when there are fewer than `quorum` of them."""
    found = cosigners(note, witnesses)
    if len(found) < quorum:
        names = ", ".join(witness.name for witness in found) or "none"
        raise NoteError(f"{len(found)} of {len(witnesses)} witnesses cosigned it ({names}), and {quorum} are needed")
    return found
