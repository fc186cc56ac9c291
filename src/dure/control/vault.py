"""Keeps the secrets of projects, seals what browsers carry, and gives people opaque names.

A copied database gives nothing away.

AES-256-GCM under a key that lies in a file of its own beside the database. What a sealed value is for (its row, or a
word such as `device sign-in`) is authenticated with it, so that nobody can move one value into another's place.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dure.control.ports import Ledger, RandomBytes, Row

KEY_BYTES = 32
NONCE_BYTES = 12


class Vault:
    """Seals and opens values under one key."""

    def __init__(self, key: bytes, nonces: RandomBytes) -> None:
        self._cipher = AESGCM(key)
        self._nonces = nonces
        self._pseudonyms = hmac.digest(key, b"pseudonyms", "sha256")

    def seal(self, value: bytes, purpose: str) -> bytes:
        """Encrypt `value`; it can only be opened for the same purpose."""
        nonce = self._nonces(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes | None:
        """What was sealed for this purpose; None for anything else."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], purpose.encode())
        except (InvalidTag, ValueError):
            return None

    def pseudonym(self, *parts: str) -> bytes:
        """Ten bytes that always stand for the same parts, and from which nobody without the key learns them."""
        meant = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self._pseudonyms, meant.encode(), "sha256")[:10]


class Secrets:
    """The secrets of all projects, sealed, by row key `project/name`."""

    def __init__(self, ledger: Ledger, vault: Vault) -> None:
        self._vault = vault
        self._sealed = dict(ledger.rows("secrets"))

    def put(self, project: str, name: str, value: bytes) -> Row:
        """Keep a secret from now on; the row makes it durable."""
        key = f"{project}/{name}"
        self._sealed[key] = self._vault.seal(value, key)
        return Row("secrets", key, self._sealed[key])

    def has(self, project: str, name: str) -> bool:
        """True when the project has a secret of this name."""
        return f"{project}/{name}" in self._sealed

    def value(self, project: str, name: str) -> str | None:
        """A secret in clear, for the processes of a job; None when there is none, or it was sealed with another key."""
        key = f"{project}/{name}"
        value = self._vault.open(self._sealed.get(key, b""), key)
        return None if value is None else value.decode()
