"""A forgotten person is nowhere but in opaque ids, and the ledger verifies, replays and goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from dure.control.access import Caller, Grant, Role
from dure.control.accounts import AccountKind
from dure.control.control import Control
from dure.control.people import ForgetPerson, Forgotten, Traces
from dure.control.requests import CancelJob, NotDone, NotDoneCode, Reply, SignIn, TokenIssuedOnce
from dure.control.tokens import TokenKind
from dure.ledger.contract import TABLES
from dure.ledger.note import Signer
from dure.ledger.postgres import PostgresLedger
from dure.ledger.sqlite import SqliteLedger
from dure.ledger.verify import verify
from dure.model.events import decode
from dure.model.oversight import PersonForgotten
from dure.model.units import DAY_MS
from tests.control.builders import OPERATOR, START_MS, ask, empty_control, small_control, spec, submit

SIGNER = Signer("dure.example/forgetting", bytes(32))
MEMBER = Grant(role=Role.MEMBER, organisation="hanbit")
NAME, DIARY, SUBJECT = "Hong Gildong", "diary-of-gildong", "asubjectofgildong"
LATER_MS = START_MS + DAY_MS

Reopen = Callable[[], SqliteLedger | PostgresLedger]


@pytest.fixture(params=["sqlite", "postgres"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Opens one ledger, again and again."""
    url = request.getfixturevalue("postgres").new_schema() if request.param == "postgres" else ""
    with ExitStack() as opened:

        def open_again() -> SqliteLedger | PostgresLedger:
            opened.close()
            if url:
                return opened.enter_context(closing(PostgresLedger.open(url, SIGNER)))
            return opened.enter_context(closing(SqliteLedger.open(tmp_path / "ledger.sqlite", SIGNER)))

        yield open_again


def sign_in(control: Control, subject: str = SUBJECT, name: str = NAME) -> Caller:
    request = SignIn(
        subject=subject,
        kind=AccountKind.PERSON,
        name=name,
        grants=(MEMBER,),
        grant=MEMBER,
        token_kind=TokenKind.BEARER,
        expires_at_ms=START_MS + DAY_MS,
    )
    issued = ask(control, request)
    assert isinstance(issued, TokenIssuedOnce)
    caller = control.memory.tokens.caller(issued.text, START_MS)
    assert caller is not None
    return caller


def forget(control: Control, account: str, seen: int = 1_000_000) -> Reply:
    """As the interface does it: what was found in the first `seen` entries, and the rest within the step."""
    traces = Traces(account).after(list(control.ledger.entries())[:seen])
    return ask(control, ForgetPerson(caller=OPERATOR, traces=traces))


def a_person_with_an_ended_job(control: Control) -> tuple[Caller, str]:
    caller = sign_in(control)
    job = submit(control, spec(name=DIARY, not_before_ms=LATER_MS), caller=caller, key="once")
    ask(control, CancelJob(caller=caller, job=job))
    return caller, job


def everything_in(control: Control) -> bytes:
    rows = (key.encode() + body for table in TABLES for key, body in control.ledger.rows(table))
    return b"".join([*control.ledger.entries(), *rows])


def test_all_that_is_personal_is_erased_and_the_ledger_still_verifies(reopen: Reopen) -> None:
    control = small_control(reopen())
    person, job = a_person_with_an_ended_job(control)
    other = sign_in(control, "asomebodyelse", "Im Kkeokjeong")
    kept_job = submit(control, spec(name="kept", not_before_ms=LATER_MS), caller=other, key="once")
    before = everything_in(control)
    for personal in (NAME, DIARY, SUBJECT):
        assert personal.encode() in before
    assert forget(control, person.account) == Forgotten(account=person.account, jobs=1)

    after = everything_in(control)
    for personal in (NAME, DIARY, SUBJECT, f"{person.id}:once"):
        assert personal.encode() not in after
    assert control.memory.specs.of(job) is None
    assert control.memory.tokens.card(person.id) is None
    assert control.memory.accounts.get(person.account) is None
    assert control.memory.tokens.card(other.id) is not None
    assert control.memory.specs.of(kept_job) is not None
    with control.ledger.stored() as log:
        assert verify(log, SIGNER.verifier).is_sound
    event = decode(list(control.ledger.entries())[-1])
    assert event == PersonForgotten(at_ms=START_MS, account=person.account, by=OPERATOR.id, jobs=1)


def test_a_restarted_platform_replays_what_it_forgot(reopen: Reopen) -> None:
    control = small_control(reopen())
    person, job = a_person_with_an_ended_job(control)
    forget(control, person.account)
    again = empty_control(reopen())
    assert again.memory.specs.of(job) is None
    assert again.world.jobs[job].state.is_final
    assert again.memory.accounts.get(person.account) is None
    assert submit(again, spec(), caller=sign_in(again))


def test_nothing_lingers_in_the_files_of_a_state_folder(tmp_path: Path) -> None:
    with closing(SqliteLedger.open(tmp_path / "ledger.sqlite", SIGNER)) as ledger:
        control = small_control(ledger)
        person, _ = a_person_with_an_ended_job(control)
        found = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert NAME.encode() in found
        forget(control, person.account)
        left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for personal in (NAME, DIARY, SUBJECT):
        assert personal.encode() not in left


def test_the_same_person_comes_back_under_an_id_that_has_no_link_to_the_first() -> None:
    control = small_control()
    first = sign_in(control)
    assert sign_in(control).account == first.account
    assert forget(control, first.account) == Forgotten(account=first.account, jobs=0)
    assert sign_in(control).account != first.account


def test_an_account_from_before_ids_were_random_is_found_by_its_id() -> None:
    control = small_control()
    old = SignIn(
        account=SUBJECT,
        kind=AccountKind.PERSON,
        name=NAME,
        grants=(MEMBER,),
        grant=MEMBER,
        token_kind=TokenKind.BEARER,
        expires_at_ms=START_MS + DAY_MS,
    )
    ask(control, old)
    assert sign_in(control).account == SUBJECT


def test_jobs_that_are_not_over_come_first() -> None:
    control = small_control()
    person = sign_in(control)
    job = submit(control, spec(not_before_ms=LATER_MS), caller=person)
    reply = forget(control, person.account)
    assert isinstance(reply, NotDone)
    assert (reply.code, job in reply.message) == (NotDoneCode.JOBS_NOT_OVER, True)
    assert control.memory.tokens.card(person.id) is not None


@pytest.mark.parametrize("seen", range(6))
def test_what_happens_while_the_ledger_is_read_counts_too(seen: int) -> None:
    control = small_control()
    person, job = a_person_with_an_ended_job(control)
    assert forget(control, person.account, seen) == Forgotten(account=person.account, jobs=1)
    assert control.memory.specs.of(job) is None


def test_somebody_whose_account_was_removed_before_is_forgotten_by_id() -> None:
    control = small_control()
    person, _ = a_person_with_an_ended_job(control)
    forget(control, person.account)
    assert isinstance(forget(control, person.account), Forgotten)


def test_nobody_is_forgotten_who_never_was() -> None:
    control = small_control()
    reply = forget(control, "anobody")
    assert isinstance(reply, NotDone)
    assert reply.code is NotDoneCode.UNKNOWN_ACCOUNT
