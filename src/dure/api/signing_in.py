"""Operations by which people say who they are, ask who they are, and leave."""

from __future__ import annotations

import logging

from msgspec import Struct
from starlette.responses import RedirectResponse, Response

from dure.api.access import too_busy
from dure.api.admission import too_many
from dure.api.bodies import read_struct
from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.problems import SECURITY_HEADERS, problem
from dure.api.replies import done
from dure.control.access import Grant, Permission, Role
from dure.control.accounts import Account, AccountKind
from dure.control.requests import Answer, OpenSession, RevokeToken, SignIn, TokenIssuedOnce
from dure.control.tokens import TokenKind
from dure.identity.passwords import TooBusy

log = logging.getLogger("dure.access")


class SignInLink(Struct, frozen=True, kw_only=True):
    """Path of a link that signs a browser in as the caller, once, within ten minutes."""

    path: str


class Credentials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name and password of a local account."""

    name: str
    password: str

    def __repr__(self) -> str:
        """Nothing, so that no log ever shows it."""
        return "Credentials()"


class Identity(Struct, frozen=True, kw_only=True):
    """Who the caller is to the platform, and what the token in use may do."""

    token: str
    kind: TokenKind
    role: Role
    organisation: str
    project: str
    permissions: tuple[Permission, ...]
    expires_at_ms: int
    account: str
    name: str
    grants: tuple[Grant, ...]
    """Every role of the account; the token has one of them."""


async def who_am_i(platform: Platform, call: Call) -> Identity:
    """Who the token in use speaks for, what it may do, and until when."""
    memory = platform.control.memory
    card = memory.tokens.card(call.caller.id)
    assert card is not None, "the caller was admitted with it"
    account = memory.accounts.get(card.account)
    return Identity(
        token=card.id,
        kind=card.kind,
        role=card.role,
        organisation=card.organisation,
        project=card.project,
        permissions=tuple(sorted(call.caller.permissions)),
        expires_at_ms=card.expires_at_ms,
        account=card.account,
        name=account.name if account else "",
        grants=account.grants if account else (card.grant,),
    )


async def sign_out(platform: Platform, call: Call) -> Answer:
    """Give up the token in use: it is not accepted any more."""
    return done(await platform.ask(RevokeToken(caller=call.caller, token=call.caller.id)))


async def leave(platform: Platform, call: Call) -> Response:
    """Sign a browser out, and go to the page that says how to sign in."""
    await platform.ask(RevokeToken(caller=call.caller, token=call.caller.id))
    answer = _go_to_first_page()
    platform.sessions.take_away(answer)
    return answer


async def sign_in_link(platform: Platform, call: Call) -> SignInLink:
    """Make a link that signs a browser in as the caller."""
    ticket = platform.sessions.new_ticket(call.caller, platform.clock.now_ms())
    return SignInLink(path=f"/login?ticket={ticket}")


async def redeem_link(platform: Platform, call: Call) -> Response:
    """Trade a ticket for a session, and go to the first page (which says so when the ticket was worth nothing)."""
    now_ms, lives = platform.clock.now_ms(), platform.settings.sessions
    caller = platform.sessions.redeem(call.text("ticket"), now_ms)
    answer = _go_to_first_page()
    if caller is not None:
        request = OpenSession(caller=caller, expires_at_ms=now_ms + lives.longest_ms, idle_ms=lives.idle_ms)
        opened = await platform.ask(request)
        if isinstance(opened, TokenIssuedOnce):
            platform.sessions.give(answer, opened.text, lives.longest_ms)
    return answer


async def by_password(platform: Platform, call: Call) -> Answer:
    """Make a token for whoever knows the password of a local account: the way in when the provider is down."""
    if not platform.settings.local_accounts:
        raise problem(403, "local-accounts-off", "Local accounts are off here.")
    account = await _account_of(platform, call)
    grant = account.grants[0]
    request = SignIn(
        account=account.id,
        kind=AccountKind.LOCAL,
        name=account.name,
        grants=account.grants,
        grant=grant,
        token_kind=TokenKind.BEARER,
        expires_at_ms=platform.clock.now_ms() + platform.settings.tokens.signed_in_ms,
    )
    issued = done(await platform.ask(request))
    # It is for emergencies, so whoever reads the log should see it.
    log.warning("local account signed in account=%s grant=%s", account.id, grant)
    return issued


async def _account_of(platform: Platform, call: Call) -> Account:
    """The local account whose password was given. Raises the same problem for a wrong password and an unknown name."""
    given = read_struct(call, Credentials)
    now_ms = platform.clock.now_ms()
    wait_ms = platform.backoff.wait_ms(given.name, now_ms) or platform.admission.count_failure(call.request)
    if wait_ms:
        raise too_many("too-many-failures", "There were too many failures to sign in.", wait_ms)
    found = platform.control.memory.accounts.named(given.name)
    account = found if found is not None and found.kind is AccountKind.LOCAL else None
    # Counted before it is checked, so that many tries at once are not one.
    platform.backoff.failed(given.name, now_ms)
    if not await _is_right(platform, given.password, account.password_hash if account else "") or account is None:
        raise problem(401, "wrong-password", "There is no local account with this name and password.")
    platform.backoff.succeeded(given.name)
    return account


async def _is_right(platform: Platform, password: str, password_hash: str) -> bool:
    try:
        return await platform.passwords.is_right(password, password_hash)
    except TooBusy:
        raise too_busy() from None


def _go_to_first_page() -> RedirectResponse:
    return RedirectResponse("/", 303, SECURITY_HEADERS)
