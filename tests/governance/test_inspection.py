"""What the airlock finds in a result, held against plain searches of the same bytes and rows."""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.governance.inspection.copies import _SPAN, WINDOW_BYTES, Copies
from dure.governance.inspection.rows import ResultTable
from dure.governance.inspection.terms import (
    InspectionTerms,
    budget_findings,
    copy_findings,
    row_findings,
    terms_for,
    text_findings,
    type_findings,
)
from dure.governance.inspection.texts import TextCheck
from dure.model.datasets import Dataset
from dure.model.results import FindingCode, Verdict, worst

NOISE = random.Random(7)
DATA = NOISE.randbytes(3 * _SPAN)


def copied(result: bytes, data: bytes = DATA, cut: int = 1 << 16) -> int:
    copies = Copies(len(result))
    copies.add(1, [result])
    list(copies.look_in(data[at : at + cut] for at in range(0, len(data), cut)))
    return copies.copied_bytes(1)


@pytest.mark.parametrize("start", [0, 1, _SPAN - 600, _SPAN - 32, len(DATA) - 2000])
@pytest.mark.parametrize("before", [b"", b"heading\n", b"x" * 5000])
def test_a_passage_of_the_data_is_found_wherever_it_stands(start: int, before: bytes) -> None:
    found = copied(before + DATA[start : start + 2000] + b"end")
    assert 1000 < found <= 2000


def test_what_is_not_in_the_data_is_not_found() -> None:
    assert copied(random.Random(8).randbytes(200_000)) == 0


def test_zeros_and_padding_are_no_copy() -> None:
    assert copied(b"\0" * 100_000, b"\0" * 100_000) == 0
    assert copied(b"-" * 5_000, b"-" * 5_000) == 0


@given(st.integers(0, 5_000), st.integers(1, 3_000), st.integers(1, 700))
def test_no_more_is_found_than_was_copied(start: int, length: int, cut: int) -> None:
    found = copied(b"<" + DATA[start : start + length] + b">", DATA[:10_000], cut)
    assert found <= length
    if length >= 1024:
        assert found > 0


def test_how_the_data_is_cut_into_pieces_does_not_matter() -> None:
    result = DATA[5_000:9_000]
    assert len({copied(result, cut=cut) for cut in (100_000, 65_536, _SPAN)}) == 1


def test_a_passage_shorter_than_a_window_is_no_copy() -> None:
    assert copied(DATA[100 : 100 + WINDOW_BYTES - 1]) == 0


PEOPLE = [("id", "age", "region", "diagnosis")] + [
    (str(number), str(30 + number % 5), "seoul" if number % 2 else "busan", "flu") for number in range(200)
]


def table(*rows: tuple[str, ...], data: Sequence[tuple[str, ...]] = PEOPLE) -> ResultTable:
    made = ResultTable(rows, 10)
    list(made.compare(data))
    return made


def test_a_row_with_all_columns_of_the_data_is_a_copy_in_any_order() -> None:
    found = table(("diagnosis", "REGION", "id", "age"), ("flu", "seoul", "1", "31"), ("flu", "seoul", "1", "99"))
    assert (found.copied_rows, found.rare_rows) == (1, 1)


def test_a_row_that_fits_few_people_is_rare_and_one_that_fits_many_is_not() -> None:
    old = [*PEOPLE, ("999", "103", "jeju", "flu")]
    found = table(("age", "mean risk"), ("31", "0.2"), ("103", "0.9"), ("32", "0.1"), data=old)
    assert (found.copied_rows, found.rare_rows) == (0, 1)


@given(st.lists(st.tuples(st.integers(30, 40), st.sampled_from(["seoul", "busan", "jeju"])), max_size=20))
def test_rare_rows_are_those_that_a_plain_count_finds(rows: list[tuple[int, str]]) -> None:
    cells = [(str(age), region) for age, region in rows]
    fitting = [sum((each[1], each[2]) == row for each in PEOPLE[1:]) for row in cells]
    assert table(("age", "region"), *cells).rare_rows == sum(0 < count < 10 for count in fitting)


def test_a_count_below_the_smallest_group_is_rare_and_zero_is_not() -> None:
    assert table(("city", "n"), ("seoul", "9"), ("busan", "10"), ("jeju", "0"), ("ulsan", "x")).rare_groups == 1
    assert table(("지역", "인원"), ("제주", "1")).rare_groups == 1


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN RSA PRIVATE KEY-----",
        b"key: AKIAABCDEFGHIJKLMNOP",
        b"ghp_" + b"a1" * 18,
        b'password = "h7!kQz_29xR"',
        b"dure_" + b"aB3" * 8,
    ],
)
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_a_credential_is_found_also_where_pieces_meet(text: bytes, cut: int) -> None:
    check = TextCheck()
    body = b"first line\n" + text + b"\nlast line\n"
    for at in range(0, len(body), cut):
        check.take(body[at : at + cut])
    assert check.credentials >= 1


def test_ordinary_text_has_no_credential_and_no_personal_number() -> None:
    check = TextCheck()
    check.take(b"password: ********\nloss 0.1 at 2026-11-22, phone 02-123-4567, 123456-789\nsecret = required\n")
    assert (check.credentials, check.personal_numbers) == (0, 0)


def test_a_resident_registration_number_is_found() -> None:
    check = TextCheck()
    check.take("홍길동,900101-1234567\n".encode())
    assert check.personal_numbers == 1


@pytest.mark.parametrize(
    ("body", "media_type", "hides"),
    [
        (zlib.compress(NOISE.randbytes(9_000)), "application/x-npy", True),
        (base64.b64encode(NOISE.randbytes(9_000)), "text/plain", True),
        ("서울의 환자는 많았다. ".encode() * 500, "text/plain", False),
        (b"age,risk\n" + b"".join(b"%d,0.%d\n" % (each, each * 7919) for each in range(2_000)), "text/csv", False),
    ],
)
def test_content_that_cannot_be_judged_is_said_to_be_so(body: bytes, media_type: str, hides: bool) -> None:
    check = TextCheck()
    check.take(body)
    codes = [each.code for each in text_findings(check, media_type)]
    assert (FindingCode.NOT_CHECKABLE in codes) == hides


def test_the_strictest_dataset_says_how_much_may_leave() -> None:
    plain = Dataset(name="d", owner="o", classes=(), jurisdiction="KR", purposes=(), sites=(), readers=())
    large = replace(plain, result_bytes=900, result_files=3, smallest_group=5)
    small = replace(plain, result_bytes=500, smallest_group=20)
    assert terms_for([plain]) == InspectionTerms()
    terms = terms_for([plain, large, small])
    assert (terms.most_bytes, terms.most_files, terms.smallest_group) == (500, 3, 20)
    assert terms_for([large]).smallest_group == 5


def test_each_finding_has_its_verdict() -> None:
    terms = InspectionTerms(most_bytes=100, most_files=2)
    assert not budget_findings(terms, 2, 100)
    assert worst(budget_findings(terms, 3, 100)) is Verdict.BLOCK
    assert worst(budget_findings(terms, 2, 101)) is Verdict.BLOCK
    assert worst(type_findings(terms, "text/csv")) is Verdict.PASS
    assert worst(type_findings(terms, "image/png")) is Verdict.WARN
    for leaves_nobody in ("application/zip", "application/x-python-pickle", "application/octet-stream", ""):
        assert worst(type_findings(terms, leaves_nobody)) is Verdict.BLOCK
    assert worst(copy_findings(0)) is Verdict.PASS
    assert worst(copy_findings(511)) is Verdict.WARN
    assert worst(copy_findings(512)) is Verdict.BLOCK
    assert worst(row_findings(table(("age", "n"), ("31", "3")))) is Verdict.BLOCK
