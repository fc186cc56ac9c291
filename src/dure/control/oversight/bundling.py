"""Making an evidence bundle: what it is written from, and the proofs that finish it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from dure.control.memory import Memory
from dure.control.ports import Ledger
from dure.evidence.bundle import Draft, finish_bundle
from dure.evidence.subject import Subject
from dure.governance.accelerators import shipped_catalogue
from dure.governance.forecast import thresholds
from dure.governance.library import shipped_library
from dure.governance.model_assessment import assess_version
from dure.governance.model_compute import version_compute
from dure.governance.odrl import odrl_policy
from dure.ledger.large import logged
from dure.ledger.note import parse_tree_head, split_note
from dure.ledger.proof import TlogProof
from dure.ledger.rows import LedgerRows
from dure.ledger.tree import prove_inclusion
from dure.model.model_versions import ModelVersion

IN_THIS_BUNDLE = "in this bundle"


def subject_of(version: ModelVersion, memory: Memory, origin: str, at_ms: int) -> Subject:
    """All that the documents about a version are written from, as of now. `origin` names the platform's key."""
    register, nation = memory.register, memory.world.nation
    models, library, catalogue = register.models, shipped_library(), shipped_catalogue()
    used = sorted({name for run in version.making.jobs for name in run.agreements})
    # What every bundle has is held by whoever reads this one.
    as_bundled = replace(version, bundles=(IN_THIS_BUNDLE,))
    return Subject(
        version=version,
        ancestors=models.lineage(version.name)[1:],
        withdrawn_ancestors=models.withdrawn_ancestors(version.name),
        facts=models.models[version.name.of].facts,
        compute=version_compute(version.name, models, catalogue, thresholds(library)),
        assessment=assess_version(as_bundled, models, nation.datasets, library, catalogue, at_ms),
        agreements={name: odrl_policy(register.agreements[name], nation) for name in used},
        platform=origin,
        at_ms=at_ms,
    )


def proven(draft: Draft, entries: dict[int, bytes], recording: tuple[int, bytes], note: str, ledger: Ledger) -> bytes:
    """The bundle, with a proof under this checkpoint for each entry in it and for the one that recorded it."""
    position, recorded = recording
    every = entries | {position: recorded}
    proofs = dict(_proofs(every, note, ledger))
    return finish_bundle(draft, {each: proofs[each] for each in entries}, recorded, proofs[position])


def _proofs(entries: dict[int, bytes], note: str, ledger: Ledger) -> Iterator[tuple[int, str]]:
    size, rows = parse_tree_head(split_note(note)[0]).size, LedgerRows(ledger)
    for position, entry in entries.items():
        path = tuple(prove_inclusion(position, size, rows))
        yield position, str(TlogProof(index=position, path=path, checkpoint=note, extra=logged(entry)))
