"""Which files a bundle has, and what each of them is."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from msgspec import Struct

from dure.evidence.bill_of_materials import bill_of_materials
from dure.evidence.crate import MANIFEST, manifest, pack
from dure.evidence.lineage_events import lineage_events
from dure.evidence.model_card import model_card
from dure.evidence.provenance import provenance, sign
from dure.evidence.subject import Subject, as_json
from dure.ledger.note import Signer

RECORD = "model.json"
CARD = "README.md"
BILL = "bom.cdx.json"
PROVENANCE = "provenance.dsse.json"
LINEAGE = "lineage.ndjson"
COMPUTE = "compute.json"
ASSESSMENT = "assessment.json"
AGREEMENTS = "agreements/"
ENTRIES = "ledger/"
PROOFS = "proofs/"
RECORDED = "recorded.json"
"""The ledger's entry that has the digest of the manifest. It cannot be in the manifest itself."""
RECORDED_PROOF = "recorded.tlog-proof"
DOCUMENTS = frozenset({RECORD, CARD, BILL, PROVENANCE, LINEAGE, COMPUTE, ASSESSMENT})
"""Files that every bundle has."""


class Draft(Struct, frozen=True, kw_only=True):
    """A bundle before its digest is in the ledger."""

    files: dict[str, bytes]
    manifest: bytes

    @property
    def digest(self) -> str:
        """What the ledger records: SHA-256 of the manifest."""
        return sha256(self.manifest).hexdigest()


def draft_bundle(subject: Subject, entries: Mapping[int, bytes], signer: Signer) -> Draft:
    """The documents about the version, and the ledger's entries by position that they rest on."""
    files = {
        RECORD: as_json(subject.record()),
        CARD: model_card(subject).encode(),
        BILL: as_json(bill_of_materials(subject)),
        PROVENANCE: sign(provenance(subject), signer),
        LINEAGE: lineage_events(subject),
        COMPUTE: as_json(subject.compute),
        ASSESSMENT: as_json(subject.assessment),
    }
    files |= {f"{AGREEMENTS}{name}.json": as_json(each) for name, each in subject.agreements.items()}
    files |= {entry_file(position): entry for position, entry in entries.items()}
    return Draft(files=files, manifest=manifest(subject.name, subject.made_on, files))


def finish_bundle(draft: Draft, proofs: Mapping[int, str], recorded: bytes, recorded_proof: str) -> bytes:
    """The bundle, with a proof for each entry in it and for the one that recorded its digest."""
    files = draft.files | {proof_file(position): text.encode() for position, text in proofs.items()}
    return pack(files | {MANIFEST: draft.manifest, RECORDED: recorded, RECORDED_PROOF: recorded_proof.encode()})


def entry_file(position: int) -> str:
    """Where an entry of the ledger is in a bundle."""
    return f"{ENTRIES}{position}.json"


def proof_file(position: int) -> str:
    """Where the proof of an entry is in a bundle."""
    return f"{PROOFS}{position}.tlog-proof"
