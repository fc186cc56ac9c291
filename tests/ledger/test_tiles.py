"""Paths and contents of C2SP tlog-tiles, by the examples of the specification and by going there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.ledger.tiles import (
    ENTRIES,
    Tile,
    is_in,
    levels,
    pack_entries,
    pack_hashes,
    tiles_of_row,
    unpack_entries,
    unpack_hashes,
)


def files(size: int) -> list[str]:
    """All hash tiles of a tree."""
    return [tile.path for level in levels(size) for tile in tiles_of_row(level, size)]


def test_a_tile_number_is_written_in_groups_of_three_digits() -> None:
    assert Tile(0, 1_234_067).path == "tile/0/x001/x234/067"
    assert Tile(2, 7, 17).path == "tile/2/007.p/17"
    assert Tile(ENTRIES, 1_000).path == "tile/entries/x001/000"


def test_a_log_of_256_entries_has_one_full_tile_and_its_hash_above() -> None:
    assert files(256) == ["tile/0/000", "tile/1/000.p/1"]


def test_a_log_of_70000_entries_has_the_tiles_of_the_specification() -> None:
    found = files(70_000)
    assert found[:1] + found[272:] == [
        "tile/0/000",
        "tile/0/272",
        "tile/0/273.p/112",
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]


def test_an_empty_log_has_no_tiles() -> None:
    assert files(0) == []


@given(st.integers(-1, 63), st.integers(0, 10**9), st.integers(1, 256))
def test_a_path_names_one_tile_and_is_its_only_name(level: int, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert Tile.parse(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/0/1000",
        "tile/0/x000/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/01",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/../checkpoint",
        "tile/data/000",
        "tile/0/000/",
        "tile/0/٠٠٠",
        "",
    ],
)
def test_what_is_no_path_of_a_tile_names_none(path: str) -> None:
    assert Tile.parse(path) is None


def test_a_tree_has_a_tile_when_it_has_all_of_it() -> None:
    assert is_in(Tile(0, 0, 10), 10)
    assert not is_in(Tile(0, 0, 11), 10)
    assert not is_in(Tile(1, 0, 1), 255)
    assert is_in(Tile(ENTRIES, 0), 256)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_entries_come_back_out_of_their_bundle(entries: list[bytes]) -> None:
    assert unpack_entries(pack_entries(entries), len(entries)) == entries


def test_a_bundle_is_a_length_and_the_entry() -> None:
    assert pack_entries([b"ab", b""]) == b"\x00\x02ab\x00\x00"


@pytest.mark.parametrize(
    "body", [b"", b"\x00", b"\x00\x02a", b"\x00\x01a", b"\x00\x01a\x00\x01bb", b"\x00\x01a\x00\x01b\x00"]
)
def test_a_bundle_of_another_length_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="does not hold 2 whole entries"):
        unpack_entries(body, 2)


def test_a_tile_is_its_hashes_and_nothing_else() -> None:
    hashes = [bytes([number]) * 32 for number in range(3)]
    assert unpack_hashes(pack_hashes(hashes), 3) == hashes
    with pytest.raises(ValueError, match="96 bytes, and 2 hashes have 64"):
        unpack_hashes(pack_hashes(hashes), 2)
