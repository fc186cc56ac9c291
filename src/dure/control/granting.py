"""Requests about access: who gets which token or account. Nobody gives more than they may do themselves."""

from __future__ import annotations

import base64

from msgspec.structs import replace

from dure.control.access import GRANTS, PLATFORM, ROLES_IN_ORGANISATIONS, Caller, Grant, Permission
from dure.control.accounts import ACCOUNT_BYTES, Account, AccountKind, AccountLine
from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.control.requests import (
    AddAccount,
    Done,
    IssueToken,
    NotDone,
    NotDoneCode,
    OpenSession,
    RemoveAccount,
    Reply,
    RevokeToken,
    SignIn,
    TokenIssuedOnce,
)
from dure.control.tokens import TOKEN_BYTES, TokenCard, TokenKind, token_digest, token_text
from dure.model.events import AccountAdded, AccountChanged, AccountRemoved, TokenIssued, TokenRevoked
from dure.model.nation import Nation


def issue_token(request: IssueToken, memory: Memory, draft: Draft) -> Reply:
    """Make a bearer token, or say why not."""
    grant = Grant(role=request.role, organisation=request.organisation)
    no = (
        _no_such_grant(grant, draft.world.nation)
        or _not_yours(request.caller, grant)
        or _foreign_account(request, memory)
        or _too_wide(request)
        or _foreign_project(request, draft.world.nation)
    )
    if no is not None:
        return no
    return _issue(
        TokenCard(
            id=memory.next_token(),
            role=request.role,
            organisation=request.organisation,
            by=request.caller.id,
            issued_at_ms=draft.now_ms,
            scope=request.scope,
            project=request.project,
            expires_at_ms=request.expires_at_ms,
            account=request.account,
        ),
        memory,
        draft,
    )


def open_session(request: OpenSession, memory: Memory, draft: Draft) -> Reply:
    """Make a session that can do what the token that it is made with can, and lives no longer."""
    parent = memory.tokens.card(request.caller.id)
    if parent is None:
        return _no_such_token(request.caller.id)
    ends = [at_ms for at_ms in (parent.expires_at_ms, request.expires_at_ms) if at_ms]
    return _issue(
        TokenCard(
            id=memory.next_token(),
            role=parent.role,
            organisation=parent.organisation,
            by=parent.id,
            issued_at_ms=draft.now_ms,
            kind=TokenKind.SESSION,
            scope=parent.scope,
            project=parent.project,
            expires_at_ms=min(ends, default=0),
            idle_ms=request.idle_ms,
            account=parent.account,
            parent=parent.id,
        ),
        memory,
        draft,
    )


def sign_in(request: SignIn, memory: Memory, draft: Draft) -> Reply:
    """Bring the account up to date with what its owner may do now, and make a token for one of the roles."""
    no = _no_such_grant(request.grant, draft.world.nation)
    if no is not None:
        return no
    if request.kind is not AccountKind.PERSON and memory.accounts.get(request.account) is None:
        return no_such_account(request.account)
    account = _up_to_date(request, memory, draft)
    return _issue(
        TokenCard(
            id=memory.next_token(),
            role=request.grant.role,
            organisation=request.grant.organisation,
            by=account,
            issued_at_ms=draft.now_ms,
            kind=request.token_kind,
            expires_at_ms=request.expires_at_ms,
            idle_ms=request.idle_ms,
            account=account,
        ),
        memory,
        draft,
    )


def revoke_token(request: RevokeToken, memory: Memory, draft: Draft) -> Reply:
    """Accept a token no longer, nor the sessions made with it. Anybody may give up their own."""
    card = memory.tokens.card(request.token)
    is_own = request.token == request.caller.id
    # Whether somebody else's token exists is nobody's business, so both are told the same.
    if card is None or not (is_own or request.caller.governs(card.grant)):
        return _no_such_token(request.token)
    _revoke(card, request.caller.id, memory, draft)
    return Done()


def add_account(request: AddAccount, memory: Memory, draft: Draft) -> Reply:
    """Make an account, or say why not."""
    no = _no_such_grant(request.grant, draft.world.nation) or _not_yours(request.caller, request.grant)
    if no is not None:
        return no
    if memory.accounts.named(request.name) is not None:
        message = f"There is an account {request.name} already; choose another name."
        return NotDone(code=NotDoneCode.ACCOUNT_EXISTS, message=message)
    account = Account(
        id=account_id(memory.random.tokens(ACCOUNT_BYTES)),
        kind=request.kind,
        name=request.name,
        grants=(request.grant,),
        by=request.caller.id,
        added_at_ms=draft.now_ms,
        password_hash=request.password_hash,
    )
    _add(account, memory, draft)
    return AccountLine.of(account)


def remove_account(request: RemoveAccount, memory: Memory, draft: Draft) -> Reply:
    """Forget an account and all that is personal about it; none of its tokens is accepted from now on."""
    account = memory.accounts.get(request.account)
    if account is None or not all(request.caller.governs(grant) for grant in account.grants):
        return no_such_account(request.account)
    revoke_all_of(account.id, request.caller.id, memory, draft)
    draft.record(AccountRemoved(at_ms=draft.now_ms, account=account.id, by=request.caller.id))
    draft.rows.append(memory.accounts.remove(account.id))
    return Done()


def revoke_all_of(account: str, by: str, memory: Memory, draft: Draft) -> None:
    """Accept no token of a person or service any longer."""
    for card in memory.tokens.of_account(account):
        if memory.tokens.card(card.id) is not None:
            _revoke(card, by, memory, draft)


def account_id(random_bytes: bytes) -> str:
    """The opaque id of an account."""
    return "a" + base64.b32encode(random_bytes).decode().lower()


def _issue(card: TokenCard, memory: Memory, draft: Draft) -> TokenIssuedOnce:
    text = token_text(memory.random.tokens(TOKEN_BYTES), card.kind)
    draft.record(
        TokenIssued(
            at_ms=draft.now_ms,
            token=card.id,
            role=card.role,
            organisation=card.organisation,
            by=card.by,
            kind=card.kind.value,
            scope=card.scope,
            project=card.project,
            expires_at_ms=card.expires_at_ms,
            account=card.account,
        )
    )
    draft.rows.extend(memory.tokens.forgotten(draft.now_ms))
    draft.rows.append(memory.tokens.add(token_digest(text), card))
    return TokenIssuedOnce(text=text, card=card)


def _revoke(card: TokenCard, by: str, memory: Memory, draft: Draft) -> None:
    for each in (*memory.tokens.children(card.id), card):
        draft.record(TokenRevoked(at_ms=draft.now_ms, token=each.id, by=by))
        draft.rows.append(memory.tokens.remove(each.id))


def _up_to_date(request: SignIn, memory: Memory, draft: Draft) -> str:
    """Id of the account of whoever signs in, which says from now on what they may do now."""
    by_subject = memory.accounts.of_subject(request.subject) if request.subject else None
    known = by_subject or memory.accounts.get(request.account)
    if known is None:
        account = Account(
            id=request.account or account_id(memory.random.tokens(ACCOUNT_BYTES)),
            subject=request.subject,
            kind=request.kind,
            name=request.name,
            grants=request.grants,
            by=PLATFORM.id,
            added_at_ms=draft.now_ms,
        )
        _add(account, memory, draft)
        return account.id
    if known.grants == request.grants:
        return known.id
    draft.record(AccountChanged(at_ms=draft.now_ms, account=known.id, grants=_as_pairs(request.grants), by=PLATFORM.id))
    draft.rows.append(memory.accounts.put(replace(known, grants=request.grants)))
    for card in memory.tokens.of_account(known.id):
        if card.grant not in request.grants and memory.tokens.card(card.id) is not None:
            _revoke(card, PLATFORM.id, memory, draft)
    return known.id


def _add(account: Account, memory: Memory, draft: Draft) -> None:
    draft.record(
        AccountAdded(
            at_ms=draft.now_ms,
            account=account.id,
            kind=account.kind,
            grants=_as_pairs(account.grants),
            by=account.by,
        )
    )
    draft.rows.append(memory.accounts.put(account))


def _no_such_grant(grant: Grant, nation: Nation) -> NotDone | None:
    """A role in an organisation needs one of this nation; the others need none."""
    role = grant.role.value
    if grant.role not in ROLES_IN_ORGANISATIONS:
        if not grant.organisation:
            return None
        message = f"The role {role} is for no organisation; leave it out."
    elif not grant.organisation:
        message = f"The role {role} is for one organisation; name it as organisation."
    elif all(each.name != grant.organisation for each in nation.organisations):
        message = f"The role {role} is for one organisation; {grant.organisation!r} is not one of this nation."
    else:
        return None
    return NotDone(code=NotDoneCode.UNKNOWN_ORGANISATION, message=message)


def _not_yours(caller: Caller, grant: Grant) -> NotDone | None:
    if caller.governs(grant):
        return None
    message = f"You may give roles in your own organisation only, not {grant}."
    return NotDone(code=NotDoneCode.NOT_YOURS_TO_GRANT, message=message)


def _foreign_account(request: IssueToken, memory: Memory) -> NotDone | None:
    """A token for an account has a role that the account has."""
    if not request.account:
        return None
    account = memory.accounts.get(request.account)
    grant = Grant(role=request.role, organisation=request.organisation)
    return None if account is not None and grant in account.grants else no_such_account(request.account)


def _too_wide(request: IssueToken) -> NotDone | None:
    """A scope leaves away; it adds nothing to a role, nor to what the caller may do."""
    wanted = frozenset(request.scope or GRANTS[request.role])
    beyond_role = wanted - GRANTS[request.role]
    beyond_caller = wanted - request.caller.permissions
    if beyond_role:
        message = f"The role {request.role.value} has no permission to {_listed(beyond_role)}."
    elif beyond_caller:
        message = f"Your own token may not {_listed(beyond_caller)}, so it cannot give that to another."
    elif request.caller.project not in ("", request.project):
        message = f"Your own token is for the project {request.caller.project}; so must be the new one."
    else:
        return None
    return NotDone(code=NotDoneCode.SCOPE_TOO_WIDE, message=message)


def _foreign_project(request: IssueToken, nation: Nation) -> NotDone | None:
    """A project of another organisation is as unknown here as one that does not exist."""
    if not request.project:
        return None
    owner = nation.organisation_of(request.project)
    if owner is not None and request.organisation in ("", owner.name):
        return None
    whose = f"{request.organisation} has" if request.organisation else "there is"
    return NotDone(code=NotDoneCode.UNKNOWN_PROJECT, message=f"{whose} no project {request.project}.")


def _no_such_token(token: str) -> NotDone:
    return NotDone(code=NotDoneCode.NO_SUCH_BEARER, message=f"There is no token {token}; `dure token list` shows them.")


def no_such_account(account: str) -> NotDone:
    """There is none, or none that the caller may know of."""
    message = f"There is no account {account}; `dure account list` shows them."
    return NotDone(code=NotDoneCode.UNKNOWN_ACCOUNT, message=message)


def _as_pairs(grants: tuple[Grant, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((each.role.value, each.organisation) for each in grants)


def _listed(permissions: frozenset[Permission]) -> str:
    return " and ".join(sorted(permissions))
