"""Output is read in pieces that never lose or repeat a byte, nor cut a character in two."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.control.logs import read_piece


@given(text=st.text(max_size=60), most=st.integers(4, 12))
def test_pieces_together_are_the_whole(tmp_path_factory: pytest.TempPathFactory, text: str, most: int) -> None:
    path = tmp_path_factory.mktemp("log") / "rank0"
    body = text.encode(errors="replace")
    path.write_bytes(body)
    pieces, offset = "", 0
    while True:
        piece = read_piece(str(path), offset, most)
        if not piece.text:
            break
        pieces, offset = pieces + piece.text, piece.offset
    assert pieces == body.decode()
    assert offset == len(body)


def test_bytes_that_are_no_text_are_marked_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rank0"
    path.write_bytes(b"a\xffb\xfe")
    piece = read_piece(str(path), 0)
    assert piece.text.startswith("a�b")
    assert piece.offset in (3, 4)


def test_the_end_of_a_long_log_is_found_from_the_back(tmp_path: Path) -> None:
    path = tmp_path / "rank0"
    path.write_text("0123456789")
    assert read_piece(str(path), -4).text == "6789"
    assert read_piece(str(path), -400).text == "0123456789"
    assert read_piece(str(path), 400).text == ""
