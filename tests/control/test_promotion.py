"""A version is put to use only when it passes its gate and two people want it."""

from __future__ import annotations

import pytest

from dure.control.access import Caller, Grant, Role
from dure.control.accounts import AccountKind
from dure.control.control import Control
from dure.control.oversight.model_requests import (
    DeclareModelEvidence,
    DeclareModelFacts,
    EvaluateModel,
    ModelStands,
    PromoteModel,
    ReassessModels,
    ReportIncident,
    SetPromotionGate,
    WithdrawModel,
)
from dure.control.oversight.requests import ApproveChange
from dure.control.requests import AddAccount, NotDone, NotDoneCode, Reply
from dure.model.model_events import ModelAssessed
from dure.model.model_versions import Bound, IncidentKind, PromotionGate, TaskKind, VersionState

from .builders import HANBIT, OPERATOR, ask, empty_control, small_control
from .test_models import CHAT, registered, version

NOW_MS = 1_795_300_000_000
"""In November 2026, when the AI Basic Act is in force."""
GATE = PromotionGate(bounds=(Bound(metric="mmlu", at_least="0.6"), Bound(metric="toxicity", at_most="0.02")))
GENERATIVE = {"ai-business": "yes", "korea-market-effect": "yes", "generative-ai": "yes", "defence-only-listed": "no"}


@pytest.fixture
def control() -> Control:
    made = small_control()
    registered(made)
    return made


def person(control: Control, name: str, role: Role, organisation: str = "") -> Caller:
    grant = Grant(role=role, organisation=organisation)
    wanted = AddAccount(caller=OPERATOR, kind=AccountKind.LOCAL, name=name, grant=grant, password_hash="$argon2id$x")
    account = ask(control, wanted, NOW_MS)
    return Caller(id=f"t-{name}", role=role, organisation=organisation, account=account.id)  # type: ignore[union-attr]


def measured(control: Control, **metrics: str) -> None:
    results = tuple(sorted(metrics.items()))
    ask(control, EvaluateModel(caller=HANBIT, version=version(), metrics=results), NOW_MS)


def promote(control: Control, caller: Caller) -> Reply:
    return ask(control, PromoteModel(caller=caller, version=version()), NOW_MS)


def why_not(reply: Reply) -> str:
    assert isinstance(reply, NotDone), reply
    assert reply.code is NotDoneCode.GATE_NOT_PASSED
    return reply.message


def state(control: Control) -> VersionState:
    return control.memory.register.models.known(version()).state


def test_two_people_promote_what_passes_its_gate(control: Control) -> None:
    ann, bob = person(control, "ann", Role.ADMINISTRATOR, "hanbit"), person(control, "bob", Role.STEWARD)
    assert "has no promotion gate" in why_not(promote(control, ann))
    ask(control, SetPromotionGate(caller=ann, model=CHAT, gate=GATE), NOW_MS)
    assert "mmlu was not measured; toxicity was not measured" in why_not(promote(control, ann))
    measured(control, mmlu="0.59", toxicity="0.021")
    assert "mmlu is 0.59 and must be at least 0.6; toxicity is 0.021 and must be at most 0.02" in why_not(
        promote(control, ann)
    )
    measured(control, mmlu="0.6", toxicity="0.02")
    reply = promote(control, ann)
    assert reply == ModelStands(model="hanbit/chat@1", state="registered", proposal="p1")
    assert state(control) is VersionState.REGISTERED
    own = ask(control, ApproveChange(caller=ann, proposal="p1"), NOW_MS)
    assert isinstance(own, NotDone)
    assert own.code is NotDoneCode.OWN_PROPOSAL
    ask(control, ApproveChange(caller=bob, proposal="p1"), NOW_MS)
    assert state(control) is VersionState.PROMOTED
    assert empty_control(control.ledger).memory.register.models.known(version()).state is VersionState.PROMOTED


def test_the_gate_is_asked_again_when_the_second_person_approves(control: Control) -> None:
    ann, bob = person(control, "ann", Role.ADMINISTRATOR, "hanbit"), person(control, "bob", Role.STEWARD)
    ask(control, SetPromotionGate(caller=ann, model=CHAT, gate=GATE), NOW_MS)
    measured(control, mmlu="0.7", toxicity="0.01")
    promote(control, ann)
    measured(control, toxicity="0.5")
    refused = ask(control, ApproveChange(caller=bob, proposal="p1"), NOW_MS)
    assert isinstance(refused, NotDone)
    assert "toxicity is 0.5" in refused.message
    ask(control, WithdrawModel(caller=HANBIT, version=version(), reason="toxic"), NOW_MS)
    assert isinstance(ask(control, ApproveChange(caller=bob, proposal="p1"), NOW_MS), NotDone)
    assert state(control) is VersionState.WITHDRAWN


def test_a_duty_of_the_gate_must_be_shown_and_not_known_is_not_enough(control: Control) -> None:
    ann = person(control, "ann", Role.ADMINISTRATOR, "hanbit")
    ask(control, SetPromotionGate(caller=ann, model=CHAT, gate=PromotionGate(duties=("KR-AIBA-31-1",))), NOW_MS)
    assert "KR-AIBA-31-1 is needs-facts" in why_not(promote(control, ann))
    ask(control, DeclareModelFacts(caller=HANBIT, model=CHAT, facts=dict(GENERATIVE)), NOW_MS)
    assert "KR-AIBA-31-1 is missing-evidence" in why_not(promote(control, ann))
    ask(control, DeclareModelEvidence(caller=HANBIT, model=CHAT, kind="user-notice", reference="N-1"), NOW_MS)
    assert isinstance(promote(control, ann), ModelStands)


def test_a_duty_that_no_pack_has_is_never_shown(control: Control) -> None:
    ann = person(control, "ann", Role.ADMINISTRATOR, "hanbit")
    ask(control, SetPromotionGate(caller=ann, model=CHAT, gate=PromotionGate(duties=("KR-AIBA-3l",))), NOW_MS)
    assert "no rule pack has KR-AIBA-3l" in why_not(promote(control, ann))


def test_other_facts_and_incidents_open_tasks_that_name_what_is_newly_to_do(control: Control) -> None:
    ask(control, DeclareModelFacts(caller=HANBIT, model=CHAT, facts=dict(GENERATIVE)), NOW_MS)
    (changed,) = control.memory.register.models.tasks.values()
    assert changed.kind is TaskKind.USE_CHANGED
    assert "KR-AIBA-31-1" in changed.about
    ask(control, ReportIncident(caller=HANBIT, version=version(), kind=IncidentKind.SERIOUS, reference="I-1"), NOW_MS)
    about = [each.about for each in control.memory.register.models.tasks.values() if each.kind is TaskKind.INCIDENT]
    assert about[0] == "serious I-1"


def test_a_newer_pack_has_models_assessed_again_and_the_same_packs_do_not(control: Control) -> None:
    ask(control, DeclareModelFacts(caller=HANBIT, model=CHAT, facts={"ai-business": "yes"}), NOW_MS)
    control.memory.register.models.tasks.clear()
    ask(control, ReassessModels(caller=OPERATOR), NOW_MS)
    model = control.memory.register.models.models[CHAT]
    assert control.memory.register.models.tasks == {}
    older = tuple((name, "2025.1.1", digest) for name, _, digest in model.assessed_by)
    before = dict(model.open_provisions)
    gone = before.popitem()
    control.memory.register.models.apply(
        ModelAssessed(at_ms=NOW_MS, model=CHAT, packs=older, open=tuple(before.items()))
    )
    ask(control, ReassessModels(caller=OPERATOR), NOW_MS)
    (task,) = control.memory.register.models.tasks.values()
    assert (task.kind, task.about) == (TaskKind.RULES_CHANGED, gone[0])
