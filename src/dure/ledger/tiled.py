"""A log that lies in static files, in a folder or behind an address: read to be judged, not believed.

`verify_tiles` computes everything from the entries, as `verify` does for every log, and then holds each hash tile
against what it computed. A verifier that only follows hashes from the signed root down to one entry never sees most of
a tile, and so does not see that it was altered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from msgspec.structs import replace

from dure.ledger.contract import LedgerUnreadable
from dure.ledger.large import digest_of_large
from dure.ledger.merkle import HASH_BYTES, root
from dure.ledger.note import NoteError, VerifierKey, parse_tree_head, split_note
from dure.ledger.tiles import (
    CHECKPOINT,
    ENTRIES,
    Tile,
    large_path,
    levels,
    pack_entries,
    tiles_of_row,
    unpack_entries,
    unpack_hashes,
)
from dure.ledger.tree import TILE_WIDTH
from dure.ledger.verify import Fault, FaultCode, Verdict, verify

Fetch = Callable[[str], bytes | None]
"""The contents of the file at a path below the log's prefix; None when there is none. Raises `LedgerUnreadable`."""

HTTP_TIMEOUT_S = 30.0


class TiledLog:
    """A log in tiles, as of its checkpoint."""

    def __init__(self, fetch: Fetch, where: str, newer: str = "") -> None:
        """The log that lies at a place; as of a `newer` checkpoint than the one there, if its tiles are there too."""
        self._fetch = fetch
        self.where = where
        note = newer.encode() or fetch(CHECKPOINT)
        if note is None:
            raise FileNotFoundError(f"there is no log at {where}: it has no file {CHECKPOINT}")
        self.checkpoint = note.decode(errors="replace")
        try:
            self.size = parse_tree_head(split_note(self.checkpoint)[0]).size
        except NoteError as error:
            raise LedgerUnreadable(f"{where}/{CHECKPOINT} is no checkpoint: {error}") from None

    def checkpoints(self) -> list[str]:
        """The one checkpoint."""
        return [self.checkpoint]

    def entries(self, start: int = 0) -> Iterator[list[tuple[int, bytes]]]:
        """Batches of whole entries with their positions, up to the first bundle that is missing."""
        for tile in tiles_of_row(ENTRIES, self.size, start):
            body = self._body(tile)
            if body is None:
                return
            logged = _unpacked(tile, unpack_entries, body, tile.width)
            numbered = enumerate(logged, tile.start)
            yield [(at, self._whole(at, entry)) for at, entry in numbered if at >= start]

    def leaf_hashes(self, stop: int, start: int = 0) -> Iterator[bytes]:
        """The hashes in the tiles of the lowest level, as far as there are any."""
        for tile in tiles_of_row(0, min(stop, self.size), start):
            body = self._body(Tile(0, tile.index, min(TILE_WIDTH, self.size - tile.start)))
            if body is None:
                return
            held = [body[at : at + HASH_BYTES] for at in range(0, len(body), HASH_BYTES)]
            yield from held[max(start - tile.start, 0) : tile.width]

    def hashes(self, row: int, start: int, stop: int) -> Sequence[bytes]:
        """Part of a row, for proofs. Raises `LedgerUnreadable` when a tile is missing or malformed."""
        found: list[bytes] = []
        for tile in tiles_of_row(row, self.size, start):
            if tile.start >= stop:
                break
            found += self.tile(tile)[max(start - tile.start, 0) : stop - tile.start]
        return found

    def tile(self, tile: Tile) -> list[bytes]:
        """The hashes of a tile. Raises `LedgerUnreadable` when it is missing or malformed."""
        body = self._body(tile)
        if body is None:
            raise LedgerUnreadable(f"{tile.path} is missing")
        return _unpacked(tile, unpack_hashes, body, tile.width)

    def entry(self, position: int) -> bytes:
        """One whole entry. Raises `LedgerUnreadable` when its bundle is missing or malformed."""
        batch = next(self.entries(position), [])
        if not batch:
            raise LedgerUnreadable(f"entry {position} is missing from {self.where}")
        return batch[0][1]

    def _body(self, tile: Tile) -> bytes | None:
        body = self._fetch(tile.path)
        if body is not None or tile.width == TILE_WIDTH:
            return body
        # Whoever publishes may take partial tiles away once the full one is there.
        full = self._fetch(Tile(tile.level, tile.index).path)
        if full is None:
            return None
        if tile.level != ENTRIES:
            return full[: tile.width * HASH_BYTES]
        entries = _unpacked(tile, unpack_entries, full, TILE_WIDTH)
        return pack_entries(entries[: tile.width])

    def _whole(self, position: int, logged: bytes) -> bytes:
        """The entry itself: a large one lies in a file of its own, under the hash that was logged."""
        digest = digest_of_large(logged)
        if digest is None:
            return logged
        whole = self._fetch(large_path(position))
        if whole is None:
            raise LedgerUnreadable(f"{large_path(position)} is missing: the whole of entry {position}")
        if sha256(whole).hexdigest() != digest:
            raise LedgerUnreadable(f"{large_path(position)} was altered: it is not what was logged as entry {position}")
        return whole


def _unpacked(tile: Tile, unpack: Callable[[bytes, int], list[bytes]], body: bytes, width: int) -> list[bytes]:
    try:
        return unpack(body, width)
    except ValueError as error:
        raise LedgerUnreadable(f"{tile.path} is malformed: {error}") from None


def verify_tiles(log: TiledLog, key: VerifierKey, held: Sequence[str] = ()) -> Verdict:
    """Judge a log in tiles: entries, checkpoint and checkpoints in `held`, and every hash tile."""
    leaves: list[bytes] = []
    verdict = verify(log, key, held, leaves.extend)
    if not verdict.is_sound:
        return verdict
    faults = tuple(_altered_tiles(log, leaves[: log.size]))
    return replace(verdict, faults=faults)


def _altered_tiles(log: TiledLog, leaves: Sequence[bytes]) -> Iterator[Fault]:
    row = leaves
    for level in levels(log.size):
        for tile in tiles_of_row(level, log.size):
            try:
                is_as_computed = log.tile(tile) == row[tile.start : tile.stop]
                message = f"{tile.path} was altered: it does not hold the hashes that the entries give"
            except LedgerUnreadable as error:
                is_as_computed, message = False, str(error)
            if not is_as_computed:
                yield Fault(code=FaultCode.ALTERED_TILE, first_position=None, last_position=None, message=message)
        full = len(row) - len(row) % TILE_WIDTH
        row = [root(row[at : at + TILE_WIDTH]) for at in range(0, full, TILE_WIDTH)]


def open_tiles(place: str) -> TiledLog:
    """The log in a folder, or below an http or https address.

    Raises `FileNotFoundError` when there is none, or `LedgerUnreadable`.
    """
    if place.startswith(("http://", "https://")):
        return TiledLog(_fetch_from_address(place.rstrip("/")), place.rstrip("/"))
    return TiledLog(_fetch_from_folder(Path(place)), place)


def _fetch_from_folder(folder: Path) -> Fetch:
    def fetch(path: str) -> bytes | None:
        try:
            return (folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise LedgerUnreadable(f"{folder / path} cannot be read ({error.strerror})") from None

    return fetch


def _fetch_from_address(address: str) -> Fetch:
    import httpx

    client = httpx.Client(timeout=HTTP_TIMEOUT_S, follow_redirects=True)

    def fetch(path: str) -> bytes | None:
        try:
            answer = client.get(f"{address}/{path}")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LedgerUnreadable(f"{address}/{path} cannot be fetched ({error})") from None
        if answer.status_code in (404, 410):
            return None
        if not answer.is_success:
            raise LedgerUnreadable(f"{address}/{path} was answered with {answer.status_code}")
        return answer.content

    return fetch
