"""What a bundle is about: one version, and all that its documents are written from. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from dure.governance.assessment import Assessment
from dure.governance.model_compute import VersionCompute
from dure.model.dates import format_moment
from dure.model.model_versions import Evaluation, FactValue, Incident, Making, ModelVersion, VersionName

Document = dict[str, Any]


class Record(Struct, frozen=True, kw_only=True):
    """The version as the registry has it: `model.json` of a bundle."""

    version: VersionName
    making: Making
    state: str
    registered_at_ms: int
    evaluations: tuple[Evaluation, ...]
    incidents: tuple[Incident, ...]
    withdrawn_because: str
    withdrawn_ancestors: tuple[str, ...]
    facts: dict[str, FactValue]


class Subject(Struct, frozen=True, kw_only=True):
    """A version with its lineage, its compute, its assessment, and the agreements that its jobs ran on, by id."""

    version: ModelVersion
    ancestors: tuple[ModelVersion, ...]
    withdrawn_ancestors: tuple[VersionName, ...]
    facts: dict[str, FactValue]
    compute: VersionCompute
    assessment: Assessment
    agreements: Mapping[str, Document]
    platform: str
    """Name of the platform's key: the origin of its ledger."""
    at_ms: int

    @property
    def name(self) -> str:
        """The version as people write it."""
        return str(self.version.name)

    @property
    def made_on(self) -> str:
        """When the bundle is made, in UTC."""
        return format_moment(self.at_ms)

    @property
    def datasets(self) -> dict[str, str]:
        """Digests of the datasets that its own jobs read, by name; empty where none is declared."""
        uses = (use for run in self.version.making.jobs for use in run.data)
        return {use.dataset: use.digest for use in uses}

    def record(self) -> Record:
        """The version as the registry has it."""
        version = self.version
        return Record(
            version=version.name,
            making=version.making,
            state=version.state.value,
            registered_at_ms=version.registered_at_ms,
            evaluations=version.evaluations,
            incidents=version.incidents,
            withdrawn_because=version.withdrawn_because,
            withdrawn_ancestors=tuple(str(each) for each in self.withdrawn_ancestors),
            facts=self.facts,
        )


def as_json(document: object) -> bytes:
    """JSON for people and programs: keys in order, indented, a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"
