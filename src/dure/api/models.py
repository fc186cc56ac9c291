"""Operations on models: register, list, show, evaluate, withdraw, and what has to be looked into."""

from __future__ import annotations

import asyncio
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Annotated

from msgspec import Meta, Struct

from dure.api.bodies import bad_document, read_struct
from dure.api.operations import Call, bad_parameter
from dure.api.platform import Platform
from dure.api.problems import ProblemRaised, problem
from dure.api.replies import done, refused
from dure.control.access import Permission
from dure.control.logs import gpu_use
from dure.control.oversight.model_requests import (
    AliasModel,
    CloseTask,
    DeclareModelEvidence,
    DeclareModelFacts,
    EvaluateModel,
    PromoteModel,
    RegisterModel,
    ReportIncident,
    SetPromotionGate,
    WithdrawModel,
)
from dure.control.oversight.models import sees_model, unknown_model, unknown_task
from dure.control.requests import Answer
from dure.governance.accelerators import shipped_catalogue
from dure.governance.assessment import Assessment
from dure.governance.facts import read_facts
from dure.governance.library import shipped_library
from dure.governance.model_assessment import assess_version
from dure.governance.models import Model, ModelRegister
from dure.governance.packs import Library
from dure.intake.refusals import BadInput, did_you_mean
from dure.intake.refusals import Problem as FieldProblem
from dure.model.model_versions import (
    MODEL_NAME,
    MOST_FILES,
    MOST_JOBS,
    MOST_PARENTS,
    BaseModel,
    Bound,
    ComputeClaim,
    FactValue,
    FileDigest,
    IncidentKind,
    ModelName,
    ModelVersion,
    Precision,
    PromotionGate,
    Utilisation,
    VersionName,
)
from dure.reports.models import (
    LineageReport,
    ModelReport,
    ModelsReport,
    TasksReport,
    VersionReport,
    lineage_report,
    model_report,
    models_report,
    tasks_report,
    version_report,
)

MOST_METRICS = 200
MOST_FACTS = 200
LATEST = "latest"

Line = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Metric = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/@-]*$")]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=0, le=1 << 62)]
Permille = Annotated[int, Meta(ge=1, le=1000)]
Reference = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/#:-]*$")]
JobId = Annotated[str, Meta(pattern=r"^j\d{1,18}(_\d{1,6})?$")]
Jobs = Annotated[tuple[JobId, ...], Meta(max_length=MOST_JOBS)]
Parents = Annotated[tuple[Line, ...], Meta(max_length=MOST_PARENTS)]


class WantedClaim(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The developer's own numbers."""

    parameters: Count
    tokens: Count
    active_parameters: Count = 0


class WantedUtilisation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of the peak that was reached, in thousandths."""

    least_permille: Permille
    most_permille: Permille


class WantedBase(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model from elsewhere. `flop` is in decimal, such as `3.8e25`."""

    name: Line
    flop: Line = ""


class WantedFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of the version."""

    path: Line
    size: Count
    sha256: Digest


class WantedVersion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version to be registered."""

    jobs: Jobs = ()
    parents: Parents = ()
    bases: Annotated[tuple[WantedBase, ...], Meta(max_length=MOST_PARENTS)] = ()
    claim: WantedClaim | None = None
    precision: Precision | None = None
    utilisation: WantedUtilisation | None = None
    code: Line = ""
    image: Line = ""
    source: Line = ""
    files: Annotated[tuple[WantedFile, ...], Meta(max_length=MOST_FILES)] = ()


class WantedAlias(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The version that a name is to stand for; 0 for none."""

    version: Count


class WantedEvaluation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Results by metric, in decimal."""

    metrics: Annotated[dict[Metric, Line], Meta(min_length=1, max_length=MOST_METRICS)]
    job: JobId | None = None
    dataset: Line = ""


class WantedFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is declared about a model; all that was declared before and is not here is unknown again."""

    facts: Annotated[dict[Metric, FactValue], Meta(max_length=MOST_FACTS)]


class WantedEvidence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of evidence that is held, and under which number it lies elsewhere."""

    kind: Metric
    reference: Reference


class WantedBound(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a metric must reach, or not exceed."""

    metric: Metric
    at_least: Line = ""
    at_most: Line = ""


class WantedGate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What versions must show before they are promoted."""

    metrics: Annotated[tuple[WantedBound, ...], Meta(max_length=MOST_METRICS)] = ()
    duties: Annotated[tuple[Line, ...], Meta(max_length=MOST_METRICS)] = ()


class WantedWithdrawal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a version must not be used any more. No personal data: it is written to the ledger."""

    reason: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class WantedIncident(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How bad it was, and under which number it is described elsewhere."""

    kind: IncidentKind
    reference: Reference


class WantedClosing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Under which number it is described what came of it."""

    reference: Annotated[str, Meta(max_length=100, pattern=r"^[A-Za-z0-9._/#:-]*$")] = ""


async def listing(platform: Platform, call: Call) -> ModelsReport:
    """The models of the caller's organisation; all of them for who sees everything."""
    return models_report(_register(platform), partial(sees_model, call.caller))


async def show(platform: Platform, call: Call) -> ModelReport:
    """A model with its versions."""
    return model_report(_model(platform, call), _register(platform))


async def show_version(platform: Platform, call: Call) -> VersionReport:
    """One version."""
    version = version_in_path(platform, call)
    await asyncio.to_thread(shipped_library)
    return version_report(version, _register(platform))


async def lineage(platform: Platform, call: Call) -> LineageReport:
    """What a version descends from, and what descends from it."""
    sees = partial(sees_model, call.caller)
    return lineage_report(version_in_path(platform, call), _register(platform), sees)


async def register(platform: Platform, call: Call) -> Answer:
    """Make the next version of a model, from jobs that are over."""
    model = _own_name(platform, call)
    wanted = read_struct(call, WantedVersion)
    await asyncio.to_thread(shipped_library)
    request = RegisterModel(
        caller=call.caller,
        model=model,
        jobs=tuple(dict.fromkeys(wanted.jobs)),
        parents=tuple(dict.fromkeys(_parent(each) for each in wanted.parents)),
        bases=tuple(BaseModel(name=each.name, flop=_flop(each.flop)) for each in wanted.bases),
        claim=_claim(wanted.claim),
        precision=wanted.precision,
        utilisation=_utilisation(wanted.utilisation),
        code=wanted.code,
        image=wanted.image,
        source=wanted.source,
        files=tuple(FileDigest(path=each.path, size=each.size, sha256=each.sha256) for each in wanted.files),
        busy_percent=_busy_percent(platform, wanted.jobs),
    )
    if not request.jobs and not request.source:
        raise _bad("jobs", "", "a version comes from jobs; name one at least, or the source it was imported from")
    return done(await platform.ask(request))


async def alias(platform: Platform, call: Call) -> Answer:
    """Let a name stand for a version."""
    model, name = _model(platform, call).name, call.path("alias")
    if not MODEL_NAME.fullmatch(name) or name.isdigit() or name == LATEST:
        raise bad_parameter("alias", name, f"use lower-case letters, digits and '-', not a number and not {LATEST}")
    wanted = read_struct(call, WantedAlias)
    return done(await platform.ask(AliasModel(caller=call.caller, model=model, alias=name, version=wanted.version)))


async def evaluate(platform: Platform, call: Call) -> Answer:
    """Add results of measuring a version."""
    version = version_in_path(platform, call).name
    wanted = read_struct(call, WantedEvaluation)
    metrics = tuple((name, _decimal(f"metrics.{name}", value)) for name, value in sorted(wanted.metrics.items()))
    request = EvaluateModel(
        caller=call.caller,
        version=version,
        metrics=metrics,
        job=wanted.job or "",
        dataset=wanted.dataset,
    )
    return done(await platform.ask(request))


async def declare_facts(platform: Platform, call: Call) -> Answer:
    """Say what a model is used for, and all else that duties depend on."""
    model = _model(platform, call).name
    wanted = read_struct(call, WantedFacts)
    library = await asyncio.to_thread(shipped_library)
    _refuse_wrong_facts(wanted.facts, library)
    return done(await platform.ask(DeclareModelFacts(caller=call.caller, model=model, facts=wanted.facts)))


async def declare_evidence(platform: Platform, call: Call) -> Answer:
    """Say that something is held which shows that a duty was done."""
    model = _model(platform, call).name
    wanted = read_struct(call, WantedEvidence)
    kinds = (await asyncio.to_thread(shipped_library)).vocabulary.evidence
    if wanted.kind not in kinds:
        raise _bad("kind", wanted.kind, f"is no kind of evidence; {did_you_mean(wanted.kind, list(kinds))}")
    if kinds[wanted.kind].by_platform:
        raise _bad("kind", wanted.kind, "is made by the platform from what it recorded, and cannot be declared")
    request = DeclareModelEvidence(caller=call.caller, model=model, kind=wanted.kind, reference=wanted.reference)
    return done(await platform.ask(request))


async def assessment(platform: Platform, call: Call) -> Assessment:
    """What rule packs ask of a version, what there is to show for it, and what is missing."""
    version = version_in_path(platform, call)
    library = await asyncio.to_thread(shipped_library)
    datasets = platform.nation().datasets
    at_ms = platform.clock.now_ms()
    return assess_version(version, _register(platform), datasets, library, shipped_catalogue(), at_ms)


async def promote(platform: Platform, call: Call) -> Answer:
    """Propose that a version be put to use."""
    version = version_in_path(platform, call).name
    await asyncio.to_thread(shipped_library)
    return done(await platform.ask(PromoteModel(caller=call.caller, version=version)))


async def set_gate(platform: Platform, call: Call) -> Answer:
    """Say what versions must show before they are promoted."""
    model = _model(platform, call).name
    wanted = read_struct(call, WantedGate)
    gate = PromotionGate(bounds=tuple(_bound(each) for each in wanted.metrics), duties=wanted.duties)
    return done(await platform.ask(SetPromotionGate(caller=call.caller, model=model, gate=gate)))


async def withdraw(platform: Platform, call: Call) -> Answer:
    """Say that a version must not be used any more."""
    version = version_in_path(platform, call).name
    wanted = read_struct(call, WantedWithdrawal)
    return done(await platform.ask(WithdrawModel(caller=call.caller, version=version, reason=wanted.reason)))


async def report_incident(platform: Platform, call: Call) -> Answer:
    """Say that something went wrong with a version in use."""
    version = version_in_path(platform, call).name
    wanted = read_struct(call, WantedIncident)
    request = ReportIncident(caller=call.caller, version=version, kind=wanted.kind, reference=wanted.reference)
    return done(await platform.ask(request))


async def tasks(platform: Platform, call: Call) -> TasksReport:
    """What has to be looked into."""
    return tasks_report(_register(platform), partial(sees_model, call.caller))


async def close_task(platform: Platform, call: Call) -> Answer:
    """Say that a task was looked into."""
    task = _register(platform).tasks.get(call.path("task"))
    if task is None or not sees_model(call.caller, task.model):
        raise refused(unknown_task(call.path("task")))
    wanted = read_struct(call, WantedClosing)
    request = CloseTask(caller=call.caller, task=task.id, reference=wanted.reference)
    return done(await platform.ask(request))


def version_in_path(platform: Platform, call: Call) -> ModelVersion:
    """The version in the path: its number, `latest`, or an alias. Raises the problem of a model that is not there."""
    model, wanted = _model(platform, call), call.path("version")
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else model.aliases.get(wanted, 0)
    if wanted == LATEST:
        number = len(model.versions)
    name = VersionName(model.name.organisation, model.name.model, number)
    version = _register(platform).version(name)
    if version is None:
        raise refused(unknown_model(name))
    return version


def _register(platform: Platform) -> ModelRegister:
    return platform.control.memory.register.models


def _name(call: Call) -> ModelName:
    organisation, model = call.path("organisation"), call.path("model")
    if not MODEL_NAME.fullmatch(model):
        raise bad_parameter("model", model, "use lower-case letters, digits, '.', '_' and '-', at most 63")
    return ModelName(organisation, model)


def _own_name(platform: Platform, call: Call) -> ModelName:
    """The name in the path, if the caller's organisation may have a model of this name."""
    name, caller = _name(call), call.caller
    exists = any(each.name == name.organisation for each in platform.nation().organisations)
    if not exists or not (caller.may(Permission.AUDIT) or caller.organisation == name.organisation):
        raise refused(unknown_model(name))
    return name


def _model(platform: Platform, call: Call) -> Model:
    name = _name(call)
    model = _register(platform).models.get(name)
    if model is None or not sees_model(call.caller, name):
        raise refused(unknown_model(name))
    return model


def _parent(text: str) -> VersionName:
    model, _, number = text.partition("@")
    organisation, _, name = model.partition("/")
    if not (MODEL_NAME.fullmatch(name) and number.isascii() and number.isdigit() and len(number) < 10):
        raise _bad("parents", text, "write a version as organisation/model@3")
    return VersionName(organisation, name, int(number))


def _claim(wanted: WantedClaim | None) -> ComputeClaim | None:
    if wanted is None:
        return None
    if wanted.active_parameters > wanted.parameters:
        raise _bad("claim.active_parameters", str(wanted.active_parameters), "cannot be more than all parameters")
    return ComputeClaim(parameters=wanted.parameters, tokens=wanted.tokens, active_parameters=wanted.active_parameters)


def _utilisation(wanted: WantedUtilisation | None) -> Utilisation | None:
    if wanted is None:
        return None
    if wanted.most_permille < wanted.least_permille:
        raise _bad("utilisation", str(wanted.most_permille), "the most cannot be less than the least")
    return Utilisation(least_permille=wanted.least_permille, most_permille=wanted.most_permille)


def _bound(wanted: WantedBound) -> Bound:
    if not wanted.at_least and not wanted.at_most:
        raise _bad(f"metrics.{wanted.metric}", "", "say what it must reach (at_least) or not exceed (at_most)")
    return Bound(
        metric=wanted.metric,
        at_least=wanted.at_least and _decimal("at_least", wanted.at_least),
        at_most=wanted.at_most and _decimal("at_most", wanted.at_most),
    )


def _decimal(field: str, text: str) -> str:
    """A finite decimal number, as it was written."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > 40:
        raise _bad(field, text, "is not a number; write it like 0.71")
    return text


def _refuse_wrong_facts(facts: dict[str, FactValue], library: Library) -> None:
    document = {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}
    try:
        read_facts(document, library.vocabulary)  # type: ignore[arg-type]
    except BadInput as bad:
        raise bad_document("The facts", bad) from None


def _flop(text: str) -> str:
    return text and _decimal("bases.flop", text)


def _busy_percent(platform: Platform, jobs: tuple[str, ...]) -> dict[str, int]:
    """What the counters of the jobs' GPUs say, where their engine meters them."""
    measured = {}
    for job in jobs:
        card = platform.world.card_of(job)
        use = gpu_use(platform.world, platform.engines, card) if card is not None else None
        if use is not None and use.measured_ms > 0:
            measured[job] = use.busy_percent
    return measured


def _bad(field: str, value: str, message: str) -> ProblemRaised:
    wrong = FieldProblem(field=field, value=value[:100], message=message)
    return problem(422, "bad-document", f"{field}: {message}.", (wrong,))
