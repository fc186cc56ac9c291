"""Run lineage as OpenLineage events: a start and an end for each job that trained the version."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from uuid import UUID

import msgspec

from dure.evidence.subject import Document, Subject
from dure.model.dates import format_moment
from dure.model.model_versions import JobRun

SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_UUID_BYTES = 16


def lineage_events(subject: Subject) -> bytes:
    """The events, one JSON document a line, as collectors take them."""
    events = (event for run in subject.version.making.jobs if run.started_at_ms for event in _events(run, subject))
    return b"".join(msgspec.json.encode(event, order="sorted") + b"\n" for event in events)


def _events(run: JobRun, subject: Subject) -> Iterator[Document]:
    yield _event("START", run.started_at_ms, run, subject)
    yield _event("COMPLETE", run.ended_at_ms, run, subject)


def _event(kind: str, at_ms: int, run: JobRun, subject: Subject) -> Document:
    """`runId` comes from the platform and the job, so that the same run has the same id in every bundle."""
    digest = sha256(f"{subject.platform} {run.job}".encode()).digest()
    parents = [str(each) for each in subject.version.making.parents]
    inputs = [*(use.dataset for use in run.data), *parents]
    return {
        "eventTime": format_moment(at_ms),
        "eventType": kind,
        "producer": f"https://{subject.platform}",
        "schemaURL": SCHEMA,
        "run": {"runId": str(UUID(bytes=digest[:_UUID_BYTES], version=4))},
        "job": {"namespace": subject.platform, "name": f"{run.project}.{run.job}"},
        "inputs": [{"namespace": subject.platform, "name": name} for name in inputs],
        "outputs": [{"namespace": subject.platform, "name": subject.name}],
    }
