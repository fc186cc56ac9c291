"""A witness cosigns a log that only grows, and says in the published statuses why it does not cosign another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dure.ledger.add_checkpoint import SIZE_TYPE, AddCheckpoint
from dure.ledger.cosignature import WitnessSigner, cosigners, with_cosignatures
from dure.ledger.merkle import EMPTY_ROOT, consistency_proof, leaf_hash, leaf_hashes, root
from dure.ledger.note import NoteError, Signer, parse_signature, sign_checkpoint
from dure.witness.judging import Answer, Witness
from dure.witness.memory import Latest, WitnessMemory
from tests.ledger.ledger_samples import ORIGIN, SIGNER, entries

NOW_S = 1_760_000_000
WITNESS_SIGNER = WitnessSigner("witness.example/1", bytes(32))
LEAVES = leaf_hashes(entries(0, 40))
FORK = [*LEAVES[:7], *(leaf_hash(bytes([number])) for number in range(33))]


def open_witness(folder: Path) -> Witness:
    return Witness(WITNESS_SIGNER, {ORIGIN: SIGNER.verifier}, WitnessMemory(folder / "witness.sqlite"), lambda: NOW_S)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return open_witness(tmp_path)


def checkpoint(size: int, leaves: Sequence[bytes] = LEAVES, signer: Signer = SIGNER) -> str:
    return sign_checkpoint(signer, size, root(leaves[:size]))


def submit(witness: Witness, old: int, size: int, leaves: Sequence[bytes] = LEAVES) -> Answer:
    proof = tuple(consistency_proof(old, leaves[:size]))
    return witness.add_checkpoint(str(AddCheckpoint(old, proof, checkpoint(size, leaves))).encode())


def test_a_growing_log_is_cosigned_step_by_step(witness: Witness) -> None:
    for old, size in ((0, 3), (3, 8), (8, 8), (8, 40)):
        answer = submit(witness, old, size)
        assert answer.status == 200, answer
        line = parse_signature(answer.body.removesuffix("\n"))
        assert cosigners(with_cosignatures(checkpoint(size), [line]), [WITNESS_SIGNER.verifier])


def test_an_empty_log_is_cosigned(witness: Witness) -> None:
    body = str(AddCheckpoint(0, (), sign_checkpoint(SIGNER, 0, EMPTY_ROOT))).encode()
    assert witness.add_checkpoint(body).status == 200


def test_who_is_behind_is_told_the_size(witness: Witness) -> None:
    submit(witness, 0, 8)
    for old in (0, 3, 9):
        answer = submit(witness, old, 20)
        assert (answer.status, answer.body, answer.media_type) == (409, "8\n", SIZE_TYPE)


def test_a_log_that_was_cut_back_is_not_cosigned(witness: Witness) -> None:
    submit(witness, 0, 20)
    assert submit(witness, 10, 15).status == 409
    body = str(AddCheckpoint(20, (), checkpoint(15))).encode()
    assert witness.add_checkpoint(body).status == 400


def test_a_log_that_forked_is_not_cosigned(witness: Witness) -> None:
    submit(witness, 0, 8)
    assert submit(witness, 8, 20, FORK).status == 422
    body = str(AddCheckpoint(8, (), checkpoint(8, FORK))).encode()
    assert witness.add_checkpoint(body).status == 409
    assert submit(witness, 8, 20).status == 200


def test_a_proof_too_many_is_refused(witness: Witness) -> None:
    body = str(AddCheckpoint(0, (EMPTY_ROOT,), checkpoint(3))).encode()
    assert witness.add_checkpoint(body).status == 422


def test_an_unknown_log_and_an_unknown_key_are_told_apart(witness: Witness) -> None:
    unknown = sign_checkpoint(Signer("other.example/log", bytes(32)), 3, root(LEAVES[:3]))
    assert witness.add_checkpoint(str(AddCheckpoint(0, (), unknown)).encode()).status == 404
    forged = checkpoint(3, signer=Signer(ORIGIN, bytes(32)))
    assert witness.add_checkpoint(str(AddCheckpoint(0, (), forged)).encode()).status == 403
    altered = checkpoint(3).replace("\n3\n", "\n4\n")
    assert witness.add_checkpoint(str(AddCheckpoint(0, (), altered)).encode()).status == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"old 0\n",
        b"old 00\n\n" + checkpoint(3).encode(),
        b"old -1\n\n" + checkpoint(3).encode(),
        b"old 0\nnot-a-hash\n\n" + checkpoint(3).encode(),
        b"new 0\n\n" + checkpoint(3).encode(),
        b"old 0\n\nnot a checkpoint\n",
        str(AddCheckpoint(0, (EMPTY_ROOT,) * 64, checkpoint(3))).encode(),
    ],
)
def test_what_is_no_request_is_bad(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400


def test_what_was_cosigned_is_remembered_after_a_restart(tmp_path: Path) -> None:
    submit(open_witness(tmp_path), 0, 20)
    again = open_witness(tmp_path)
    assert submit(again, 0, 8, FORK).body == "20\n"
    assert submit(again, 20, 21).status == 200


def test_a_checkpoint_is_kept_before_it_is_cosigned(tmp_path: Path) -> None:
    """If the disk refuses, nothing is signed."""

    class FullDisk(WitnessMemory):
        def keep(self, origin: str, latest: Latest) -> None:
            raise OSError("no space left")

    witness = Witness(WITNESS_SIGNER, {ORIGIN: SIGNER.verifier}, FullDisk(tmp_path / "w.sqlite"), lambda: NOW_S)
    with pytest.raises(OSError, match="no space left"):
        submit(witness, 0, 3)
    with closing(WitnessMemory(tmp_path / "w.sqlite")) as memory:
        assert memory.latest(ORIGIN).size == 0


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=12))
def test_no_two_cosigned_checkpoints_ever_contradict_each_other(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int, bool]]
) -> None:
    witness = open_witness(tmp_path_factory.mktemp("witness"))
    cosigned: list[tuple[int, bool]] = []
    for old, size, is_fork in asked:
        leaves = FORK if is_fork else LEAVES
        if old <= size and submit(witness, old, size, leaves).status == 200:
            cosigned.append((size, is_fork))
    sizes = [size for size, _ in cosigned]
    assert sizes == sorted(sizes)
    assert len({is_fork for size, is_fork in cosigned if size > 7}) <= 1


def test_a_request_read_back_is_the_same() -> None:
    asked = AddCheckpoint(3, tuple(LEAVES[:2]), checkpoint(8))
    assert AddCheckpoint.parse(str(asked).encode()) == asked
    with pytest.raises(NoteError):
        AddCheckpoint.parse(b"old 3")
