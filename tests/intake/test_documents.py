"""YAML and JSON without surprises."""

from __future__ import annotations

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dure.intake.documents import DEEPEST_DOCUMENT, LARGEST_DOCUMENT, read_json, read_yaml
from dure.intake.refusals import BadInput


def refusal(text: str) -> str:
    with pytest.raises(BadInput) as caught:
        read_yaml(text)
    return str(caught.value)


def test_plain_scalars_stay_the_text_that_was_written() -> None:
    text = "country: NO\ntime: 04:00:00\nversion: 1.10\nflag: on\ncount: 0x10\nbig: 1_000\nday: 2026-11-21\nname: KR"
    assert read_yaml(text) == {
        "country": "NO",
        "time": "04:00:00",
        "version": "1.10",
        "flag": "on",
        "count": "0x10",
        "big": "1_000",
        "day": "2026-11-21",
        "name": "KR",
    }


def test_only_null_and_nothing_are_no_value() -> None:
    assert read_yaml("a: null\nb: ~\nc:\nd: ''\ne: 'null'") == {"a": None, "b": None, "c": None, "d": "", "e": "null"}
    assert read_yaml("") is None


def test_lists_and_mappings_nest() -> None:
    assert read_yaml("a: [1, {b: [c, d]}]\n한글: 세종") == {"a": ["1", {"b": ["c", "d"]}], "한글": "세종"}


def test_a_key_that_appears_twice_is_refused_with_its_line() -> None:
    assert refusal("a: 1\nb: 2\na: 3") == "line 3, column 1: a appears twice; keep one"


def test_an_alias_is_refused_because_few_of_them_unfold_into_millions() -> None:
    laughs = "a: &a [x, x]\n" + "\n".join(
        f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert refusal(laughs).endswith("anchors and aliases are not used here; write the value out")


def test_a_tag_is_refused_and_builds_nothing() -> None:
    assert "!!" not in refusal("a: !!python/object/apply:os.system [ls]")
    assert "tags" in refusal("a: !!int 3")


def test_a_key_that_is_no_name_is_refused() -> None:
    assert "a name is expected" in refusal("? [a, b]\n: c")


def test_a_second_document_is_refused() -> None:
    assert "line 2" in refusal("a: 1\n--- \nb: 2")


@pytest.mark.parametrize("text", ["a: [", "\ta: 1", "a: b: c", "a: \x07", "'", "\ud800", "%YAML 9.9"])
def test_text_that_is_no_yaml_is_refused(text: str) -> None:
    assert refusal(text)


def test_a_document_nested_too_deeply_is_refused() -> None:
    read_yaml("[" * (DEEPEST_DOCUMENT - 1) + "]" * (DEEPEST_DOCUMENT - 1))
    assert "nested" in refusal("[" * (DEEPEST_DOCUMENT + 2) + "]" * (DEEPEST_DOCUMENT + 2))
    assert refusal("[" * 100_000)
    assert refusal("- " * 20_000 + "a")


def test_a_document_that_is_too_large_is_refused() -> None:
    assert "larger than 4 MiB" in refusal("a" * (LARGEST_DOCUMENT + 1))


def test_the_plain_python_loader_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: NO\nb: [~, '', 1.10]\nc: {d: null}"
    with_c = read_yaml(text)
    monkeypatch.setattr("dure.intake.documents._LOADER", yaml.BaseLoader)
    assert read_yaml(text) == with_c
    assert "appears twice" in refusal("a: 1\na: 2")
    assert "aliases" in refusal("a: &a 1\nb: *a")
    assert "nested deeper" in refusal("[" * 5_000)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"a": 1e999}', b'{"a":' * 100_000, b'{"a": NaN}', b'["\\ud800"]']
)
def test_bytes_that_are_no_json_are_refused(body: bytes) -> None:
    with pytest.raises(BadInput, match="not readable as JSON"):
        read_json(body)


TEXTS = st.recursive(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=10,
)


@given(TEXTS)
def test_what_yaml_writes_is_read_back(value: object) -> None:
    assert read_yaml(yaml.safe_dump(value, allow_unicode=True)) == value


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(BadInput):
        read_yaml(text)
