"""The operations on models, as they stand in the table of all operations."""

from __future__ import annotations

from dure.api import bundles, models
from dure.api.bodies import JSON
from dure.api.operations import Operation
from dure.control.access import Permission
from dure.control.oversight.model_requests import ModelStands
from dure.governance.assessment import Assessment
from dure.reports.models import LineageReport, ModelReport, ModelsReport, TasksReport, VersionReport

READ, SUBMIT, ADMINISTER = Permission.READ, Permission.SUBMIT, Permission.ADMINISTER

MODEL = "/v1/models/{organisation}/{model}"
VERSION = MODEL + "/versions/{version}"

MODEL_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/models",
        permission=READ,
        handler=models.listing,
        summary="List models",
        answer=ModelsReport,
    ),
    Operation(
        method="GET", path=MODEL, permission=READ, handler=models.show, summary="Show a model", answer=ModelReport
    ),
    Operation(
        method="POST",
        path=MODEL + "/versions",
        permission=SUBMIT,
        handler=models.register,
        summary="Register a version of a model",
        bodies={JSON: models.WantedVersion},
        answer=ModelStands,
        status=201,
    ),
    Operation(
        method="GET",
        path=VERSION,
        permission=READ,
        handler=models.show_version,
        summary="Show a version of a model",
        answer=VersionReport,
    ),
    Operation(
        method="GET",
        path=VERSION + "/lineage",
        permission=READ,
        handler=models.lineage,
        summary="Show what a version descends from",
        answer=LineageReport,
    ),
    Operation(
        method="PUT",
        path=MODEL + "/aliases/{alias}",
        permission=SUBMIT,
        handler=models.alias,
        summary="Let a name stand for a version",
        bodies={JSON: models.WantedAlias},
        answer=ModelStands,
    ),
    Operation(
        method="POST",
        path=VERSION + "/evaluations",
        permission=SUBMIT,
        handler=models.evaluate,
        summary="Add results of measuring a version",
        bodies={JSON: models.WantedEvaluation},
        answer=ModelStands,
        status=201,
    ),
    Operation(
        method="PUT",
        path=MODEL + "/facts",
        permission=SUBMIT,
        handler=models.declare_facts,
        summary="Declare the facts about a model",
        bodies={JSON: models.WantedFacts},
        answer=ModelStands,
    ),
    Operation(
        method="POST",
        path=MODEL + "/evidence",
        permission=SUBMIT,
        handler=models.declare_evidence,
        summary="Declare evidence that is held",
        bodies={JSON: models.WantedEvidence},
        answer=ModelStands,
        status=201,
    ),
    Operation(
        method="GET",
        path=VERSION + "/assessment",
        permission=READ,
        handler=models.assessment,
        summary="Assess a version by the rule packs",
        answer=Assessment,
    ),
    Operation(
        method="PUT",
        path=MODEL + "/gate",
        permission=ADMINISTER,
        handler=models.set_gate,
        summary="Set what a model must show before promotion",
        bodies={JSON: models.WantedGate},
        answer=ModelStands,
    ),
    Operation(
        method="POST",
        path=VERSION + "/promotion",
        permission=ADMINISTER,
        handler=models.promote,
        summary="Propose to promote a version",
        answer=ModelStands,
    ),
    Operation(
        method="POST",
        path=VERSION + "/withdrawal",
        permission=SUBMIT,
        handler=models.withdraw,
        summary="Withdraw a version",
        bodies={JSON: models.WantedWithdrawal},
        answer=ModelStands,
    ),
    Operation(
        method="POST",
        path=VERSION + "/incidents",
        permission=SUBMIT,
        handler=models.report_incident,
        summary="Report an incident with a version",
        bodies={JSON: models.WantedIncident},
        answer=ModelStands,
        status=201,
    ),
    Operation(
        method="POST",
        path=VERSION + "/bundle",
        permission=READ,
        handler=bundles.bundle,
        summary="Make an evidence bundle",
        answer_media_type=bundles.ZIP,
    ),
    Operation(
        method="GET",
        path="/v1/tasks",
        permission=READ,
        handler=models.tasks,
        summary="List what has to be looked into",
        answer=TasksReport,
    ),
    Operation(
        method="POST",
        path="/v1/tasks/{task}/close",
        permission=SUBMIT,
        handler=models.close_task,
        summary="Close a task",
        bodies={JSON: models.WantedClosing},
        answer=ModelStands,
    ),
)
