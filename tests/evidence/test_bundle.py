"""A bundle is sound as the platform made it, and every change to it is found and named."""

from __future__ import annotations

import json
import zipfile
from hashlib import sha256
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.evidence.bundle import (
    ASSESSMENT,
    BILL,
    CARD,
    COMPUTE,
    ENTRIES,
    LINEAGE,
    PROOFS,
    PROVENANCE,
    RECORD,
    RECORDED,
    RECORDED_PROOF,
)
from dure.evidence.crate import MANIFEST, pack, unpack
from dure.evidence.verify import Keys, Verdict, verify_bundle
from dure.ledger.cosignature import WitnessSigner, with_cosignatures
from dure.ledger.note import split_note
from dure.ledger.proof import TlogProof
from dure.model.events import decode
from dure.model.model_events import ModelRegistered
from tests.evidence.builders import FIRST, SECOND, SIGNER, STRANGER, bundle_of, with_model

KEYS = Keys(log=SIGNER.verifier)
WITNESSES = tuple(WitnessSigner(f"witness{each}.example/w", bytes([each]) * 32) for each in range(3))


@pytest.fixture(scope="module")
def bundle() -> bytes:
    return bundle_of(with_model())


@pytest.fixture(scope="module")
def another() -> bytes:
    return bundle_of(with_model(), SECOND)


def judged(files: dict[str, bytes], keys: Keys = KEYS) -> Verdict:
    return verify_bundle(pack(files), keys)


def named(verdict: Verdict) -> set[str]:
    return {fault.file for fault in verdict.faults}


def test_a_bundle_as_it_was_made_is_sound(bundle: bytes, another: bytes) -> None:
    verdict = verify_bundle(bundle, KEYS)
    assert verdict.faults == ()
    assert verdict.version == str(FIRST)
    files = unpack(bundle).files
    assert {CARD, BILL, PROVENANCE, LINEAGE, COMPUTE, ASSESSMENT, RECORD, MANIFEST, RECORDED} < files.keys()
    assert verdict.entries == sum(name.startswith(ENTRIES) for name in files) + 1
    assert verify_bundle(another, KEYS).is_sound


def test_it_has_the_entries_of_its_jobs_its_life_and_its_ancestors(another: bytes) -> None:
    entries = [json.loads(body) for name, body in unpack(another).files.items() if name.startswith(ENTRIES)]
    kinds = [each["event"] for each in entries]
    assert kinds.count("model-registered") == 2, "its own, and its parent's"
    assert {each["job"] for each in entries if each["event"] == "job-submitted"} == {"j2"}
    assert {each["job"] for each in entries if each["event"] == "attempt-ended"} == {"j2"}


def test_what_the_ledger_recorded_is_the_digest_of_the_manifest(bundle: bytes) -> None:
    files = unpack(bundle).files
    assert json.loads(files[RECORDED])["digest"] == sha256(files[MANIFEST]).hexdigest()
    described = {each["@id"] for each in json.loads(files[MANIFEST])["@graph"]}
    assert described - {"./", MANIFEST} == {name for name in files if not name.startswith(PROOFS)} - {
        MANIFEST,
        RECORDED,
        RECORDED_PROOF,
    }


def test_the_same_content_gives_the_same_bytes(bundle: bytes) -> None:
    assert bundle_of(with_model()) == bundle
    assert pack(dict(reversed(unpack(bundle).files.items()))) == bundle


def test_every_single_file_counts(bundle: bytes) -> None:
    files = unpack(bundle).files
    for name, body in files.items():
        if name == MANIFEST:
            continue
        missing = judged({each: files[each] for each in files if each != name})
        assert name in named(missing), f"nobody missed {name}"
        altered = judged(files | {name: body[:-2] + bytes([body[-2] ^ 1]) + body[-1:]})
        changed = {name, name.replace(".tlog-proof", ".json"), f"{PROOFS}{name.removeprefix(ENTRIES)}"}
        assert named(altered) & changed, f"nobody saw that {name} was altered"


def test_an_added_file_is_named(bundle: bytes) -> None:
    files = unpack(bundle).files
    for name in ("weights.bin", f"{PROOFS}999.tlog-proof", f"{ENTRIES}999.json"):
        assert named(judged(files | {name: b"x"})) == {name}


@pytest.mark.parametrize("name", [CARD, PROVENANCE, RECORD, COMPUTE])
def test_a_file_of_another_bundle_is_named(bundle: bytes, another: bytes, name: str) -> None:
    swapped = judged(unpack(bundle).files | {name: unpack(another).files[name]})
    assert name in named(swapped)


def test_a_manifest_that_fits_other_files_was_not_recorded(bundle: bytes) -> None:
    files = unpack(bundle).files
    forged = files[CARD].replace(b"0.71", b"0.99")
    manifest = files[MANIFEST].replace(sha256(files[CARD]).hexdigest().encode(), sha256(forged).hexdigest().encode())
    verdict = judged(files | {CARD: forged, MANIFEST: manifest})
    assert named(verdict) == {MANIFEST}


def test_the_record_of_another_bundle_proves_nothing_here(bundle: bytes, another: bytes) -> None:
    theirs = unpack(another).files
    verdict = judged(unpack(bundle).files | {name: theirs[name] for name in (RECORDED, RECORDED_PROOF)})
    assert named(verdict) == {RECORDED}


def test_a_bundle_signed_by_another_key_is_refused(bundle: bytes) -> None:
    verdict = verify_bundle(bundle, Keys(log=STRANGER.verifier))
    assert PROVENANCE in named(verdict)
    assert verdict.entries == 0
    forged = bundle_of(with_model(), signer=STRANGER)
    assert named(verify_bundle(forged, KEYS)) == {PROVENANCE}


def test_witnesses_that_are_demanded_must_have_cosigned_every_checkpoint(bundle: bytes) -> None:
    keys = Keys(log=SIGNER.verifier, witnesses=[each.verifier for each in WITNESSES], quorum=2)
    assert not verify_bundle(bundle, keys).is_sound
    files = unpack(bundle).files
    for name in files:
        if name.endswith(".tlog-proof"):
            proof = TlogProof.parse(files[name].decode())
            lines = [each.cosign(split_note(proof.checkpoint)[0], 1_760_000_000) for each in WITNESSES[:2]]
            seen = TlogProof(
                index=proof.index,
                path=proof.path,
                checkpoint=with_cosignatures(proof.checkpoint, lines),
                extra=proof.extra,
            )
            files[name] = str(seen).encode()
    verdict = judged(files, keys)
    assert verdict.is_sound
    assert verdict.witnesses == tuple(each.verifier.name for each in WITNESSES[:2])
    assert not judged(files | {RECORDED_PROOF: unpack(bundle).files[RECORDED_PROOF]}, keys).is_sound


def test_bytes_between_or_after_the_files_are_refused(bundle: bytes) -> None:
    for raw in (bundle + b"x", b"x" + bundle, bundle[:-1], b"", b"PK"):
        assert not verify_bundle(raw, KEYS).is_sound
    commented = BytesIO(bundle)
    with zipfile.ZipFile(commented, "a") as archive:
        archive.comment = b"hidden"
    assert not verify_bundle(commented.getvalue(), KEYS).is_sound


def test_a_file_that_is_there_twice_is_refused(bundle: bytes) -> None:
    packed = BytesIO(bundle)
    with zipfile.ZipFile(packed, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(CARD, b"another card")
    assert named(verify_bundle(packed.getvalue(), KEYS)) == {CARD}


def test_a_bundle_that_was_made_anew_by_another_program_is_refused_with_the_files_that_differ(bundle: bytes) -> None:
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", kind) as archive:
            for name, body in unpack(bundle).files.items():
                archive.writestr(name, body.replace(b"0.71", b"0.99") if name == CARD else body)
        assert named(verify_bundle(packed.getvalue(), KEYS)) == {"", CARD}


@settings(max_examples=40, deadline=None)
@given(position=st.integers(0), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(bundle: bytes, position: int, bit: int) -> None:
    at = position % len(bundle)
    raw = bundle[:at] + bytes([bundle[at] ^ 1 << bit]) + bundle[at + 1 :]
    assert not verify_bundle(raw, KEYS).is_sound


@given(st.binary(max_size=300))
def test_no_bytes_make_it_stumble(raw: bytes) -> None:
    assert not verify_bundle(raw, KEYS).is_sound


def test_what_registered_the_version_is_in_the_bundle(bundle: bytes) -> None:
    events = [decode(body) for name, body in unpack(bundle).files.items() if name.startswith(ENTRIES)]
    assert [str(each.version) for each in events if isinstance(each, ModelRegistered)] == [str(FIRST)]
