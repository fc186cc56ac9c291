"""Operations on tokens, accounts and secrets."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, Struct

from dure.api.bodies import OCTETS, media_type, read_struct, text_of, unsupported
from dure.api.operations import Call, bad_parameter
from dure.api.platform import Platform
from dure.api.problems import ProblemRaised, problem
from dure.api.replies import done, not_done
from dure.control.access import Caller, Grant, Permission, Role
from dure.control.accounts import AccountKind, AccountLine
from dure.control.requests import (
    AddAccount,
    Answer,
    IssueToken,
    NotDoneCode,
    RemoveAccount,
    RevokeToken,
    StoreSecret,
)
from dure.control.tokens import TokenCard
from dure.identity.passwords import LEAST_PASSWORD, LONGEST_PASSWORD, TooBusy
from dure.intake.refusals import Problem as FieldProblem
from dure.model.units import format_duration

LARGEST_SECRET = 64 * 1024
_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,126}")

AccountName = Annotated[str, Meta(min_length=1, max_length=100, pattern="^[A-Za-z0-9][A-Za-z0-9._@-]*$")]
LifetimeMs = Annotated[int, Meta(ge=0, le=1 << 53)]


class WantedToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token is to be for.

    A token of an account may leave out role and organisation: it has the account's first. `lifetime_ms` 0 is the usual.
    """

    role: Role | None = None
    organisation: str = ""
    scope: tuple[Permission, ...] = ()
    project: str = ""
    lifetime_ms: LifetimeMs = 0
    account: str = ""


class WantedAccount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is to have an account: a service, which needs no password, or a local one, which does."""

    kind: AccountKind
    name: AccountName
    role: Role
    organisation: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Everything but the password, so that no log ever shows it."""
        return f"WantedAccount(kind={self.kind.value}, role={self.role.value})"


class TokenList(Struct, frozen=True, kw_only=True):
    """The tokens that the caller may revoke, oldest first; never their texts."""

    tokens: tuple[TokenCard, ...]


class AccountList(Struct, frozen=True, kw_only=True):
    """The accounts that the caller may remove, oldest first."""

    accounts: tuple[AccountLine, ...]


async def issue(platform: Platform, call: Call) -> Answer:
    """Make a token. Its text is in this answer and nowhere else."""
    wanted = read_struct(call, WantedToken)
    grant = _grant_of(platform, call.caller, wanted)
    lives = platform.settings.tokens
    if wanted.lifetime_ms > lives.longest_ms:
        message = f"A token lives at most {format_duration(lives.longest_ms)} here."
        raise _bad_field("lifetime_ms", str(wanted.lifetime_ms), message)
    request = IssueToken(
        caller=call.caller,
        role=grant.role,
        organisation=grant.organisation,
        scope=tuple(sorted(set(wanted.scope))),
        project=wanted.project,
        expires_at_ms=platform.clock.now_ms() + (wanted.lifetime_ms or lives.usual_ms),
        account=wanted.account,
    )
    return done(await platform.ask(request))


async def tokens(platform: Platform, call: Call) -> TokenList:
    """The tokens that were not revoked, with when they expire and were last used."""
    cards = platform.control.memory.tokens.cards()
    return TokenList(tokens=tuple(card for card in cards if call.caller.governs(card.grant)))


async def revoke(platform: Platform, call: Call) -> Answer:
    """Accept a token no longer, nor the browsers that signed in with it."""
    return done(await platform.ask(RevokeToken(caller=call.caller, token=call.path("token"))))


async def add_account(platform: Platform, call: Call) -> Answer:
    """Make an account for a service, or a local one with a password for when the identity provider is down."""
    wanted = read_struct(call, WantedAccount)
    grant = Grant(role=wanted.role, organisation=wanted.organisation)
    password_hash = ""
    match wanted.kind:
        case AccountKind.PERSON:
            raise _bad_field("kind", wanted.kind.value, "People have an account once they sign in at the provider.")
        case AccountKind.SERVICE:
            if wanted.password:
                raise _bad_field("password", "", "A service has no password; make a token for its account.")
        case AccountKind.LOCAL:
            # Hashing is dear, so nobody has it done in vain.
            _refuse_local(platform, call.caller, grant, wanted.password)
            password_hash = await _hashed(platform, wanted.password)
    request = AddAccount(
        caller=call.caller, kind=wanted.kind, name=wanted.name, grant=grant, password_hash=password_hash
    )
    return done(await platform.ask(request))


async def accounts(platform: Platform, call: Call) -> AccountList:
    """The people and services that have a role which the caller may take away."""
    lines = (AccountLine.of(each) for each in platform.control.memory.accounts.all())
    governed = (line for line in lines if all(call.caller.governs(grant) for grant in line.grants))
    return AccountList(accounts=tuple(governed))


async def remove_account(platform: Platform, call: Call) -> Answer:
    """Forget an account with all that is personal about it, and accept its tokens no longer."""
    return done(await platform.ask(RemoveAccount(caller=call.caller, account=call.path("account"))))


async def store_secret(platform: Platform, call: Call) -> Answer:
    """Set or replace a secret of a project. Jobs that name it find it in an environment variable of the same name."""
    name = call.path("name")
    if not _SECRET_NAME.fullmatch(name):
        raise bad_parameter("name", name, "use letters, digits and _, not starting with a digit")
    if media_type(call) != OCTETS:
        raise unsupported(media_type(call), (OCTETS,))
    value = text_of(call)
    if not 0 < len(call.body) <= LARGEST_SECRET or "\0" in value:
        message = f"A secret is text of 1 to {LARGEST_SECRET} bytes without NUL characters."
        raise problem(422, "bad-document", message)
    request = StoreSecret(caller=call.caller, project=call.path("project"), name=name, value=call.body)
    return done(await platform.ask(request))


def _grant_of(platform: Platform, caller: Caller, wanted: WantedToken) -> Grant:
    """The role that is asked for, or the first of the account's."""
    if wanted.role is not None:
        return Grant(role=wanted.role, organisation=wanted.organisation)
    if not wanted.account:
        raise _bad_field("role", "", f"Say which role the token is for: {', '.join(Role)}.")
    account = platform.control.memory.accounts.get(wanted.account)
    if account is None or not caller.governs(account.grants[0]):
        raise not_done(NotDoneCode.UNKNOWN_ACCOUNT, f"There is no account {wanted.account}.")
    return account.grants[0]


def _refuse_local(platform: Platform, caller: Caller, grant: Grant, password: str) -> None:
    if not platform.settings.local_accounts:
        message = "Local accounts are off here; `local_accounts: true` in the identity file turns them on."
        raise problem(409, "local-accounts-off", message)
    if not caller.governs(grant):
        raise not_done(
            NotDoneCode.NOT_YOURS_TO_GRANT, f"You may give roles in your own organisation only, not {grant}."
        )
    if not LEAST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        message = (
            f"A password has {LEAST_PASSWORD} to {LONGEST_PASSWORD} characters; a few random words make a good one."
        )
        raise _bad_field("password", "", message)


async def _hashed(platform: Platform, password: str) -> str:
    try:
        return await platform.passwords.hashed(password)
    except TooBusy:
        raise too_busy() from None


def too_busy() -> ProblemRaised:
    """The problem of one password too many to check."""
    message = "Too many passwords wait to be checked; try again in a moment."
    return problem(503, "too-busy", message, headers={"Retry-After": "2"})


def _bad_field(field: str, value: str, message: str) -> ProblemRaised:
    wrong = FieldProblem(field=field, value=value, message=message)
    return problem(422, "bad-document", message, (wrong,))
