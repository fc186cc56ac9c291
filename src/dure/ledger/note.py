"""Signed statements about a log, in the public formats that outside tools read: C2SP signed notes and checkpoints.

A note is text, a blank line, and signature lines `— NAME BASE64(key id, signature)`. A checkpoint is a note whose text
is the log's origin, its size and its root. Signatures are Ed25519.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from dure.ledger.merkle import HASH_BYTES

ED25519 = b"\x01"
COSIGNATURE_V1 = b"\x04"
_KINDS = {ED25519: "an Ed25519 key of a log", COSIGNATURE_V1: "an Ed25519 key of a witness (cosignature/v1)"}
KEY_ID_BYTES = 4
KEY_BYTES = 32
MOST_NOTE_CHARACTERS = 1 << 20
MOST_SIGNATURES = 100

_SIGNATURE_MARK = "\N{EM DASH} "
_PRIVATE_KEY_MARK = "PRIVATE+KEY+"


class NoteError(ValueError):
    """A note, checkpoint or key that is malformed or not signed as it should be; the message says what is wrong."""


class NoteSignature(Struct, frozen=True):
    """One signature line of a note: who signed, by name and key id, and the signature's bytes. Not yet verified."""

    name: str
    id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_SIGNATURE_MARK}{self.name} {to_base64(self.id + self.signature)}"


class VerifierKey(Struct, frozen=True):
    """The public half of a log's key: the name it signs under and 32 bytes."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """From `NAME+ID+BASE64`, as C2SP tools print it. Raises `NoteError`."""
        return cls(*parse_verifier_key(text, ED25519))

    @property
    def id(self) -> bytes:
        """Four bytes that, with the name, say which key made a signature."""
        return key_id(self.name, ED25519, self.public)

    def __str__(self) -> str:
        return key_text(self.name, ED25519, self.public)

    def verifies(self, text: str, signature: bytes) -> bool:
        """True when this key made `signature` over `text`."""
        return is_signed(self.public, text.encode(), signature)


class Signer:
    """A log's private key. Print it nowhere: `str` and `repr` show the public half."""

    def __init__(self, name: str, seed: bytes) -> None:
        check_name(name)
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, self._private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> Signer:
        """A new key from the system's randomness."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> Signer:
        """From what `to_text` gave. Raises `NoteError`, whose message never repeats the key."""
        signer = cls(*parse_private_key(text, ED25519))
        if text.strip() != signer.to_text():
            raise NoteError(f"the private key of {signer.name} has an id that does not belong to it")
        return signer

    @property
    def name(self) -> str:
        """What it signs under; for a log, its origin."""
        return self.verifier.name

    def to_text(self) -> str:
        """The private key in the form Go's note package uses. Keep it secret."""
        return private_key_text(self.name, ED25519, self.verifier.id, self._seed())

    def sign(self, text: str) -> str:
        """A note over `text`, which must end in a newline."""
        _check_text(text)
        signature = self._private.sign(text.encode())
        return f"{text}\n{NoteSignature(self.name, self.verifier.id, signature)}\n"

    def sign_envelope(self, encoded: bytes) -> bytes:
        """A signature over what a DSSE envelope has signed, and nothing else: it can never be that of a checkpoint."""
        assert encoded.startswith(b"DSSEv1 "), "only the encoding of an envelope is signed here"
        return self._private.sign(encoded)

    def _seed(self) -> bytes:
        return self._private.private_bytes_raw()

    def __repr__(self) -> str:
        return f"Signer({self.verifier})"


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note that `key` signed. Raises `NoteError`.

    Signatures by other keys are passed over, as the specification asks: they may be a witness's or an older key's.
    """
    text, signatures = split_note(note)
    ours = [each.signature for each in signatures if (each.name, each.id) == (key.name, key.id)]
    if not ours:
        signers = ", ".join(sorted({f"{each.name}+{each.id.hex()}" for each in signatures}))
        raise NoteError(f"it is signed by {signers}, not by {key.name}+{key.id.hex()}")
    if not all(key.verifies(text, signature) for signature in ours):
        raise NoteError(f"the signature of {key.name} does not fit the text: one of them was altered")
    return text


def is_signed_by(note: str, key: VerifierKey) -> bool:
    """Whether `key` signed the note, whoever else did."""
    try:
        open_note(note, key)
    except NoteError:
        return False
    return True


class TreeHead(Struct, frozen=True):
    """What a checkpoint says: a log's origin, how many entries it has, and the root of their tree."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The checkpoint's text, ready to be signed."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"


def sign_checkpoint(signer: Signer, size: int, root: bytes) -> str:
    """A checkpoint of the log whose origin is the signer's name."""
    return signer.sign(TreeHead(signer.name, size, root).text())


def open_checkpoint(note: str, key: VerifierKey) -> TreeHead:
    """What a checkpoint signed by `key` says. Raises `NoteError`."""
    head = parse_tree_head(open_note(note, key))
    if head.origin != key.name:
        raise NoteError(f"it is about the log {head.origin}, not {key.name}")
    return head


def parse_tree_head(text: str) -> TreeHead:
    """Origin, size and root from a checkpoint's text; extension lines are allowed and ignored. Raises `NoteError`."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise NoteError("a checkpoint has three lines: origin, size and root")
    origin, size, root = lines[:3]
    if not (size.isascii() and size.isdigit()) or str(int(size[:20])) != size:
        raise NoteError("the second line of a checkpoint is the size of the log, in decimal")
    return TreeHead(origin, int(size), from_base64(root, HASH_BYTES, "root"))


def split_note(note: str) -> tuple[str, list[NoteSignature]]:
    """Text and signatures of a note, not yet verified. Raises `NoteError`."""
    if len(note) > MOST_NOTE_CHARACTERS:
        raise NoteError("it is too long for a signed note")
    body, blank_line, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not blank_line or lines.pop() != "" or not 0 < len(lines) <= MOST_SIGNATURES:
        raise NoteError("a signed note ends in a blank line and signature lines")
    text = body + "\n"
    _check_text(text)
    return text, [parse_signature(line) for line in lines]


def parse_signature(line: str) -> NoteSignature:
    """One signature line, without its newline. Raises `NoteError`."""
    name, space, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
    if not line.startswith(_SIGNATURE_MARK) or not space:
        raise NoteError("a signature line is a dash, a name and a signature")
    check_name(name)
    raw = from_base64(encoded, None, "signature")
    if len(raw) <= KEY_ID_BYTES:
        raise NoteError("a signature line holds a key id and a signature")
    return NoteSignature(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


def key_id(name: str, algorithm: bytes, public: bytes) -> bytes:
    """Four bytes that, with the name, say which key made a signature (C2SP signed-note)."""
    return sha256(name.encode() + b"\n" + algorithm + public).digest()[:KEY_ID_BYTES]


def key_text(name: str, algorithm: bytes, public: bytes) -> str:
    """A public key as C2SP tools print it."""
    return f"{name}+{key_id(name, algorithm, public).hex()}+{to_base64(algorithm + public)}"


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """True when the Ed25519 key made this signature over this message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def parse_verifier_key(text: str, algorithm: bytes) -> tuple[str, bytes]:
    """Name and 32 bytes of a public key of this algorithm from `NAME+ID+BASE64`. Raises `NoteError`."""
    name, public = _parse_key(text.strip(), "verifier key", algorithm)
    if text.strip() != key_text(name, algorithm, public):
        raise NoteError(f"the verifier key of {name} has an id that does not belong to it: was a character changed?")
    return name, public


def private_key_text(name: str, algorithm: bytes, id_: bytes, seed: bytes) -> str:
    """A private key in the form Go's note package uses. Keep it secret."""
    return f"{_PRIVATE_KEY_MARK}{name}+{id_.hex()}+{to_base64(algorithm + seed)}"


def parse_private_key(text: str, algorithm: bytes) -> tuple[str, bytes]:
    """Name and seed from `private_key_text`; whoever calls checks the id. Raises `NoteError`, never with the key."""
    if not text.startswith(_PRIVATE_KEY_MARK):
        raise NoteError(f"a private key starts with {_PRIVATE_KEY_MARK}")
    return _parse_key(text.removeprefix(_PRIVATE_KEY_MARK).strip(), "private key", algorithm)


def _parse_key(text: str, kind: str, algorithm: bytes) -> tuple[str, bytes]:
    """Name and 32 bytes from `NAME+ID+BASE64`; whoever calls checks the id."""
    parts = text.split("+", maxsplit=2)
    if len(parts) != 3:
        raise NoteError(f"a {kind} is written NAME+ID+BASE64")
    check_name(parts[0])
    raw = from_base64(parts[2], 1 + KEY_BYTES, kind)
    if raw[:1] != algorithm:
        raise NoteError(f"the {kind} of {parts[0]} is not {_KINDS[algorithm]}")
    return parts[0], raw[1:]


def check_name(name: str) -> None:
    """Raises `NoteError` for what cannot name a key."""
    if not name or "+" in name or any(character.isspace() or character < " " for character in name):
        raise NoteError(
            f"{name!r} cannot name a key: use something like dure.example/ledger, without spaces or plus signs"
        )


def _check_text(text: str) -> None:
    if not text.endswith("\n") or text == "\n":
        raise NoteError("the text of a note is not empty and ends in a newline")
    if any(character < " " and character != "\n" for character in text):
        raise NoteError("a note holds no control characters")


def to_base64(raw: bytes) -> str:
    """Bytes as notes hold them."""
    return base64.b64encode(raw).decode("ascii")


def from_base64(encoded: str, length: int | None, what: str) -> bytes:
    """The bytes of standard base64, of this length; `what` names them in the `NoteError` that is raised otherwise."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raw = None
    if raw is None or to_base64(raw) != encoded or (length is not None and len(raw) != length):
        raise NoteError(f"the {what} is not the base64 it should be")
    return raw
