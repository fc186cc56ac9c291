"""Notes and checkpoints, against notes that other implementations published and against altered ones."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.ledger.merkle import EMPTY_ROOT
from dure.ledger.note import (
    NoteError,
    Signer,
    TreeHead,
    VerifierKey,
    open_checkpoint,
    open_note,
    parse_tree_head,
    sign_checkpoint,
    split_note,
)
from tests.ledger.ledger_samples import ORIGIN, SIGNER

# From the documentation of Go's golang.org/x/mod/sumdb/note.
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    GO_TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
OTHER = Signer(ORIGIN, bytes(32))


def test_a_note_made_by_another_implementation_is_opened() -> None:
    assert open_note(GO_NOTE, VerifierKey.parse(GO_VERIFIER)) == GO_TEXT


def test_the_same_key_signs_the_same_bytes_as_another_implementation() -> None:
    signer = Signer.parse(GO_SIGNER)
    assert str(signer.verifier) == GO_VERIFIER
    assert signer.to_text() == GO_SIGNER
    assert signer.sign(GO_TEXT) == GO_NOTE


def test_a_generated_key_signs_what_its_verifier_opens() -> None:
    signer = Signer.generate(ORIGIN)
    key = VerifierKey.parse(str(signer.verifier))
    assert open_note(signer.sign("a text\n\nwith a blank line\n"), key) == "a text\n\nwith a blank line\n"


def test_two_generated_keys_differ() -> None:
    assert Signer.generate(ORIGIN).verifier != Signer.generate(ORIGIN).verifier


def test_the_private_half_is_never_printed() -> None:
    seed = base64.b64encode(b"\x01" + bytes(range(32))).decode()
    assert seed in SIGNER.to_text()
    assert seed not in repr(SIGNER)
    assert seed not in str(SIGNER)


def test_a_note_signed_by_another_key_is_refused_and_both_are_named() -> None:
    with pytest.raises(NoteError) as refused:
        open_note(OTHER.sign("a text\n"), SIGNER.verifier)
    assert f"{ORIGIN}+{OTHER.verifier.id.hex()}" in str(refused.value)
    assert f"{ORIGIN}+{SIGNER.verifier.id.hex()}" in str(refused.value)


def test_signatures_of_others_beside_ours_are_passed_over() -> None:
    ours, theirs = SIGNER.sign("a text\n"), OTHER.sign("a text\n")
    both = theirs + ours.rpartition("\n\n")[2]
    assert open_note(both, SIGNER.verifier) == "a text\n"
    assert open_note(both, OTHER.verifier) == "a text\n"


def test_a_wrong_signature_of_ours_beside_a_right_one_is_refused() -> None:
    right, wrong = SIGNER.sign("a text\n"), SIGNER.sign("another text\n")
    with pytest.raises(NoteError, match="does not fit the text"):
        open_note(right + wrong.rpartition("\n\n")[2], SIGNER.verifier)


def test_a_root_that_could_be_written_in_two_ways_is_refused() -> None:
    # The last character before the padding of a 32-byte value has two bits that mean nothing.
    canonical = base64.b64encode(bytes(32)).decode()
    sloppy = f"{canonical[:-2]}B="
    assert base64.b64decode(sloppy) == bytes(32)
    with pytest.raises(NoteError, match="not the base64 it should be"):
        parse_tree_head(f"origin\n1\n{sloppy}\n")


@given(st.data())
def test_a_note_with_one_changed_character_is_refused(data: st.DataObject) -> None:
    note = sign_checkpoint(SIGNER, 17, bytes(32))
    at = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda character: character != note[at]))
    with pytest.raises(NoteError):
        open_checkpoint(note[:at] + other + note[at + 1 :], SIGNER.verifier)


@given(st.text(max_size=300))
def test_any_text_is_refused_without_another_error(text: str) -> None:
    with pytest.raises(NoteError):
        open_checkpoint(text, SIGNER.verifier)


@given(st.text(max_size=100))
def test_any_text_as_key_is_refused_without_another_error(text: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(text)
    with pytest.raises(NoteError):
        Signer.parse(text)


def test_a_checkpoint_has_the_published_form() -> None:
    lines = sign_checkpoint(SIGNER, 0, EMPTY_ROOT).split("\n")
    assert lines[:4] == [ORIGIN, "0", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", ""]
    assert lines[4].startswith(f"— {ORIGIN} ")
    assert lines[5:] == [""]


@given(st.integers(0, 1 << 62), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_says_what_was_signed(size: int, root: bytes) -> None:
    assert open_checkpoint(sign_checkpoint(SIGNER, size, root), SIGNER.verifier) == TreeHead(ORIGIN, size, root)


def test_a_checkpoint_about_another_log_is_refused() -> None:
    note = SIGNER.sign(TreeHead("dure.example/other", 1, bytes(32)).text())
    with pytest.raises(NoteError, match=r"about the log dure\.example/other"):
        open_checkpoint(note, SIGNER.verifier)


def test_extension_lines_are_allowed() -> None:
    text = TreeHead(ORIGIN, 5, bytes(32)).text() + "something more\n"
    assert open_checkpoint(SIGNER.sign(text), SIGNER.verifier).size == 5


@pytest.mark.parametrize(
    "text",
    [
        "origin\n1\n",
        f"origin\n01\n{base64.b64encode(bytes(32)).decode()}\n",
        f"origin\n-1\n{base64.b64encode(bytes(32)).decode()}\n",
        f"origin\n²\n{base64.b64encode(bytes(32)).decode()}\n",
        f"origin\n{'9' * 30}\n{base64.b64encode(bytes(32)).decode()}\n",
        f"origin\n1\n{base64.b64encode(bytes(31)).decode()}\n",
        "origin\n1\nnot base64\n",
        f"\n1\n{base64.b64encode(bytes(32)).decode()}\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_tree_head(text)


@pytest.mark.parametrize("name", ["", "with space", "with+plus", "with\u00a0space", "with\nline"])
def test_a_name_that_would_break_a_note_is_refused(name: str) -> None:
    with pytest.raises(NoteError, match="cannot name a key"):
        Signer.generate(name)


@pytest.mark.parametrize("text", ["", "\n", "no newline", "a tab\t\n"])
def test_a_text_that_cannot_be_signed_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        SIGNER.sign(text)


def test_a_verifier_key_with_a_changed_character_is_refused() -> None:
    with pytest.raises(NoteError, match="id that does not belong to it"):
        VerifierKey.parse(GO_VERIFIER.replace("ARpc2Q", "ARpc2R"))


def test_a_key_of_another_kind_is_refused() -> None:
    encoded = base64.b64encode(b"\x02" + bytes(32)).decode()
    with pytest.raises(NoteError, match="not an Ed25519 key"):
        VerifierKey.parse(f"name+00000000+{encoded}")


def test_the_checkpoint_in_the_specification_is_read() -> None:
    note = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+"
        "zyWE+xeMcTOAYQ8=\n"
    )
    text, (signature,) = split_note(note)
    head = parse_tree_head(text)
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert (signature.name, signature.id.hex(), len(signature.signature)) == (head.origin, "033de0ae", 64)
