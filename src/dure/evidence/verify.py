"""Is this bundle what the platform recorded? Checked offline, with the operator's public key and those of witnesses.

Nothing is believed because it is in the bundle. The ledger's entry says which manifest was recorded; the manifest says
which files belong and what is in them; a proof says that an entry is in the ledger that the key signs for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

import msgspec
from msgspec import Struct

from dure.evidence.bundle import (
    DOCUMENTS,
    ENTRIES,
    PROVENANCE,
    RECORD,
    RECORDED,
    RECORDED_PROOF,
    entry_file,
    proof_file,
)
from dure.evidence.crate import MANIFEST, CrateError, Manifest, read_manifest, unpack
from dure.evidence.provenance import EnvelopeError, open_envelope
from dure.evidence.subject import Record
from dure.ledger.cosignature import WitnessKey
from dure.ledger.note import VerifierKey
from dure.ledger.proof import ProofError, ProofVerifier, Proven
from dure.model.events import AnyEvent, decode
from dure.model.model_events import EvidenceRecorded, ModelRegistered


class Fault(Struct, frozen=True, kw_only=True):
    """Something wrong with one file of a bundle; an empty name for the bundle as a whole."""

    file: str
    message: str


class Verdict(Struct, frozen=True, kw_only=True):
    """What was found. `witnesses` cosigned every checkpoint that its proofs are under."""

    version: str = ""
    digest: str = ""
    files: int = 0
    entries: int = 0
    witnesses: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def is_sound(self) -> bool:
        """True when nothing was found wrong."""
        return not self.faults


class Keys(Struct, frozen=True, kw_only=True):
    """Whose word counts: the key of the ledger, and so many of these witnesses."""

    log: VerifierKey
    witnesses: Sequence[WitnessKey] = ()
    quorum: int = 0


def verify_bundle(raw: bytes, keys: Keys) -> Verdict:
    """Judge the bytes of a bundle. Finds all that is wrong, and never raises."""
    try:
        unpacked = unpack(raw)
        files = unpacked.files
        body = files.get(MANIFEST)
        if body is None:
            raise CrateError(f"{MANIFEST} is missing")
        manifest = read_manifest(body)
    except CrateError as error:
        return Verdict(faults=(Fault(file="", message=str(error)),))
    proven: list[Proven] = []
    verifier = ProofVerifier(keys.log, keys.witnesses, keys.quorum)
    faults = [
        *(Fault(file=name, message=message) for name, message in unpacked.faults),
        *_files_that_differ(files, manifest),
        *_files_that_do_not_belong(files, manifest),
        *_entries_without_proof(files, manifest, verifier, proven),
        *_not_as_recorded(files, manifest, verifier, proven),
        *_provenance_not_signed(files, manifest, keys),
        *_record_not_as_registered(files, manifest),
    ]
    return Verdict(
        version=manifest.version,
        digest=sha256(body).hexdigest(),
        files=len(files),
        entries=len(proven),
        witnesses=_seen_by_all(proven),
        faults=tuple(faults),
    )


def _files_that_differ(files: Mapping[str, bytes], manifest: Manifest) -> Iterator[Fault]:
    for name in sorted(manifest.digests.keys() | DOCUMENTS):
        if name not in files:
            yield Fault(file=name, message="it is missing")
        elif name not in manifest.digests:
            yield Fault(file=name, message="the manifest does not name it")
        elif sha256(files[name]).hexdigest() != manifest.digests[name]:
            yield Fault(file=name, message="it is not the file that was recorded: its digest is another")


def _files_that_do_not_belong(files: Mapping[str, bytes], manifest: Manifest) -> Iterator[Fault]:
    proofs = {proof_file(position) for position in _positions(manifest)}
    expected = manifest.digests.keys() | proofs | {MANIFEST, RECORDED, RECORDED_PROOF}
    for name in sorted(files.keys() - expected):
        yield Fault(file=name, message="it does not belong to the bundle: it was added")


def _entries_without_proof(
    files: Mapping[str, bytes], manifest: Manifest, verifier: ProofVerifier, proven: list[Proven]
) -> Iterator[Fault]:
    for position in _positions(manifest):
        entry, proof = files.get(entry_file(position)), files.get(proof_file(position))
        if proof is None:
            yield Fault(file=proof_file(position), message="it is missing")
        elif entry is not None:
            yield from _prove(proof_file(position), proof, entry, verifier, proven, position)


def _not_as_recorded(
    files: Mapping[str, bytes], manifest: Manifest, verifier: ProofVerifier, proven: list[Proven]
) -> Iterator[Fault]:
    """The manifest is the one whose digest the ledger has, for this very version."""
    for name in (RECORDED, RECORDED_PROOF):
        if name not in files:
            yield Fault(file=name, message="it is missing")
    if RECORDED not in files or RECORDED_PROOF not in files:
        return
    event = _event(files[RECORDED])
    if not isinstance(event, EvidenceRecorded) or str(event.version) != manifest.version:
        yield Fault(file=RECORDED, message=f"it is not the entry that recorded a bundle of {manifest.version}")
    elif event.digest != sha256(files[MANIFEST]).hexdigest():
        yield Fault(file=MANIFEST, message="it is not the manifest that was recorded: its digest is another")
    yield from _prove(RECORDED_PROOF, files[RECORDED_PROOF], files[RECORDED], verifier, proven)


def _prove(
    name: str, proof: bytes, entry: bytes, verifier: ProofVerifier, proven: list[Proven], position: int | None = None
) -> Iterator[Fault]:
    try:
        found = verifier.verify(proof.decode(), entry)
    except (ProofError, UnicodeDecodeError) as error:
        yield Fault(file=name, message=str(error))
        return
    if position is not None and found.index != position:
        yield Fault(file=name, message=f"it is the proof of entry {found.index}, not of entry {position}")
        return
    proven.append(found)


def _provenance_not_signed(files: Mapping[str, bytes], manifest: Manifest, keys: Keys) -> Iterator[Fault]:
    if PROVENANCE not in files:
        return
    try:
        statement = open_envelope(files[PROVENANCE], keys.log)
        about = statement["predicate"]["buildDefinition"]["externalParameters"]["model"]
    except EnvelopeError as error:
        yield Fault(file=PROVENANCE, message=str(error))
    except (KeyError, TypeError):
        yield Fault(file=PROVENANCE, message="it is no statement about a model")
    else:
        if about != manifest.version:
            yield Fault(file=PROVENANCE, message=f"it is about {about}, not about {manifest.version}")


def _record_not_as_registered(files: Mapping[str, bytes], manifest: Manifest) -> Iterator[Fault]:
    """What the bundle says of the version is what an entry of the ledger registered."""
    entries = (_event(files[name]) for name in files if name.startswith(ENTRIES))
    registered = [each for each in entries if isinstance(each, ModelRegistered)]
    making = next((each.making for each in registered if str(each.version) == manifest.version), None)
    if making is None:
        yield Fault(file=ENTRIES, message=f"no entry in it registered {manifest.version}")
        return
    try:
        record = msgspec.json.decode(files.get(RECORD, b""), type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield Fault(file=RECORD, message="it cannot be read")
        return
    if record.making != making or str(record.version) != manifest.version:
        yield Fault(file=RECORD, message="it says something else than the entry that registered the version")


def _event(entry: bytes) -> AnyEvent | None:
    try:
        return decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _positions(manifest: Manifest) -> list[int]:
    """Positions of the entries that the manifest names."""
    numbers = (
        name.removeprefix(ENTRIES).removesuffix(".json") for name in manifest.digests if name.startswith(ENTRIES)
    )
    return sorted(int(number) for number in numbers if number.isascii() and number.isdigit() and len(number) < 19)


def _seen_by_all(proven: Sequence[Proven]) -> tuple[str, ...]:
    seen = [set(each.witnesses) for each in proven]
    return tuple(sorted(set.intersection(*seen))) if seen else ()
