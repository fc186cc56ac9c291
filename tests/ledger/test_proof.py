"""Proof files: what an outsider checks with two keys and nothing else."""

from __future__ import annotations

import base64
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.ledger.cosignature import WitnessSigner, with_cosignatures
from dure.ledger.large import MOST_ENTRY_BYTES, entry_leaf, entry_leaves, logged
from dure.ledger.merkle import inclusion_proof, leaf_hash, root
from dure.ledger.note import Signer, sign_checkpoint, split_note
from dure.ledger.proof import ProofError, TlogProof, verify_proof
from tests.ledger.ledger_samples import ORIGIN, SIGNER, entries, entry

SIZE, INDEX = 11, 6
WITNESS = WitnessSigner("witness.example/1", bytes(32))
LARGE = b"x" * (MOST_ENTRY_BYTES + 1)


def make(
    all_entries: list[bytes], index: int = INDEX, signer: Signer = SIGNER, extra: bytes | None = None
) -> TlogProof:
    leaves = entry_leaves(all_entries)
    note = sign_checkpoint(signer, len(leaves), root(leaves))
    note = with_cosignatures(note, [WITNESS.cosign(split_note(note)[0], 1_760_000_000)])
    return TlogProof(index=index, path=tuple(inclusion_proof(index, leaves)), checkpoint=note, extra=extra)


PROOF = make(entries(0, SIZE))


def test_a_proof_is_one_file_in_the_published_form() -> None:
    lines = str(make(entries(0, SIZE), extra=b"abc")).split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra YWJj", "index 6"]
    assert [len(base64.b64decode(line)) for line in lines[3:7]] == [32] * 4
    assert lines[7:10] == ["", ORIGIN, "11"]


def test_a_proof_read_back_is_the_same() -> None:
    with_extra = make(entries(0, SIZE), extra=b"")
    assert TlogProof.parse(str(PROOF)) == PROOF
    assert TlogProof.parse(str(with_extra)) == with_extra


def test_a_proof_shows_where_an_entry_is_and_who_saw_it() -> None:
    proven = verify_proof(str(PROOF), entry(INDEX), SIGNER.verifier, [WITNESS.verifier], 1)
    assert (proven.index, proven.head.size, proven.witnesses) == (INDEX, SIZE, ("witness.example/1",))


@given(st.integers(1, 300), st.data())
def test_every_entry_of_every_log_can_be_proven_and_no_other_in_its_place(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    text = str(make(entries(0, size), index))
    assert verify_proof(text, entry(index), SIGNER.verifier).index == index
    with pytest.raises(ProofError, match=f"entry {index} is not proven"):
        verify_proof(text, entry(size), SIGNER.verifier)


def test_a_forged_checkpoint_is_refused_with_the_entry_named() -> None:
    forged = str(make(entries(0, SIZE), signer=Signer(ORIGIN, bytes(32))))
    with pytest.raises(ProofError, match="the checkpoint over entry 6 is refused: it is signed by"):
        verify_proof(forged, entry(INDEX), SIGNER.verifier)
    altered = str(PROOF).replace(f"{ORIGIN}\n11\n", f"{ORIGIN}\n12\n")
    with pytest.raises(ProofError, match=r"entry 6 is refused: the signature of .* does not fit"):
        verify_proof(altered, entry(INDEX), SIGNER.verifier)


def test_too_few_witnesses_are_refused() -> None:
    stranger = WitnessSigner("witness.example/2", bytes([2]) * 32)
    with pytest.raises(ProofError, match="entry 6 is refused: 1 of 2 witnesses"):
        verify_proof(str(PROOF), entry(INDEX), SIGNER.verifier, [WITNESS.verifier, stranger.verifier], 2)


def test_a_proof_of_another_place_is_refused() -> None:
    moved = str(PROOF).replace("index 6\n", "index 5\n")
    with pytest.raises(ProofError, match="entry 5 is not proven"):
        verify_proof(moved, entry(INDEX), SIGNER.verifier)


@given(st.integers(0, len(str(PROOF)) - 1), st.sampled_from("0aZ+/=\n —"))
def test_one_changed_character_proves_nothing_else(at: int, character: str) -> None:
    spoilt = str(PROOF)[:at] + character + str(PROOF)[at + 1 :]
    try:
        proven = verify_proof(spoilt, entry(INDEX), SIGNER.verifier, [WITNESS.verifier], 1)
    except ProofError:
        return
    assert (proven.index, proven.head.size) == (INDEX, SIZE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v2\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 01\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex -1\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex ٣\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nnothash\n\nx\n",
        "c2sp.org/tlog-proof@v1\nextra ***\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + f"{'A' * 43}=\n" * 64 + "\nx\n",
    ],
)
def test_what_is_no_proof_is_refused(text: str) -> None:
    with pytest.raises(ProofError):
        TlogProof.parse(text)


def test_a_large_entry_is_proven_by_its_bytes_and_by_its_stand_in() -> None:
    text = str(make([entry(0), LARGE, entry(2)], 1))
    for shown in (LARGE, logged(LARGE)):
        assert verify_proof(text, shown, SIGNER.verifier).index == 1
    with pytest.raises(ProofError, match="entry 1 is not proven"):
        verify_proof(text, LARGE + b"x", SIGNER.verifier)


def test_a_large_entry_that_an_old_ledger_hashed_whole_is_proven_by_its_bytes() -> None:
    leaves = [entry_leaf(entry(0)), leaf_hash(LARGE)]
    proof = TlogProof(index=1, path=(leaves[0],), checkpoint=sign_checkpoint(SIGNER, 2, root(leaves)))
    assert verify_proof(str(proof), LARGE, SIGNER.verifier).index == 1


def test_checking_a_proof_needs_nothing_of_a_server_or_a_storage() -> None:
    program = "import sys, dure.ledger.proof, dure.ledger.verify; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "dure.ledger.merkle" in loaded
    heavy = {"starlette", "uvicorn", "httpx", "sqlite3", "psycopg", "numpy", "numba", "dure.control", "dure.api"}
    assert not heavy & set(loaded)
