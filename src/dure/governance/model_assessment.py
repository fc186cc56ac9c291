"""What rule packs ask of a registered model: its declared facts and those that the platform knows, against evidence.

What the platform recorded itself takes the place of what was declared. It only ever adds what it saw: that a job read
personal data is a yes, that none did is not a no.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dure.governance import model_compute
from dure.governance.accelerators import Catalogue
from dure.governance.assessment import OPEN, Assessment, assess
from dure.governance.evidence import Evidence
from dure.governance.facts import YES, FactValue, read_facts
from dure.governance.models import Model, ModelRegister
from dure.governance.packs import Library
from dure.intake.documents import Value
from dure.intake.refusals import BadInput
from dure.model.datasets import DataClass, Dataset
from dure.model.dates import format_moment
from dure.model.model_versions import IncidentKind, ModelVersion, VersionState

_FACTS_OF_CLASSES = {
    DataClass.PERSONAL.value: "personal-data",
    DataClass.PSEUDONYMISED.value: "pseudonymised-data",
    DataClass.MEDICAL.value: "medical-records",
    DataClass.NATIONAL_CORE_TECHNOLOGY.value: "national-core-technology",
}
_KNOWN_ON_FACTS = {"1e25": "systemic-threshold-known-on"}
"""Facts that tell the day on which it was known that a threshold is crossed: EU AI Act 52(1)."""
BUNDLED_KINDS = ("model-card", "ai-bom", "provenance")
"""Evidence that is in every bundle."""


def assess_version(
    version: ModelVersion,
    register: ModelRegister,
    datasets: Iterable[Dataset],
    library: Library,
    catalogue: Catalogue,
    at_ms: int,
) -> Assessment:
    """The version by all packs, on the day of `at_ms` in UTC."""
    model = register.models[version.name.of]
    facts = declared_facts(model, library) | dict(_known_facts(version, register, datasets, catalogue))
    held = [*_declared_evidence(model), *_held_evidence(version)]
    known = {name: value for name, value in facts.items() if name in library.vocabulary.facts}
    return assess(library, known, held, day_of(at_ms))


def declared_facts(model: Model, library: Library) -> dict[str, FactValue]:
    """The declared facts that the packs in use can read. One that a newer vocabulary reads no more is unknown."""
    facts: dict[str, FactValue] = {}
    for name, value in model.facts.items():
        document: Value = {name: list(value) if isinstance(value, tuple) else value}  # type: ignore[dict-item]
        try:
            facts |= read_facts(document, library.vocabulary)
        except BadInput:
            continue
    return facts


def open_provisions(assessment: Assessment) -> dict[str, str]:
    """What there is still to do, by provision."""
    return {each.id: each.status.value for each in assessment.provisions if each.status in OPEN}


def assessed_model(model: Model) -> ModelVersion | None:
    """The version that duties are asked about: the latest that was not withdrawn."""
    usable = [each for each in model.versions if each.state is not VersionState.WITHDRAWN]
    return usable[-1] if usable else None


def day_of(at_ms: int) -> str:
    """The day of a moment, in UTC."""
    return format_moment(at_ms)[:10]


def _known_facts(
    version: ModelVersion, register: ModelRegister, datasets: Iterable[Dataset], catalogue: Catalogue
) -> Iterator[tuple[str, FactValue]]:
    yield from model_compute.facts_of(version.name, register, catalogue).items()
    if any(each.kind is IncidentKind.SERIOUS for each in version.incidents):
        yield "serious-incident", YES
    model = register.models[version.name.of]
    for threshold, fact in _KNOWN_ON_FACTS.items():
        if threshold in model.known_on_ms:
            yield fact, day_of(model.known_on_ms[threshold])
    behind = register.lineage(version.name)
    used = {use.dataset for each in behind for run in each.making.jobs for use in run.data}
    classes = {name for dataset in datasets if dataset.name in used for name in dataset.classes}
    for name in sorted(classes & _FACTS_OF_CLASSES.keys()):
        yield _FACTS_OF_CLASSES[name], YES


def _declared_evidence(model: Model) -> Iterator[Evidence]:
    return (Evidence(kind=each.kind, reference=each.reference, since=day_of(each.at_ms)) for each in model.evidence)


def _held_evidence(version: ModelVersion) -> Iterator[Evidence]:
    """What the platform itself can show, from the day of the registration on."""
    making, since = version.making, day_of(version.registered_at_ms)
    name = str(version.name)
    if making.jobs:
        yield Evidence(kind="compute-statement", reference=name, since=since)
        yield Evidence(kind="access-log", reference=name, since=since)
    if making.claim is not None:
        yield Evidence(kind="compute-claim", reference=name, since=since)
    for run in making.jobs:
        if run.data:
            yield Evidence(kind="residency-decision", reference=run.job, since=since)
            yield Evidence(kind="purpose-record", reference=run.job, since=since)
    for agreement in sorted({each for run in making.jobs for each in run.agreements}):
        yield Evidence(kind="agreement", reference=agreement, since=since)
    for evaluation in version.evaluations[-1:]:
        yield Evidence(kind="evaluation-result", reference=name, since=day_of(evaluation.at_ms))
    for digest in version.bundles[-1:]:
        for kind in BUNDLED_KINDS:
            yield Evidence(kind=kind, reference=digest, since=since)
