"""The witnesses file: read as the published format has it, and refused line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure.ledger.cosignature import WitnessSigner
from dure.ledger.witnesses import WitnessesError, parse_witnesses, read_witnesses
from tests.ledger.ledger_samples import SIGNER

A, B, C = (WitnessSigner(f"witness.example/{name}", name.encode() * 32).verifier for name in "abc")
TEXT = f"""
# Who sees that the ledger only grows.
log {SIGNER.verifier}
witness a {A} https://a.example/
witness b {B} http://127.0.0.1:7480
witness c {C}
group two-of-three 2 a b c
quorum two-of-three
"""


def test_a_file_says_who_is_asked_where_and_how_many_are_needed() -> None:
    found = parse_witnesses(TEXT)
    assert found.quorum == 2
    assert found.keys == (A, B, C)
    assert [(each.name, each.url) for each in found.members] == [
        ("a", "https://a.example"),
        ("b", "http://127.0.0.1:7480"),
        ("c", ""),
    ]


@pytest.mark.parametrize(("threshold", "needed"), [("any", 1), ("all", 3), ("3", 3)])
def test_a_threshold_may_be_a_word(threshold: str, needed: int) -> None:
    assert parse_witnesses(TEXT.replace("three 2", f"three {threshold}")).quorum == needed


def test_a_quorum_may_be_one_witness() -> None:
    found = parse_witnesses(f"witness a {A}\nquorum a\n")
    assert (found.keys, found.quorum) == ((A,), 1)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("quorum two-of-three", "", "no line `quorum GROUP`"),
        ("quorum two-of-three", "quorum none", "no group or witness of this name"),
        ("three 2 a b c", "three 4 a b c", "line 7: 4: how many of 3"),
        ("three 2 a b c", "three 0 a b c", "line 7: 0: how many of 3"),
        ("three 2 a b c", "three 2 a b d", "line 7: members of a group are witnesses named above"),
        ("three 2 a b c", "three 2 a a b", "line 7: members of a group"),
        ("witness b", "witness a", "line 5: witness a .*there twice"),
        ("witness c", "wittness c", "line 6: wittness c .*not a line of a witnesses file"),
        ("https://a", "ftp://a", "line 4: ftp://a.example/: not an address"),
        (str(B), str(SIGNER.verifier), "line 5: b: .* not an Ed25519 key of a witness"),
        (str(B), str(B)[:-2] + "A=", "line 5: b:"),
        (str(B), str(A), "two of its witnesses have the same key"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(before: str, after: str, said: str) -> None:
    with pytest.raises(WitnessesError, match=said):
        parse_witnesses(TEXT.replace(before, after))


def test_a_file_is_named_in_what_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "witnesses").write_bytes(b"\xff")
    with pytest.raises(WitnessesError, match="witnesses: not a text file"):
        read_witnesses(tmp_path / "witnesses")
