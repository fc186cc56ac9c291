"""Where a log's key lies: the private half in a file only its owner may read, the public half beside it.

`ledger.key` holds the private key, `ledger.pub` the verifier key to hand to auditors. Losing the private key does not
endanger what was signed with it; leaking it lets others sign in the log's name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dure.ledger.cosignature import WitnessSigner
from dure.ledger.note import NoteError, Signer, VerifierKey

Key = TypeVar("Key")

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644


class KeyFileError(Exception):
    """A key file that cannot be used; the message says which, why and what to do."""


def load_or_create_signer(path: Path, name: str) -> Signer:
    """The signer in `path`, or a new one called `name` that is kept there from now on. Raises `KeyFileError`."""
    try:
        return load_signer(path)
    except FileNotFoundError:
        return create_signer(path, name)


def load_signer(path: Path) -> Signer:
    """The signer in a private key file. Raises `FileNotFoundError` or `KeyFileError`."""
    signer = _load_private(path, Signer.parse, "a ledger key")
    _write_once(public_path(path), f"{signer.verifier}\n", PUBLIC_MODE)
    return signer


def create_signer(path: Path, name: str) -> Signer:
    """A new signer, kept in `path` and `path` with the suffix `.pub`. Raises `KeyFileError` if either exists."""
    public = public_path(path)
    if public.exists():
        raise KeyFileError(
            f"{public} is there, but its private key {path} is not. Restore it from your backup: "
            "a ledger signed with it cannot be continued under a new key."
        )
    signer = Signer.generate(name)
    if not _write_once(path, f"{signer.to_text()}\n", PRIVATE_MODE):
        raise KeyFileError(f"{path} exists already. A ledger signed with it cannot be continued under a new key.")
    _write_once(public, f"{signer.verifier}\n", PUBLIC_MODE)
    return signer


def create_next_signer(path: Path) -> Signer:
    """A key that may follow the one in `path`, kept beside it until `install_next`. Raises `KeyFileError`."""
    signer = Signer.generate(load_signer(path).name)
    following = next_path(path)
    if not _write_once(following, f"{signer.to_text()}\n", PRIVATE_MODE):
        raise KeyFileError(f"{following} is there already. Remove it first if that key is not wanted any more.")
    _write_public(public_path(following), signer.verifier)
    return signer


def load_next_signer(path: Path) -> Signer:
    """The key that may follow the one in `path`. Raises `FileNotFoundError` or `KeyFileError`."""
    return _load_private(next_path(path), Signer.parse, "a ledger key")


def install_next(path: Path) -> None:
    """Have the key beside `path` take its place. Of the former key the public half is kept, under its id.

    A crash in the middle leaves it to be called again. Raises `FileNotFoundError` or `KeyFileError`.
    """
    following, former = load_next_signer(path).verifier, load_signer(path).verifier
    _write_public(path.with_name(f"former-{path.stem}-{former.id.hex()}.pub"), former)
    _write_public(public_path(path), following)
    public_path(next_path(path)).unlink(missing_ok=True)
    next_path(path).replace(path)
    _sync_folder(path.parent)


def next_path(path: Path) -> Path:
    """Where a key lies that is to follow the one in `path`."""
    return path.with_name(f"next-{path.name}")


def create_witness_signer(path: Path, name: str) -> WitnessSigner:
    """A witness's new key, kept in `path` and `path` with the suffix `.pub`. Raises `KeyFileError` if it exists."""
    signer = WitnessSigner.generate(name)
    if not _write_once(path, f"{signer.to_text()}\n", PRIVATE_MODE):
        raise KeyFileError(f"{path} exists already. Whoever trusts this witness trusts that key; keep it.")
    _write_once(public_path(path), f"{signer.verifier}\n", PUBLIC_MODE)
    return signer


def load_witness_signer(path: Path) -> WitnessSigner:
    """A witness's key. Raises `FileNotFoundError` or `KeyFileError`."""
    return _load_private(path, WitnessSigner.parse, "a witness's key")


def load_verifier_key(path: Path) -> VerifierKey:
    """The verifier key in a public key file. Raises `FileNotFoundError` or `KeyFileError`."""
    try:
        return VerifierKey.parse(path.read_text(encoding="utf-8"))
    except (NoteError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path} does not hold a verifier key ({error}).") from None


def _load_private(path: Path, parse: Callable[[str], Key], kind: str) -> Key:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyFileError(f"{path} can be read by other users (mode {mode:o}). Run: chmod 600 {path}")
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (NoteError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path} does not hold {kind} ({error}). Restore it from your backup.") from None


def public_path(private_path: Path) -> Path:
    """Where the public half of the key in `private_path` lies."""
    return private_path.with_suffix(".pub")


def _write_once(path: Path, text: str, mode: int) -> bool:
    """Write a whole file durably, or none at all; False when there is one already.

    Written beside its place and linked into it, so that no crash leaves half a key under the real name.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    _sync_folder(path.parent)
    return True


def _write_public(path: Path, key: VerifierKey) -> None:
    """Write a public key, whatever was there."""
    path.unlink(missing_ok=True)
    _write_once(path, f"{key}\n", PUBLIC_MODE)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
