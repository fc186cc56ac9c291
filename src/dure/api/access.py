"""Operations on tokens, secrets and the sign-in of browsers."""

from __future__ import annotations

import re

from msgspec import Struct
from starlette.responses import RedirectResponse, Response

from dure.api.bodies import OCTETS, media_type, read_struct, text_of, unsupported
from dure.api.operations import Call, bad_parameter
from dure.api.platform import Platform
from dure.api.problems import problem
from dure.api.replies import done
from dure.api.sessions import COOKIE, SESSION_LIVES_MS
from dure.control.access import Role, TokenCard
from dure.control.requests import Answer, IssueToken, RevokeToken, StoreSecret

LARGEST_SECRET = 64 * 1024
_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,126}")


class WantedToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token is to be for. A member's token names its organisation, the others none."""

    role: Role
    organisation: str = ""


class TokenList(Struct, frozen=True, kw_only=True):
    """Every token that is accepted now, oldest first; never their texts."""

    tokens: tuple[TokenCard, ...]


class SignInLink(Struct, frozen=True, kw_only=True):
    """Path of a link that signs a browser in as the caller, once, within ten minutes."""

    path: str


async def issue(platform: Platform, call: Call) -> Answer:
    """Make a token. Its text is in this answer and nowhere else."""
    wanted = read_struct(call, WantedToken)
    return done(await platform.ask(IssueToken(caller=call.caller, role=wanted.role, organisation=wanted.organisation)))


async def tokens(platform: Platform, _: Call) -> TokenList:
    """The tokens that are accepted now."""
    return TokenList(tokens=tuple(platform.control.memory.tokens.cards()))


async def revoke(platform: Platform, call: Call) -> Answer:
    """Accept a token no longer, nor the browsers that signed in with it."""
    return done(await platform.ask(RevokeToken(caller=call.caller, token=call.path("token"))))


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


async def sign_in_link(platform: Platform, call: Call) -> SignInLink:
    """Make a link that signs a browser in as the caller."""
    ticket = platform.sessions.new_ticket(call.caller, platform.clock.now_ms())
    return SignInLink(path=f"/login?ticket={ticket}")


async def sign_in(platform: Platform, call: Call) -> Response:
    """Trade a ticket for a session, and go to the first page (which says so when the ticket was worth nothing)."""
    cookie = platform.sessions.cookie_for(call.text("ticket"), platform.control.memory, platform.clock.now_ms())
    answer = RedirectResponse("/", 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    if cookie is not None:
        answer.set_cookie(
            COOKIE,
            cookie,
            max_age=SESSION_LIVES_MS // 1000,
            httponly=True,
            samesite="strict",
            secure=call.request.url.scheme == "https",
        )
    return answer
