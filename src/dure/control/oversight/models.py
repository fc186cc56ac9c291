"""Requests about models: an organisation registers what its own jobs made, and says what became of it.

A model of another organisation is as unknown here as one that does not exist.
"""

from __future__ import annotations

from typing import assert_never

from dure.control.access import Caller, Permission
from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.control.oversight.assessing import reassess, reassess_by_other_packs
from dure.control.oversight.job_runs import card_of, job_run
from dure.control.oversight.model_requests import (
    AliasModel,
    CloseTask,
    DeclareModelEvidence,
    DeclareModelFacts,
    EvaluateModel,
    ModelRequest,
    ModelStands,
    PromoteModel,
    ReassessModels,
    RecordEvidence,
    RegisterModel,
    ReportIncident,
    SetPromotionGate,
    WithdrawModel,
)
from dure.control.oversight.promotion import why_not_promoted
from dure.control.oversight.proposals import propose
from dure.control.oversight.requests import ProposalStands, ProposeChange
from dure.control.oversight.tasks import open_task
from dure.control.oversight.training import open_tasks_of_new_version
from dure.control.requests import NotDone, NotDoneCode, Reply
from dure.governance.models import ModelRegister
from dure.model.model_events import (
    EvidenceRecorded,
    IncidentReported,
    ModelAliased,
    ModelEvaluated,
    ModelEvidenceDeclared,
    ModelFactsDeclared,
    ModelRegistered,
    ModelWithdrawn,
    PromotionGateSet,
    TaskClosed,
)
from dure.model.model_versions import (
    Evaluation,
    Incident,
    JobRun,
    Making,
    ModelName,
    ModelVersion,
    TaskKind,
    VersionName,
    VersionState,
)
from dure.model.proposals import ModelPromotion


def handle_model_request(request: ModelRequest, memory: Memory, draft: Draft) -> Reply:
    """Carry out a request about a model."""
    match request:
        case RegisterModel():
            return _register(request, memory, draft)
        case AliasModel():
            return _alias(request, draft)
        case EvaluateModel():
            return _evaluate(request, memory, draft)
        case DeclareModelFacts():
            return _declare_facts(request, draft)
        case DeclareModelEvidence():
            return _declare_evidence(request, draft)
        case ReassessModels():
            return ModelStands(model="", state="assessed", tasks=reassess_by_other_packs(draft))
        case SetPromotionGate():
            return _set_gate(request, draft)
        case PromoteModel():
            return _promote(request, memory, draft)
        case WithdrawModel():
            return _withdraw(request, draft)
        case ReportIncident():
            return _report_incident(request, draft)
        case RecordEvidence():
            return _record_evidence(request, draft)
        case CloseTask():
            return _close_task(request, draft)
        case _:
            assert_never(request)


def sees_model(caller: Caller, model: ModelName) -> bool:
    """True for the model's own organisation, and for those who see everything."""
    return caller.may(Permission.AUDIT) or (not caller.project and caller.organisation == model.organisation != "")


def unknown_model(name: ModelName | VersionName) -> NotDone:
    """There is none, or it is not the caller's to know."""
    return NotDone(code=NotDoneCode.UNKNOWN_MODEL, message=f"There is no model {name}; `dure model list` shows yours.")


def unknown_task(task: str) -> NotDone:
    """There is none, or it is not the caller's to know."""
    message = f"No task {task} is open; `dure tasks list` shows those that are."
    return NotDone(code=NotDoneCode.UNKNOWN_TASK, message=message)


def _register(request: RegisterModel, memory: Memory, draft: Draft) -> Reply:
    runs: list[JobRun] = []
    for job in request.jobs:
        run = _run_of(job, request, memory, draft)
        if isinstance(run, NotDone):
            return run
        runs.append(run)
    models = draft.register.models
    no = _cannot_register(request, models, memory) or _unusable_parent(request, models)
    if no is not None:
        return no
    known = models.models.get(request.model)
    number = len(known.versions) + 1 if known else 1
    name = VersionName(request.model.organisation, request.model.model, number)
    making = Making(
        jobs=tuple(runs),
        parents=request.parents,
        bases=request.bases,
        claim=request.claim,
        utilisation=request.utilisation,
        code=request.code,
        image=request.image,
        source=request.source,
        files=request.files,
    )
    draft.record(ModelRegistered(at_ms=draft.now_ms, version=name, making=making, by=request.caller.id))
    tasks = open_tasks_of_new_version(name, draft)
    tasks += reassess(name.of, TaskKind.VERSION_ADDED, draft)
    return ModelStands(model=str(name), state=VersionState.REGISTERED.value, tasks=tasks)


def _cannot_register(request: RegisterModel, models: ModelRegister, memory: Memory) -> NotDone | None:
    """Without a job to belong to, a version is registered by who speaks for the whole organisation."""
    owner = request.model.organisation
    projects = {card.submitted.project for job in request.jobs if (card := card_of(job, memory))} or {""}
    exists = any(each.name == owner for each in memory.world.nation.organisations)
    if not exists or not all(request.caller.acts_for(owner, project) for project in projects):
        return unknown_model(request.model)
    return None


def _run_of(job: str, request: RegisterModel, memory: Memory, draft: Draft) -> JobRun | NotDone:
    card = card_of(job, memory)
    owner = draft.world.nation.organisation_of(card.submitted.project) if card else None
    if card is None or owner is None or owner.name != request.model.organisation:
        message = f"{request.model.organisation} has no job {job}."
        return NotDone(code=NotDoneCode.UNKNOWN_JOB, message=message)
    if not card.state.is_final:
        message = f"{job} is {card.state.value}; register the model when it is over, so that all its computing counts."
        return NotDone(code=NotDoneCode.JOB_NOT_OVER, message=message)
    return job_run(card, request.precision, request.busy_percent.get(job), memory, draft)


def _unusable_parent(request: RegisterModel, models: ModelRegister) -> NotDone | None:
    for parent in request.parents:
        version = models.version(parent)
        if version is None or not sees_model(request.caller, parent.of):
            return unknown_model(parent)
        if version.state is VersionState.WITHDRAWN:
            message = f"{parent} was withdrawn ({version.withdrawn_because}); go on from another version."
            return NotDone(code=NotDoneCode.MODEL_WITHDRAWN, message=message)
    return None


def _own(caller: Caller, name: VersionName, draft: Draft) -> ModelVersion | NotDone:
    """The version, if the caller may change it."""
    version = draft.register.models.version(name)
    return version if version is not None and caller.acts_for(name.organisation, "") else unknown_model(name)


def _own_model(caller: Caller, name: ModelName, draft: Draft) -> NotDone | None:
    is_own = name in draft.register.models.models and caller.acts_for(name.organisation, "")
    return None if is_own else unknown_model(name)


def _alias(request: AliasModel, draft: Draft) -> Reply:
    no = _own_model(request.caller, request.model, draft)
    if no is not None:
        return no
    name = VersionName(request.model.organisation, request.model.model, request.version)
    if request.version:
        version = draft.register.models.version(name)
        if version is None:
            return unknown_model(name)
        if version.state is VersionState.WITHDRAWN:
            return _withdrawn(version)
    draft.record(
        ModelAliased(
            at_ms=draft.now_ms,
            model=request.model,
            alias=request.alias,
            version=request.version,
            by=request.caller.id,
        )
    )
    return ModelStands(model=str(name if request.version else request.model), state=request.alias)


def _evaluate(request: EvaluateModel, memory: Memory, draft: Draft) -> Reply:
    version = _own(request.caller, request.version, draft)
    if isinstance(version, NotDone):
        return version
    if request.job:
        card = card_of(request.job, memory)
        owner = draft.world.nation.organisation_of(card.submitted.project) if card else None
        if owner is None or owner.name != request.version.organisation:
            message = f"{request.version.organisation} has no job {request.job}."
            return NotDone(code=NotDoneCode.UNKNOWN_JOB, message=message)
    measured = Evaluation(
        at_ms=draft.now_ms,
        metrics=request.metrics,
        job=request.job,
        dataset=request.dataset,
        by=request.caller.id,
    )
    draft.record(ModelEvaluated(at_ms=draft.now_ms, version=request.version, evaluation=measured))
    return ModelStands(model=str(request.version), state=version.state.value)


def _declare_facts(request: DeclareModelFacts, draft: Draft) -> Reply:
    no = _own_model(request.caller, request.model, draft)
    if no is not None:
        return no
    before = draft.register.models.models[request.model].facts
    tasks: tuple[str, ...] = ()
    if before != request.facts:
        draft.record(
            ModelFactsDeclared(at_ms=draft.now_ms, model=request.model, facts=request.facts, by=request.caller.id)
        )
        tasks = reassess(request.model, TaskKind.USE_CHANGED, draft)
    return ModelStands(model=str(request.model), state="declared", tasks=tasks)


def _declare_evidence(request: DeclareModelEvidence, draft: Draft) -> Reply:
    no = _own_model(request.caller, request.model, draft)
    if no is not None:
        return no
    held = ModelEvidenceDeclared(
        at_ms=draft.now_ms,
        model=request.model,
        kind=request.kind,
        reference=request.reference,
        by=request.caller.id,
    )
    draft.record(held)
    tasks = reassess(request.model, TaskKind.USE_CHANGED, draft)
    return ModelStands(model=str(request.model), state="held", tasks=tasks)


def _promote(request: PromoteModel, memory: Memory, draft: Draft) -> Reply:
    """Put it up for a second person's approval, if it passes its gate now; it is asked again when approved."""
    version = _own(request.caller, request.version, draft)
    if isinstance(version, NotDone):
        return version
    why_not = why_not_promoted(request.version, draft)
    if why_not:
        return NotDone(code=NotDoneCode.GATE_NOT_PASSED, message=why_not)
    change = ModelPromotion(version=request.version)
    reply = propose(ProposeChange(caller=request.caller, change=change), memory, draft)
    if not isinstance(reply, ProposalStands):
        return reply
    return ModelStands(model=str(request.version), state=version.state.value, proposal=reply.proposal.id)


def _set_gate(request: SetPromotionGate, draft: Draft) -> Reply:
    no = _own_model(request.caller, request.model, draft)
    if no is not None:
        return no
    draft.record(PromotionGateSet(at_ms=draft.now_ms, model=request.model, gate=request.gate, by=request.caller.id))
    return ModelStands(model=str(request.model), state="gated")


def _withdraw(request: WithdrawModel, draft: Draft) -> Reply:
    version = _own(request.caller, request.version, draft)
    if isinstance(version, NotDone):
        return version
    if version.state is VersionState.WITHDRAWN:
        return _withdrawn(version)
    withdrawn = ModelWithdrawn(at_ms=draft.now_ms, version=request.version, reason=request.reason, by=request.caller.id)
    draft.record(withdrawn)
    for alias, number in list(draft.register.models.models[request.version.of].aliases.items()):
        if number == request.version.version:
            gone = ModelAliased(
                at_ms=draft.now_ms, model=request.version.of, alias=alias, version=0, by=request.caller.id
            )
            draft.record(gone)
    tasks = tuple(
        open_task(
            TaskKind.PARENT_WITHDRAWN,
            each.name.of,
            draft,
            version=each.name.version,
            about=str(request.version),
        )
        for each in draft.register.models.descendants(request.version)
        if each.state is not VersionState.WITHDRAWN
    )
    return ModelStands(model=str(request.version), state=VersionState.WITHDRAWN.value, tasks=tasks)


def _report_incident(request: ReportIncident, draft: Draft) -> Reply:
    version = _own(request.caller, request.version, draft)
    if isinstance(version, NotDone):
        return version
    incident = Incident(at_ms=draft.now_ms, kind=request.kind, reference=request.reference, by=request.caller.id)
    draft.record(IncidentReported(at_ms=draft.now_ms, version=request.version, incident=incident))
    task = open_task(
        TaskKind.INCIDENT,
        request.version.of,
        draft,
        version=request.version.version,
        about=f"{request.kind.value} {request.reference}",
    )
    tasks = (task, *reassess(request.version.of, TaskKind.INCIDENT, draft))
    return ModelStands(model=str(request.version), state=version.state.value, tasks=tasks)


def _record_evidence(request: RecordEvidence, draft: Draft) -> Reply:
    version = draft.register.models.version(request.version)
    if version is None or not sees_model(request.caller, request.version.of):
        return unknown_model(request.version)
    recorded = EvidenceRecorded(
        at_ms=draft.now_ms, version=request.version, digest=request.digest, by=request.caller.id
    )
    draft.record(recorded)
    return ModelStands(model=str(request.version), state=version.state.value)


def _close_task(request: CloseTask, draft: Draft) -> Reply:
    task = draft.register.models.tasks.get(request.task)
    if task is None or not request.caller.acts_for(task.model.organisation, ""):
        return unknown_task(request.task)
    draft.record(TaskClosed(at_ms=draft.now_ms, task=request.task, by=request.caller.id, reference=request.reference))
    return ModelStands(model=str(task.model), state="closed", tasks=(task.id,))


def _withdrawn(version: ModelVersion) -> NotDone:
    message = f"{version.name} was withdrawn: {version.withdrawn_because}"
    return NotDone(code=NotDoneCode.MODEL_WITHDRAWN, message=message)
