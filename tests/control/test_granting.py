"""Who gets which token or account: nobody gives more than they may do themselves, and what is taken is gone at once."""

from __future__ import annotations

import itertools

import pytest

from dure.control.access import GRANTS, ROLES_IN_ORGANISATIONS, Caller, Grant, Permission, Role
from dure.control.accounts import AccountKind, AccountLine
from dure.control.control import Control
from dure.control.requests import (
    AddAccount,
    CancelJob,
    Done,
    IssueToken,
    NotDone,
    NotDoneCode,
    OpenSession,
    RemoveAccount,
    Reply,
    RevokeToken,
    SignIn,
    StoreSecret,
    SubmitJob,
    Submitted,
    TokenIssuedOnce,
)
from dure.control.tokens import USE_KEPT_EVERY_MS, TokenKind
from dure.model.events import AccountAdded, AccountChanged, AccountRemoved, TokenIssued, TokenRevoked, decode
from dure.model.units import DAY_MS, HOUR_MS
from tests.control.builders import HANBIT, MINISTRY, OPERATOR, START_MS, ask, run, small_control, spec, submit

ADMINISTRATOR = Caller(id="t80", role=Role.ADMINISTRATOR, organisation="hanbit")
HANBIT_MEMBER = Grant(role=Role.MEMBER, organisation="hanbit")
MINISTRY_MEMBER = Grant(role=Role.MEMBER, organisation="ministry")


def issued(control: Control, request: IssueToken | OpenSession | SignIn, now_ms: int = START_MS) -> TokenIssuedOnce:
    reply = ask(control, request, now_ms)
    assert isinstance(reply, TokenIssuedOnce), reply
    return reply


def code(reply: Reply) -> NotDoneCode:
    assert isinstance(reply, NotDone), reply
    return reply.code


def member_token(control: Control, **more: object) -> TokenIssuedOnce:
    fields = {"caller": OPERATOR, "role": Role.MEMBER, "organisation": "hanbit"}
    return issued(control, IssueToken(**(fields | more)))  # type: ignore[arg-type]


def person(*grants: Grant, token_kind: TokenKind = TokenKind.BEARER) -> SignIn:
    return SignIn(
        account="aperson",
        kind=AccountKind.PERSON,
        name="Kim",
        grants=grants,
        grant=grants[0],
        token_kind=token_kind,
        expires_at_ms=START_MS + HOUR_MS,
    )


@pytest.mark.parametrize(
    ("giver", "role", "organisation"), list(itertools.product(Role, Role, ("", "hanbit", "ministry")))
)
def test_nobody_gives_more_than_they_may_do(giver: Role, role: Role, organisation: str) -> None:
    control = small_control()
    caller = Caller(id="t1", role=giver, organisation="hanbit" if giver in ROLES_IN_ORGANISATIONS else "")
    reply = ask(control, IssueToken(caller=caller, role=role, organisation=organisation))
    makes_sense = bool(organisation) == (role in ROLES_IN_ORGANISATIONS)
    may = giver is Role.OPERATOR or (giver is Role.ADMINISTRATOR and organisation == "hanbit")
    assert isinstance(reply, TokenIssuedOnce) == (makes_sense and may)
    if isinstance(reply, TokenIssuedOnce):
        assert GRANTS[role] <= GRANTS[giver]


def test_a_scope_takes_away_and_never_adds() -> None:
    control = small_control()
    token = member_token(control, scope=(Permission.READ,))
    caller = control.memory.tokens.caller(token.text, START_MS)
    assert caller is not None
    assert caller.permissions == {Permission.READ}
    wider = IssueToken(caller=OPERATOR, role=Role.MEMBER, organisation="hanbit", scope=(Permission.OPERATE,))
    assert code(ask(control, wider)) is NotDoneCode.SCOPE_TOO_WIDE


def test_a_token_with_a_scope_cannot_make_one_without() -> None:
    control = small_control()
    only_this = Caller(
        id="t80", role=Role.ADMINISTRATOR, organisation="hanbit", scope=frozenset({Permission.ADMINISTER})
    )
    full = IssueToken(caller=only_this, role=Role.MEMBER, organisation="hanbit")
    assert code(ask(control, full)) is NotDoneCode.SCOPE_TOO_WIDE


def test_a_token_for_one_project_cannot_make_one_for_all() -> None:
    control = small_control()
    for_chat = Caller(id="t80", role=Role.ADMINISTRATOR, organisation="hanbit", project="chat")
    for project, expected in (("", False), ("vision", False), ("chat", True)):
        request = IssueToken(caller=for_chat, role=Role.MEMBER, organisation="hanbit", project=project)
        assert isinstance(ask(control, request), TokenIssuedOnce) == expected


def test_a_token_for_one_project_touches_no_other() -> None:
    control = small_control()
    token = member_token(control, project="chat")
    caller = control.memory.tokens.caller(token.text, START_MS)
    assert caller is not None
    job = submit(control, spec("vision"), caller=HANBIT)
    assert code(ask(control, CancelJob(caller=caller, job=job))) is NotDoneCode.NOT_YOUR_JOB
    assert code(ask(control, SubmitJob(caller=caller, spec=spec("vision")))) is NotDoneCode.NOT_YOUR_PROJECT
    secret = StoreSecret(caller=caller, project="vision", name="KEY", value=b"x")
    assert code(ask(control, secret)) is NotDoneCode.NOT_YOUR_PROJECT
    assert isinstance(ask(control, SubmitJob(caller=caller, spec=spec("chat"))), Submitted)
    assert not caller.viewer.may_see(control.world.nation, "vision")
    assert caller.viewer.may_see(control.world.nation, "chat")


def test_a_project_of_another_organisation_is_as_unknown_as_none() -> None:
    control = small_control()
    replies = [
        ask(control, IssueToken(caller=ADMINISTRATOR, role=Role.MEMBER, organisation="hanbit", project=project))
        for project in ("weather", "no-such-project")
    ]
    assert {code(reply) for reply in replies} == {NotDoneCode.UNKNOWN_PROJECT}


def test_a_token_is_good_until_the_moment_it_expires() -> None:
    control = small_control()
    token = member_token(control, expires_at_ms=START_MS + DAY_MS)
    tokens = control.memory.tokens
    assert tokens.caller(token.text, START_MS + DAY_MS - 1) is not None
    assert tokens.caller(token.text, START_MS + DAY_MS) is None
    assert tokens.knows(token.text, TokenKind.BEARER)
    assert not tokens.is_accepted(token.card.id, START_MS + DAY_MS)


def test_the_last_use_is_kept_coarsely_and_with_what_is_written_anyway() -> None:
    control = small_control()
    token = member_token(control)
    later_ms = START_MS + 3 * USE_KEPT_EVERY_MS + 5
    for offset_ms in range(100):
        control.memory.tokens.caller(token.text, later_ms + offset_ms)
    step = control.step([], [], later_ms + 100)
    assert [row.table for row in step.rows] == ["tokens"]
    control.commit(step)
    control.rebuild()
    [card] = control.memory.tokens.cards()
    assert card.used_at_ms == later_ms - later_ms % USE_KEPT_EVERY_MS


def test_an_idle_session_ends_and_one_in_use_goes_on_to_its_end() -> None:
    control = small_control()
    token = member_token(control)
    caller = control.memory.tokens.caller(token.text, START_MS)
    assert caller is not None
    session = issued(control, OpenSession(caller=caller, expires_at_ms=START_MS + 10 * HOUR_MS, idle_ms=HOUR_MS)).text
    tokens = control.memory.tokens

    def is_good(hours: float) -> bool:
        return tokens.caller(session, START_MS + round(hours * HOUR_MS), TokenKind.SESSION) is not None

    assert all(is_good(0.9 * step) for step in range(1, 12))
    assert not is_good(10)
    idle = issued(control, OpenSession(caller=caller, expires_at_ms=START_MS + 10 * HOUR_MS, idle_ms=HOUR_MS)).text
    assert tokens.caller(idle, START_MS + HOUR_MS, TokenKind.SESSION) is None


def test_a_session_is_no_bearer_token_and_a_bearer_token_no_session() -> None:
    control = small_control()
    token = member_token(control)
    caller = control.memory.tokens.caller(token.text, START_MS)
    assert caller is not None
    session = issued(control, OpenSession(caller=caller, expires_at_ms=START_MS + HOUR_MS, idle_ms=0))
    assert control.memory.tokens.caller(session.text, START_MS, TokenKind.BEARER) is None
    assert control.memory.tokens.caller(token.text, START_MS, TokenKind.SESSION) is None


def test_a_session_ends_with_the_token_it_was_made_with_and_lives_no_longer() -> None:
    control = small_control()
    token = member_token(control, expires_at_ms=START_MS + HOUR_MS)
    caller = control.memory.tokens.caller(token.text, START_MS)
    assert caller is not None
    session = issued(control, OpenSession(caller=caller, expires_at_ms=START_MS + DAY_MS, idle_ms=0))
    assert session.card.expires_at_ms == START_MS + HOUR_MS
    step = run(control, [RevokeToken(caller=OPERATOR, token=token.card.id)])
    assert all(isinstance(event, TokenRevoked) for event in step.events)
    assert len(step.events) == 2
    assert control.memory.tokens.caller(session.text, START_MS, TokenKind.SESSION) is None
    control.rebuild()
    assert control.memory.tokens.cards() == []


def test_an_administrator_takes_away_only_what_is_their_own_organisations() -> None:
    control = small_control()
    foreign = member_token(control, organisation="ministry")
    own = member_token(control)
    replies = [ask(control, RevokeToken(caller=ADMINISTRATOR, token=name)) for name in (foreign.card.id, "t999")]
    assert [code(reply) for reply in replies] == [NotDoneCode.NO_SUCH_BEARER] * 2
    messages = {reply.message.replace(foreign.card.id, "?").replace("t999", "?") for reply in replies}  # type: ignore[union-attr]
    assert len(messages) == 1
    assert isinstance(ask(control, RevokeToken(caller=ADMINISTRATOR, token=own.card.id)), Done)


def test_anybody_may_give_up_their_own_token() -> None:
    control = small_control()
    token = member_token(control)
    caller = control.memory.tokens.caller(token.text, START_MS)
    assert caller is not None
    assert isinstance(ask(control, RevokeToken(caller=caller, token=token.card.id)), Done)
    assert control.memory.tokens.caller(token.text, START_MS) is None


def test_a_service_has_tokens_with_its_role_and_loses_them_with_its_account() -> None:
    control = small_control()
    added = ask(control, AddAccount(caller=ADMINISTRATOR, kind=AccountKind.SERVICE, name="ci", grant=HANBIT_MEMBER))
    assert isinstance(added, AccountLine)
    token = member_token(control, account=added.id)
    for role, organisation in ((Role.OPERATOR, ""), (Role.MEMBER, "ministry")):
        wider = IssueToken(caller=OPERATOR, role=role, organisation=organisation, account=added.id)
        assert code(ask(control, wider)) is NotDoneCode.UNKNOWN_ACCOUNT
    step = run(control, [RemoveAccount(caller=ADMINISTRATOR, account=added.id)])
    assert [event.__class__.__name__ for event in step.events] == [TokenRevoked.__name__, AccountRemoved.__name__]
    assert control.memory.tokens.caller(token.text, START_MS) is None
    control.rebuild()
    assert control.memory.accounts.all() == []


def test_two_accounts_have_two_names() -> None:
    control = small_control()
    request = AddAccount(caller=OPERATOR, kind=AccountKind.SERVICE, name="ci", grant=HANBIT_MEMBER)
    ask(control, request)
    assert code(ask(control, request)) is NotDoneCode.ACCOUNT_EXISTS


def test_an_administrator_neither_adds_nor_removes_accounts_of_others() -> None:
    control = small_control()
    for grant in (MINISTRY_MEMBER, Grant(role=Role.OPERATOR)):
        request = AddAccount(caller=ADMINISTRATOR, kind=AccountKind.SERVICE, name="ci", grant=grant)
        assert code(ask(control, request)) is NotDoneCode.NOT_YOURS_TO_GRANT
    foreign = ask(control, AddAccount(caller=OPERATOR, kind=AccountKind.SERVICE, name="ci", grant=MINISTRY_MEMBER))
    assert isinstance(foreign, AccountLine)
    for account in (foreign.id, "anobody"):
        assert code(ask(control, RemoveAccount(caller=ADMINISTRATOR, account=account))) is NotDoneCode.UNKNOWN_ACCOUNT


@pytest.mark.parametrize("caller", [HANBIT, MINISTRY, Caller(id="t1", role=Role.AUDITOR)])
def test_who_may_not_administer_neither_adds_nor_removes(caller: Caller) -> None:
    control = small_control()
    request = AddAccount(caller=caller, kind=AccountKind.SERVICE, name="ci", grant=HANBIT_MEMBER)
    assert code(ask(control, request)) is NotDoneCode.NOT_YOURS_TO_GRANT


def test_a_person_who_lost_a_role_loses_the_tokens_that_had_it() -> None:
    control = small_control()
    as_member = issued(control, person(HANBIT_MEMBER, Grant(role=Role.AUDITOR)))
    as_auditor = issued(control, person(Grant(role=Role.AUDITOR), HANBIT_MEMBER))
    step = run(control, [person(Grant(role=Role.AUDITOR))])
    assert any(isinstance(event, AccountChanged) for event in step.events)
    assert control.memory.tokens.caller(as_member.text, START_MS) is None
    assert control.memory.tokens.caller(as_auditor.text, START_MS) is not None


def test_a_local_account_that_is_gone_cannot_be_signed_in_to() -> None:
    control = small_control()
    request = SignIn(
        account="agone",
        kind=AccountKind.LOCAL,
        name="root",
        grants=(Grant(role=Role.OPERATOR),),
        grant=Grant(role=Role.OPERATOR),
        token_kind=TokenKind.BEARER,
        expires_at_ms=START_MS + HOUR_MS,
    )
    assert code(ask(control, request)) is NotDoneCode.UNKNOWN_ACCOUNT


def test_the_ledger_knows_an_account_by_its_id_alone() -> None:
    control = small_control()
    request = AddAccount(
        caller=OPERATOR, kind=AccountKind.LOCAL, name="gildong", grant=HANBIT_MEMBER, password_hash="$argon2id$x"
    )
    ask(control, request)
    ask(control, person(HANBIT_MEMBER))
    entries = b"".join(control.ledger.entries())
    assert b"gildong" not in entries
    assert b"Kim" not in entries
    assert b"argon2" not in entries
    kinds = {type(decode(entry)) for entry in control.ledger.entries()}
    assert {AccountAdded, TokenIssued} <= kinds
    assert "argon2" not in repr(request)


def test_expired_sessions_are_forgotten_and_expired_tokens_listed_for_a_month() -> None:
    control = small_control()
    token = member_token(control, expires_at_ms=START_MS + HOUR_MS)
    caller = control.memory.tokens.caller(token.text, START_MS)
    assert caller is not None
    issued(control, OpenSession(caller=caller, expires_at_ms=START_MS + HOUR_MS, idle_ms=0))
    another = IssueToken(caller=OPERATOR, role=Role.AUDITOR)
    issued(control, another, START_MS + 2 * HOUR_MS)
    assert [card.kind for card in control.memory.tokens.cards()] == [TokenKind.BEARER, TokenKind.BEARER]
    issued(control, another, START_MS + 40 * DAY_MS)
    assert token.card.id not in [card.id for card in control.memory.tokens.cards()]


def test_rows_of_tokens_that_were_made_before_there_were_scopes_still_count() -> None:
    from dure.control.tokens import Tokens, token_digest

    body = b'{"id":"t1","role":"member","organisation":"hanbit","by":"t0","issued_at_ms":5}'
    tokens = Tokens([(token_digest("dure_old"), body)])
    caller = tokens.caller("dure_old", START_MS + 5000 * DAY_MS)
    assert caller is not None
    assert caller.permissions == GRANTS[Role.MEMBER]


def test_entries_about_tokens_without_anything_new_are_the_bytes_they_were() -> None:
    control = small_control()
    member_token(control)
    entry = list(control.ledger.entries())[-1]
    assert entry == (
        b'{"at_ms":%d,"by":"platform","event":"token-issued","organisation":"hanbit","role":"member","token":"t1"}'
        % START_MS
    )
