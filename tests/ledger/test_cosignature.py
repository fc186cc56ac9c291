"""Cosignatures by witnesses: what is signed, whose they are, and how many there must be."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest

from dure.ledger.cosignature import (
    WitnessKey,
    WitnessSigner,
    cosigned_message,
    cosigners,
    require_quorum,
    with_cosignatures,
)
from dure.ledger.merkle import leaf_hash
from dure.ledger.note import NoteError, VerifierKey, open_checkpoint, sign_checkpoint, split_note
from tests.ledger.ledger_samples import SIGNER

AT_S = 1_760_000_000
FIRST, SECOND, THIRD = (WitnessSigner(f"witness.example/{number}", bytes([number]) * 32) for number in (1, 2, 3))
WITNESSES = [each.verifier for each in (FIRST, SECOND, THIRD)]
NOTE = sign_checkpoint(SIGNER, 5, leaf_hash(b"root"))
TEXT = split_note(NOTE)[0]


def test_the_signed_message_is_that_of_the_specification() -> None:
    text = "go.sum database tree\n15368405\n31JQUq8EyQx5lpqtKRqryJzA+77WD2xmTyuB4uIlXeE=\n"
    assert cosigned_message(text, 1_679_315_147) == (
        b"cosignature/v1\ntime 1679315147\ngo.sum database tree\n15368405\n"
        b"31JQUq8EyQx5lpqtKRqryJzA+77WD2xmTyuB4uIlXeE=\n"
    )


def test_a_key_id_is_made_of_name_algorithm_and_key() -> None:
    key = FIRST.verifier
    expected = sha256(b"witness.example/1\n\x04" + key.public).digest()[:4]
    assert key.id == expected
    encoded = base64.b64encode(b"\x04" + key.public).decode()
    assert str(key) == f"witness.example/1+{expected.hex()}+{encoded}"
    assert WitnessKey.parse(str(key)) == key


def test_a_key_of_a_log_is_no_key_of_a_witness_and_the_other_way_round() -> None:
    with pytest.raises(NoteError, match="not an Ed25519 key of a witness"):
        WitnessKey.parse(str(SIGNER.verifier))
    with pytest.raises(NoteError, match="not an Ed25519 key of a log"):
        VerifierKey.parse(str(FIRST.verifier))


def test_a_cosignature_holds_its_time_before_the_signature() -> None:
    line = FIRST.cosign(TEXT, AT_S)
    assert line.signature[:8] == AT_S.to_bytes(8, "big")
    assert len(line.signature) == 72
    assert FIRST.verifier.cosigned_at_s(TEXT, line) == AT_S


def test_a_cosigned_checkpoint_is_still_the_logs_own() -> None:
    note = with_cosignatures(NOTE, [FIRST.cosign(TEXT, AT_S), SECOND.cosign(TEXT, AT_S)])
    assert open_checkpoint(note, SIGNER.verifier).size == 5
    assert cosigners(note, WITNESSES) == WITNESSES[:2]


def test_a_changed_time_text_or_key_makes_a_cosignature_worthless() -> None:
    line = FIRST.cosign(TEXT, AT_S)
    later = type(line)(line.name, line.id, (AT_S + 1).to_bytes(8, "big") + line.signature[8:])
    assert FIRST.verifier.cosigned_at_s(TEXT, later) is None
    assert FIRST.verifier.cosigned_at_s(TEXT.replace("5", "6", 1), line) is None
    assert WitnessKey(FIRST.verifier.name, SECOND.verifier.public).cosigned_at_s(TEXT, line) is None
    assert FIRST.verifier.cosigned_at_s(TEXT, type(line)(line.name, line.id, b"short")) is None


def test_a_quorum_is_counted_over_known_witnesses_only() -> None:
    note = with_cosignatures(NOTE, [each.cosign(TEXT, AT_S) for each in (FIRST, THIRD)])
    assert require_quorum(note, WITNESSES, 2) == [WITNESSES[0], WITNESSES[2]]
    with pytest.raises(NoteError, match=r"2 of 3 witnesses cosigned it .*, and 3 are needed"):
        require_quorum(note, WITNESSES, 3)
    with pytest.raises(NoteError, match=r"0 of 1 witnesses cosigned it \(none\)"):
        require_quorum(note, WITNESSES[1:2], 1)


def test_a_witness_counts_once_however_often_it_signs_and_whatever_it_is_called() -> None:
    twin = WitnessSigner("witness.example/other-name", bytes([1]) * 32)
    note = with_cosignatures(NOTE, [FIRST.cosign(TEXT, AT_S), FIRST.cosign(TEXT, AT_S + 1), twin.cosign(TEXT, AT_S)])
    assert len(cosigners(note, [FIRST.verifier, twin.verifier])) == 1


def test_the_private_half_is_never_printed() -> None:
    assert base64.b64encode(bytes([1]) * 32).decode() not in repr(FIRST)
