"""How a log lies in static files: the paths and contents of C2SP tlog-tiles.

A tile holds up to 256 hashes of one row of the tree (`dure.ledger.tree`), an entry bundle up to 256 entries, each
behind its length in 16 bits. All but the last of a row are full and never change; the last is partial, and its width
is in its name. A tree of any size needs the same files for the same beginning.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence

from msgspec import Struct

from dure.ledger.large import MOST_ENTRY_BYTES
from dure.ledger.merkle import HASH_BYTES
from dure.ledger.tree import TILE_WIDTH

CHECKPOINT = "checkpoint"
ENTRIES = -1
"""The level of entry bundles, which the paths call `entries`."""
MOST_LEVEL = 63

_LENGTH = struct.Struct(">H")
_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


class Tile(Struct, frozen=True, order=True):
    """Which hashes, or which entries (`level` is `ENTRIES`), lie in one file: `width` of them from `index` * 256 on."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """`tile/LEVEL/NUMBER`, the number in groups of three digits, and `.p/WIDTH` if the tile is partial."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_number(self.index)}{partial}"

    @property
    def start(self) -> int:
        """Position in its row of the first that the tile holds."""
        return self.index * TILE_WIDTH

    @property
    def stop(self) -> int:
        """Position in its row after the last that the tile holds."""
        return self.start + self.width

    @classmethod
    def parse(cls, path: str) -> Tile | None:
        """The tile that a path names; None for a path that names none, or names it in another way than its own."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        level, number, width = found.groups()
        tile = cls(
            level=ENTRIES if level == "entries" else int(level),
            index=int(number.replace("x", "").replace("/", "")),
            width=int(width) if width else TILE_WIDTH,
        )
        return tile if tile.level <= MOST_LEVEL and tile.width <= TILE_WIDTH and tile.path == path else None


def _number(index: int) -> str:
    """1234067 is `x001/x234/067`."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    return "/".join(groups)


def large_path(position: int) -> str:
    """Where the whole of a large entry lies, of which the bundle has only the stand-in."""
    return f"large/{_number(position)}"


def large_position(path: str) -> int | None:
    """The position in a path that `large_path` gave; None for any other."""
    number = path.removeprefix("large/").replace("x", "").replace("/", "")
    position = int(number) if number.isascii() and number.isdigit() and len(number) <= 18 else -1
    return position if position >= 0 and large_path(position) == path else None


def row_length(level: int, size: int) -> int:
    """How many hashes row `level` has in a tree of `size` leaves; entry bundles are as long as row 0."""
    return size >> 8 * max(level, 0)


def is_in(tile: Tile, size: int) -> bool:
    """True when a tree of `size` leaves has the hashes or entries of this tile."""
    return tile.stop <= row_length(tile.level, size)


def tiles_of_row(level: int, size: int, start: int = 0) -> Iterator[Tile]:
    """The tiles of one row that are needed for a tree of `size` leaves, from the one that holds `start` on."""
    length = row_length(level, size)
    for index in range(start // TILE_WIDTH, -(-length // TILE_WIDTH)):
        yield Tile(level, index, min(TILE_WIDTH, length - index * TILE_WIDTH))


def levels(size: int) -> range:
    """The levels of the hash tiles of a tree of `size` leaves."""
    top = 0
    while row_length(top, size):
        top += 1
    return range(top)


def pack_hashes(hashes: Sequence[bytes]) -> bytes:
    """The contents of a hash tile."""
    return b"".join(hashes)


def unpack_hashes(body: bytes, width: int) -> list[bytes]:
    """The hashes of a tile. Raises `ValueError` when it does not hold `width` of them."""
    if len(body) != width * HASH_BYTES:
        raise ValueError(f"it has {len(body)} bytes, and {width} hashes have {width * HASH_BYTES}")
    return [body[at : at + HASH_BYTES] for at in range(0, len(body), HASH_BYTES)]


def pack_entries(entries: Sequence[bytes]) -> bytes:
    """The contents of an entry bundle; entries are as they are logged, at most 65,535 bytes each."""
    assert all(len(entry) <= MOST_ENTRY_BYTES for entry in entries), "larger ones are logged by their hash"
    return b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)


def unpack_entries(body: bytes, width: int) -> list[bytes]:
    """The entries of a bundle. Raises `ValueError` when it does not hold `width` of them, and nothing else."""
    entries: list[bytes] = []
    at = 0
    while at + _LENGTH.size <= len(body) and len(entries) < width:
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(body, at)[0]
        entries.append(body[start:at])
    if at != len(body) or len(entries) != width:
        raise ValueError(f"it does not hold {width} whole entries and nothing else")
    return entries
