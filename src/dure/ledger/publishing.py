"""Writes a ledger as static files (C2SP tlog-tiles), which any web server serves and any of the field's tools verifies.

Publishing again writes only what is new. Every file is written beside its place and renamed into it, and the checkpoint
comes last, so that readers and whoever pulls the plug never see a checkpoint without its tiles.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from dure.ledger.contract import LedgerError, StoredLog
from dure.ledger.large import large_among, logged
from dure.ledger.merkle import root
from dure.ledger.note import NoteError, TreeHead, VerifierKey, is_signed_by, open_checkpoint
from dure.ledger.tiles import CHECKPOINT, ENTRIES, Tile, large_path, pack_entries, pack_hashes
from dure.ledger.transfer import Progress
from dure.ledger.tree import TILE_WIDTH
from dure.ledger.verify import verify


class PublishingRefused(LedgerError):
    """A ledger was not published: it does not prove itself, or another one lies where it should go."""


class Published(Struct, frozen=True, kw_only=True):
    """What lies in the folder now: a log of `size` entries, for which `files` were written this time."""

    size: int
    root: bytes
    files: int


def publish(
    log: StoredLog, key: VerifierKey, folder: Path, cosigned: str | None, progress: Progress = lambda _: None
) -> Published:
    """Write a log into a folder, under its last cosigned checkpoint if there is one, else under its newest.

    Everything is verified from the entries first. Raises `PublishingRefused`, another `LedgerError` or `OSError`.
    """
    leaves: list[bytes] = []
    verdict = verify(log, key, [cosigned] if cosigned else [], leaves.extend)
    if not verdict.is_sound:
        raise PublishingRefused(
            f"The ledger does not prove itself, so it was not published: {verdict.faults[0].message}"
        )
    notes = log.checkpoints()
    if not notes:
        raise PublishingRefused("There is nothing to publish yet: the ledger has no entries.")
    # Cosignatures from before a change of the key say nothing under the new one.
    note = cosigned if cosigned and is_signed_by(cosigned, key) else notes[-1]
    head = open_checkpoint(note, key)
    _refuse_other_log(folder, (key, *verdict.former_keys), head, leaves)
    files = _write_missing(folder, log, leaves[: head.size], progress)
    # One call for thousands of files; the checkpoint must not outlive a tile that it vouches for.
    os.sync()
    _write(folder / CHECKPOINT, note.encode())
    return Published(size=head.size, root=head.root, files=files)


def _refuse_other_log(folder: Path, keys: Sequence[VerifierKey], head: TreeHead, leaves: Sequence[bytes]) -> None:
    """What was published once must be a beginning of what is published now."""
    try:
        note = (folder / CHECKPOINT).read_text("utf-8")
    except FileNotFoundError:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "tile").is_dir():
            raise PublishingRefused(f"{folder} holds something else; name a new folder.") from None
        return
    try:
        signing = next((key for key in keys if is_signed_by(note, key)), keys[0])
        before = open_checkpoint(note, signing)
    except (NoteError, UnicodeDecodeError) as error:
        raise PublishingRefused(f"{folder / CHECKPOINT} is not of this ledger: {error}") from None
    if before.size > head.size:
        raise PublishingRefused(f"{folder} holds {before.size} entries already, and this ledger has {head.size}.")
    if root(leaves[: before.size]) != before.root:
        raise PublishingRefused(
            f"{folder} holds another history: its checkpoint of {before.size} entries is no beginning of this ledger."
        )


def _write_missing(folder: Path, log: StoredLog, leaves: Sequence[bytes], progress: Progress) -> int:
    written = 0
    for tile, bodies in _bundles(log, len(leaves)):
        for at in large_among(bodies):
            written += _write_new(folder / large_path(tile.start + at), bodies[at])
        written += _write_new(folder / tile.path, pack_entries([logged(body) for body in bodies]))
        progress(len(bodies))
    row, level = leaves, 0
    while row:
        for start in range(0, len(row), TILE_WIDTH):
            held = row[start : start + TILE_WIDTH]
            written += _write_new(folder / Tile(level, start // TILE_WIDTH, len(held)).path, pack_hashes(held))
        full = len(row) - len(row) % TILE_WIDTH
        row, level = [root(row[at : at + TILE_WIDTH]) for at in range(0, full, TILE_WIDTH)], level + 1
    return written


def _bundles(log: StoredLog, size: int) -> Iterator[tuple[Tile, list[bytes]]]:
    """The first `size` entries, 256 at a time."""
    waiting: list[bytes] = []
    index = 0
    for batch in log.entries():
        waiting += [entry for _, entry in batch]
        while len(waiting) >= TILE_WIDTH and (index + 1) * TILE_WIDTH <= size:
            yield Tile(ENTRIES, index), waiting[:TILE_WIDTH]
            del waiting[:TILE_WIDTH]
            index += 1
        if (index + 1) * TILE_WIDTH > size and len(waiting) >= size - index * TILE_WIDTH:
            break
    if rest := size - index * TILE_WIDTH:
        yield Tile(ENTRIES, index, rest), waiting[:rest]


def _write_new(path: Path, body: bytes) -> bool:
    """Write a file unless it is there; what a tile holds never changes."""
    if path.exists():
        return False
    _write(path, body)
    return True


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(body)
    unfinished.replace(path)
