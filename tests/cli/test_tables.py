"""Tables in a pipe: one line per row whatever its length, numbers to the right, nothing that moves a cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.cli.tables import print_table


def printed(capsys: pytest.CaptureFixture[str], headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    print_table(headings, rows)
    return capsys.readouterr().out.splitlines()


def test_numbers_stand_to_the_right_under_their_heading(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ("NAME", ">GPUS"), [("a", "8"), ("bb", "1024")])
    assert lines == ["NAME  GPUS", "a        8", "bb    1024"]


def test_long_cells_are_neither_wrapped_nor_cut(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ("JOB", "REASON"), [("j" * 60, "r" * 300)])
    assert lines[1] == "j" * 60 + "  " + "r" * 300


@given(cell=st.text())
def test_a_row_is_one_line_whatever_a_name_holds(cell: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("dure.cli.tables.click.echo", lines.append)
        print_table(("JOB", "NAME", "END"), [("j1", cell, "end")])
    assert len(lines) == 2
    assert lines[1].startswith("j1")
    assert lines[1].endswith("end")
    assert "\x1b" not in lines[1]
