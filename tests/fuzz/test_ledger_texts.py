"""What outsiders hand to a verifier or a witness: read, or refused with a reason, whatever it holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from dure.ledger.cosignature import WitnessSigner, with_cosignatures
from dure.ledger.merkle import inclusion_proof, leaf_hashes, root
from dure.ledger.note import NoteError, open_checkpoint, sign_checkpoint, split_note
from dure.ledger.proof import ProofError, TlogProof, verify_proof
from dure.ledger.tiles import Tile, unpack_entries, unpack_hashes
from dure.ledger.witnesses import WitnessesError, parse_witnesses
from dure.witness.judging import Witness
from dure.witness.memory import WitnessMemory
from tests.fuzz.spoiling import EXAMPLES, no_hang, spoilt_bytes, spoilt_texts
from tests.ledger.ledger_samples import ORIGIN, SIGNER, entries, entry

LEAVES = leaf_hashes(entries(0, 11))
WITNESS = WitnessSigner("witness.example/1", bytes(32))
NOTE = sign_checkpoint(SIGNER, 11, root(LEAVES))
COSIGNED = with_cosignatures(NOTE, [WITNESS.cosign(split_note(NOTE)[0], 1_760_000_000)])
PROOF = str(TlogProof(index=6, path=tuple(inclusion_proof(6, LEAVES)), checkpoint=COSIGNED, extra=entry(6)))
POLICY = f"witness a {WITNESS.verifier} https://a.example\ngroup g 1 a\nquorum g\n"
PATHS = ["tile/0/000", "tile/entries/x001/x234/067.p/17", "tile/2/000.p/1"]


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=spoilt_texts([PROOF]))
def test_a_spoilt_proof_proves_nothing_else(text: str) -> None:
    with no_hang(lambda: text):
        try:
            proven = verify_proof(text, entry(6), SIGNER.verifier, [WITNESS.verifier], 1)
        except ProofError:
            return
    assert (proven.index, proven.head.size) == (6, 11)


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=spoilt_texts([NOTE, COSIGNED]))
def test_a_spoilt_checkpoint_says_nothing_else(text: str) -> None:
    with no_hang(lambda: text):
        try:
            head = open_checkpoint(text, SIGNER.verifier)
        except NoteError:
            return
    assert (head.size, head.root) == (11, root(LEAVES))


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=spoilt_texts([POLICY]))
def test_a_spoilt_witnesses_file_demands_somebody_or_is_refused(text: str) -> None:
    with no_hang(lambda: text):
        try:
            found = parse_witnesses(text)
        except WitnessesError:
            return
    assert 0 < found.quorum <= len(found.members)


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Witness:
    memory = WitnessMemory(tmp_path_factory.mktemp("witness") / "witness.sqlite")
    return Witness(WITNESS, {ORIGIN: SIGNER.verifier}, memory, lambda: 1_760_000_000)


@settings(max_examples=EXAMPLES, deadline=None)
@given(body=spoilt_bytes([f"old 0\n\n{NOTE}"]))
def test_a_witness_answers_whatever_it_is_sent(witness: Witness, body: bytes) -> None:
    with no_hang(lambda: repr(body)):
        assert witness.add_checkpoint(body).status in (200, 400, 403, 404, 409, 422)


@settings(max_examples=EXAMPLES, deadline=None)
@given(path=spoilt_texts(PATHS))
def test_a_path_is_a_tiles_own_or_none(path: str) -> None:
    tile = Tile.parse(path)
    assert tile is None or tile.path == path


@settings(max_examples=EXAMPLES, deadline=None)
@given(body=spoilt_bytes(["ab" * 32]))
def test_a_spoilt_tile_or_bundle_is_as_wide_as_it_says_or_refused(body: bytes) -> None:
    for unpack in (unpack_entries, unpack_hashes):
        try:
            assert len(unpack(body, 2)) == 2
        except ValueError:
            continue
