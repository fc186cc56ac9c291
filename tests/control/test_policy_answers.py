"""What the loop makes of policy's answers: agreements to rely on, refusals that help, and errors that are told."""

from __future__ import annotations

import logging

import pytest

from dure.bootstrap import make_policy_set
from dure.control.control import Control
from dure.control.preview import Preview, preview
from dure.control.requests import ApplyNation, SubmitJob
from dure.intake.refusals import Refusal
from dure.ledger.memory import MemoryLedger
from dure.model.agreements import Operation, Terms
from dure.model.datasets import Purpose
from dure.model.events import AccessRefused, JobSubmitted, decode, encode
from dure.model.oversight import AgreementAccepted, AgreementOffered, ChangeApproved, ChangeProposed
from dure.model.proposals import PolicyChange
from dure.policy import POLICY_ERROR

from .builders import HANBIT, NATION, OPERATOR, START_MS, ask, empty_control, nation, run, seeded_streams, spec

DATA = """
datasets:
  - {name: scans, owner: ministry, classes: [personal], jurisdiction: KR, purposes: [research], sites: [daejeon],
     readers: []}
"""
TERMS = Terms(
    provider="ministry",
    recipient="hanbit",
    datasets=("scans",),
    purposes=(Purpose.RESEARCH,),
    operations=(Operation.COMPUTE,),
    sites=("daejeon",),
    from_ms=START_MS,
    until_ms=START_MS + 60_000,
)
TITLES = '@id("fails") @title_ko("규칙") @title_en("A rule") @remedy_ko("도움") @remedy_en("Help")'
FAILS = f"{TITLES} forbid (principal, action, resource) when {{ context.at_ms + 9223372036854775807 > 0 }};"


def with_data() -> Control:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(NATION + DATA)))
    return control


def with_events(control: Control, *events: object) -> Control:
    """The same platform after these entries, as a server that starts again."""
    entries = [*control.ledger.entries(), *(encode(each) for each in events)]  # type: ignore[arg-type]
    ledger = MemoryLedger()
    ledger.append(0, entries, [], START_MS)
    return Control(ledger, make_policy_set(), bytes(32), seeded_streams(0), "")


def agreed() -> Control:
    return with_events(
        with_data(),
        AgreementOffered(at_ms=START_MS, agreement="a1", terms=TERMS, organisation="ministry", by="m"),
        AgreementAccepted(at_ms=START_MS, agreement="a1", version=1, organisation="hanbit", by="h"),
    )


ON_SCANS = SubmitJob(caller=HANBIT, spec=spec(data=("scans",)))


def test_a_job_is_accepted_on_an_agreement_and_the_ledger_says_on_which() -> None:
    control = agreed()
    ask(control, ON_SCANS)
    [job] = [event for event in map(decode, control.ledger.entries()) if isinstance(event, JobSubmitted)]
    assert (job.sites, job.agreements) == (("daejeon",), ("a1",))
    seen = preview(control.memory, HANBIT, ON_SCANS.spec, START_MS + 1)
    assert isinstance(seen, Preview)
    assert seen.agreements == ("a1",)


def test_once_the_agreement_is_over_the_refusal_says_so() -> None:
    step = run(agreed(), [ON_SCANS], now_ms=TERMS.until_ms)
    [reply] = step.answers
    assert isinstance(reply, Refusal)
    assert reply.rules == ("agreement-in-force",)
    [event] = step.events
    assert isinstance(event, AccessRefused)
    assert event.rules == ("agreement-in-force",)


def test_a_refusal_says_what_would_help_and_keeps_it_out_of_the_ledger() -> None:
    control = with_data()
    reply = ask(control, ON_SCANS)
    assert isinstance(reply, Refusal)
    assert [each.rule for each in reply.reasons] == ["reader-must-be-named"]
    assert reply.remedy is not None
    assert reply.remedy.en == "it would be allowed at daejeon for research, on an agreement with ministry about scans"
    assert reply.remedy.ko.startswith("다음이 갖추어지면 daejeon에서 research 목적으로 허용된다")
    assert b"agreement with" not in b"".join(control.ledger.entries())


def test_an_error_of_a_rule_denies_and_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    change = PolicyChange(policies=(("fails.cedar", FAILS),))
    control = with_events(
        with_data(),
        ChangeProposed(at_ms=START_MS, proposal="p1", change=change, by="one"),
        ChangeApproved(at_ms=START_MS, proposal="p1", by="two"),
    )
    with caplog.at_level(logging.ERROR, "dure.policy"):
        reply = ask(control, SubmitJob(caller=HANBIT, spec=spec()))
    assert isinstance(reply, Refusal)
    assert reply.rules == (POLICY_ERROR,)
    assert "overflow" in caplog.text
    assert control.memory.policy.policy_set.alarm.count > 0
