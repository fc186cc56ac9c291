"""The AI bill of materials: CycloneDX 1.6 as JSON, with a model card and everything that the version was made of."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from uuid import UUID

from dure.evidence.subject import Document, Subject
from dure.model.model_versions import FileDigest, VersionName

SPECIFICATION = "1.6"
_UUID_BYTES = 16


def bill_of_materials(subject: Subject) -> Document:
    """The version as a component of type machine-learning-model, its parents, data and files, and what needs what."""
    parts = list(_components(subject))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{_serial(subject)}",
        "version": 1,
        "metadata": {"timestamp": subject.made_on, "component": _model(subject)},
        "components": parts,
        "dependencies": [{"ref": subject.name, "dependsOn": [each["bom-ref"] for each in parts]}],
    }


def _model(subject: Subject) -> Document:
    version = subject.version
    return _named(version.name) | {
        "modelCard": {
            "modelParameters": {"datasets": [{"ref": _data_ref(name)} for name in subject.datasets]},
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    {"type": metric, "value": value} for metric, value in sorted(version.metrics.items())
                ]
            },
        },
        "properties": [
            {"name": "dure:state", "value": version.state.value},
            {"name": "dure:training-flop", "value": subject.compute.own.measured.likely},
            {"name": "dure:cumulative-training-flop", "value": subject.compute.cumulative.likely},
            {"name": "dure:training-jobs", "value": ",".join(run.job for run in version.making.jobs)},
        ],
    }


def _components(subject: Subject) -> Iterator[Document]:
    making = subject.version.making
    for parent in subject.ancestors:
        yield _named(parent.name)
    for base in making.bases:
        yield {"type": "machine-learning-model", "bom-ref": f"base:{base.name}", "name": base.name}
    for name, digest in sorted(subject.datasets.items()):
        yield _dataset(name, digest)
    for file in making.files:
        yield _file(file)
    for kind, text in (("source", making.code), ("container", making.image)):
        if text:
            component = "container" if kind == "container" else "application"
            yield {"type": component, "bom-ref": f"{kind}:{text}", "name": text}


def _named(name: VersionName) -> Document:
    return {
        "type": "machine-learning-model",
        "bom-ref": str(name),
        "group": name.organisation,
        "name": name.model,
        "version": str(name.version),
    }


def _dataset(name: str, digest: str) -> Document:
    component: Document = {
        "type": "data",
        "bom-ref": _data_ref(name),
        "name": name,
        "data": [{"type": "dataset", "name": name}],
    }
    return component | ({"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {})


def _file(file: FileDigest) -> Document:
    hashes = [{"alg": "SHA-256", "content": file.sha256}]
    return {"type": "file", "bom-ref": f"file:{file.path}", "name": file.path, "hashes": hashes}


def _data_ref(name: str) -> str:
    return f"data:{name}"


def _serial(subject: Subject) -> UUID:
    """The same bill has the same serial number, so it comes from its subject and time instead of from dice."""
    digest = sha256(f"{subject.platform} {subject.name} {subject.at_ms}".encode()).digest()
    return UUID(bytes=digest[:_UUID_BYTES], version=4)
