"""The page's table of MIG profiles is the one the platform uses."""

from __future__ import annotations

from dure.model.mig import BOARDS, profiles_of
from dure.model.units import format_gpus
from tests.docs.pages import ROOT, text_of

PAGE = text_of(ROOT / "docs" / "reference" / "nation-file.md")


def test_every_board_is_in_the_table_with_its_profiles_in_order() -> None:
    for board, names in BOARDS.items():
        assert "| " + " | ".join(f"`{each}`" for each in (board, *names)) + " |" in PAGE


def test_the_table_says_what_each_size_counts() -> None:
    counts = " | ".join(format_gpus(profile.milli) for profile in profiles_of("H100"))
    assert f"| counts | {counts} |" in PAGE


def test_the_table_says_where_each_size_begins() -> None:
    starts = [profile.starts for profile in profiles_of("H100")]
    written = ["0 to 6", *(", ".join(map(str, each)) for each in starts[1:])]
    assert starts[0] == tuple(range(7))
    assert f"| begins at | {' | '.join(written)} |" in PAGE
