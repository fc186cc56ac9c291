"""What a file is goes by its content."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.governance.inspection.media_types import HEAD_BYTES, UNKNOWN, delimiter_of, media_type


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", "a,b\n")
    return packed.getvalue()


def saved_array() -> bytes:
    saved = io.BytesIO()
    np.save(saved, np.arange(3))
    return saved.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "inode/x-empty"),
        (b"a,b\n1,2\n", "text/csv"),
        ("이름,나이\n가,3\n".encode(), "text/csv"),
        (b"a;b\n1;2\n", "text/csv"),
        (b'a,b\n"x, y",2\n', "text/csv"),
        (b"a\tb\n1\t2\n", "text/tab-separated-values"),
        (b"loss was 0.3, then 0.2\nit ended\n", "text/plain"),
        (b"one line, no table", "text/plain"),
        (b'{"loss": 0.1}', "application/json"),
        (b'{"loss": 0.1}\n{"loss": 0.2}\n', "application/x-ndjson"),
        (zipped(), "application/zip"),
        (saved_array(), "application/x-npy"),
        (pickle.dumps({"a": 1}), "application/x-python-pickle"),
        ((2).to_bytes(8, "little") + b"{}", "application/vnd.safetensors"),
        (b"\x7fELF\x02\x01", "application/x-executable"),
        (b"#!/bin/sh\n", "text/x-script"),
        (b"a\0b", UNKNOWN),
        (b"\xff\xfe\xfd", UNKNOWN),
        (b"bell \x07", UNKNOWN),
    ],
)
def test_the_type_is_that_of_the_content(content: bytes, expected: str) -> None:
    assert media_type(content) == expected


def test_a_table_is_one_also_where_its_beginning_ends_within_a_line_or_a_character() -> None:
    table = "도시,수\n".encode() + "서울,1234\n".encode() * 20_000
    for longer in range(14):
        assert media_type((b"x" * longer + table)[:HEAD_BYTES]) == "text/csv"


@given(st.binary(max_size=300))
def test_any_bytes_have_a_type(content: bytes) -> None:
    assert "/" in media_type(content)
    assert delimiter_of(content) in ("", ",", ";", "\t")
