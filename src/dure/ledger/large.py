"""Entries that are too long for the public formats are logged by their hash.

C2SP tlog-tiles gives every entry a length of 16 bits, so an entry has at most 65,535 bytes there. Hardly any event is
longer: a nation of thousands of single nodes, or a decision that starts thousands of jobs at once. Such an event is
kept whole where ledgers keep their entries, but what is hashed into the tree is a short stand-in with its length and
its SHA-256 (`docs/decisions/0018-large-entries-are-logged-by-their-hash.md`).

Ledgers that were begun before this rule hashed long entries whole. Both ways bind the same bytes, so a verifier accepts
either: it computes both leaves from the entry, and the signed root says which one was meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256

from dure.ledger.merkle import leaf_hash, leaf_hashes

MOST_ENTRY_BYTES = 65_535
_STAND_IN = re.compile(rb'\{"bytes":[0-9]+,"event":"large-entry","sha256":"([0-9a-f]{64})"\}')


def is_large(entry: bytes) -> bool:
    """True for an entry that is logged by its hash."""
    return len(entry) > MOST_ENTRY_BYTES


def large_among(entries: Sequence[bytes]) -> list[int]:
    """Where in a batch of entries the large ones are."""
    if max(map(len, entries), default=0) <= MOST_ENTRY_BYTES:
        return []
    return [at for at, entry in enumerate(entries) if is_large(entry)]


def logged(entry: bytes) -> bytes:
    """What is hashed into the tree and published in entry bundles: the entry, or the stand-in of a large one."""
    if not is_large(entry):
        return entry
    return b'{"bytes":%d,"event":"large-entry","sha256":"%s"}' % (len(entry), sha256(entry).hexdigest().encode())


def digest_of_large(logged_entry: bytes) -> str | None:
    """Hexadecimal SHA-256 of the entry that this stands in for; None for an entry that stands for itself."""
    found = _STAND_IN.fullmatch(logged_entry)
    return found[1].decode() if found else None


def entry_leaf(entry: bytes) -> bytes:
    """Leaf hash of one entry of any length."""
    return leaf_hash(logged(entry))


def entry_leaves(entries: Sequence[bytes]) -> list[bytes]:
    """Leaf hashes of several entries of any length, in order."""
    if max(map(len, entries), default=0) <= MOST_ENTRY_BYTES:
        return leaf_hashes(entries)
    return [entry_leaf(entry) for entry in entries]


def possible_leaves(entry: bytes) -> tuple[bytes, ...]:
    """The leaf hashes that an entry may have: a large one of an old ledger was hashed whole."""
    return (entry_leaf(entry), leaf_hash(entry)) if is_large(entry) else (leaf_hash(entry),)
