"""Operations by which people sign in at the identity provider: browsers by redirect, the command line by device code.

What a browser must bring back (state, nonce, PKCE verifier) is sealed in a cookie of its own, so that an answer of the
provider is good in the browser that asked for it, within ten minutes, once, and nowhere else.
"""

from __future__ import annotations

import base64
import hmac
import logging
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dure.api.bodies import read_struct
from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.problems import SECURITY_HEADERS, ProblemRaised, problem
from dure.api.replies import done
from dure.control.access import Grant, Role
from dure.control.accounts import AccountKind
from dure.control.granting import account_id
from dure.control.ports import Clock, RandomBytes
from dure.control.requests import SignIn, TokenIssuedOnce
from dure.control.tokens import TokenKind
from dure.identity.answers import NotBelieved, Pending, Person, ProviderRefused, ProviderUnreachable, grants_of
from dure.model.units import MINUTE_MS, SECOND_MS

if TYPE_CHECKING:
    from dure.identity.provider import Provider

log = logging.getLogger("dure.access")

CALLBACK = "/login/callback"
ATTEMPT_COOKIE = "dure_sign_in"
ATTEMPT_LIVES_MS = 10 * MINUTE_MS
MOST_USED = 10_000
_ATTEMPT, _DEVICE = "sign-in attempt", "device sign-in"
T = TypeVar("T", bound=Struct)

# The session is `SameSite=Strict`: a browser that comes from the provider does not send it until a page of ours has it
# go on.
ARRIVED = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Dure</title><meta http-equiv="refresh" content="0;url=/"></head>
<body><p>Signed in. <a href="/">Go on</a></p><p lang="ko">로그인되었습니다. <a href="/">계속</a></p></body></html>
"""


class Attempt(Struct, frozen=True, kw_only=True):
    """A browser's way to the provider and back."""

    state: str
    nonce: str
    verifier: str
    role: str
    organisation: str
    until_ms: int


class DeviceAttempt(Struct, frozen=True, kw_only=True):
    """A device that waits for its owner."""

    device_code: str
    until_ms: int


class DeviceSignIn(Struct, frozen=True, kw_only=True):
    """What to show the owner of a device, and what to ask again with, every so many seconds."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_at_ms: int
    interval_s: int
    handle: str


class DeviceQuestion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The handle of a sign-in, and which of several roles is wanted; the first unless said."""

    handle: str
    role: Role | None = None
    organisation: str = ""


class DeviceAnswer(Struct, frozen=True, kw_only=True):
    """The token, once the owner has signed in; until then, how many seconds more to wait between questions."""

    issued: TokenIssuedOnce | None = None
    wait_longer_s: int = 0


class ProviderSignIn:
    """Signs people in at one provider. Remembers which attempts were used, so that none is used twice."""

    def __init__(self, provider: Provider, public_url: str, random: RandomBytes, clock: Clock) -> None:
        self.provider = provider
        self.redirect_uri = public_url + CALLBACK
        self.random = random
        self.is_secure = public_url.startswith("https://")
        self.cookie = f"__Host-{ATTEMPT_COOKIE}" if self.is_secure else ATTEMPT_COOKIE
        self._clock = clock
        self._used: dict[str, int] = {}

    def new_attempt(self, role: str, organisation: str) -> Attempt:
        """A way to the provider and back that nobody can guess."""
        until_ms = self._clock.now_ms() + ATTEMPT_LIVES_MS
        state, nonce, verifier = (base64.urlsafe_b64encode(self.random(36)).decode() for _ in range(3))
        return Attempt(
            state=state, nonce=nonce, verifier=verifier, role=role, organisation=organisation, until_ms=until_ms
        )

    def use(self, attempt: Attempt, state: str) -> bool:
        """True when this is the way back of this attempt, in time and for the first time."""
        now_ms = self._clock.now_ms()
        is_its = hmac.compare_digest(attempt.state.encode(), state.encode())
        if not is_its or attempt.until_ms <= now_ms or attempt.state in self._used:
            return False
        self._used = {each: until_ms for each, until_ms in self._used.items() if until_ms > now_ms}
        while len(self._used) >= MOST_USED:
            del self._used[next(iter(self._used))]
        self._used[attempt.state] = attempt.until_ms
        return True


async def go_to_provider(platform: Platform, call: Call) -> Response:
    """Send a browser to the identity provider."""
    flow = _flow(platform)
    platform.admission.limit_sign_ins(call.request)
    attempt = flow.new_attempt(call.text("role"), call.text("organisation"))
    try:
        url = await flow.provider.authorization_url(flow.redirect_uri, attempt.state, attempt.nonce, attempt.verifier)
    except ProviderUnreachable as error:
        return _turned_away(platform, call, "provider-unreachable", str(error))
    answer = RedirectResponse(url, 303, SECURITY_HEADERS)
    # Lax, because the way back is a navigation that another site began.
    answer.set_cookie(
        flow.cookie,
        _sealed(platform, attempt, _ATTEMPT),
        max_age=ATTEMPT_LIVES_MS // 1000,
        httponly=True,
        samesite="lax",
        secure=flow.is_secure,
    )
    return answer


async def come_back(platform: Platform, call: Call) -> Response:
    """Take a browser back from the identity provider, and sign it in."""
    flow = _flow(platform)
    attempt = _opened(platform, call.request.cookies.get(flow.cookie, ""), Attempt, _ATTEMPT)
    if attempt is None or not flow.use(attempt, call.text("state")):
        return _turned_away(platform, call, "not-started", "its state is not that of this browser, too old, or used")
    if call.text("iss", flow.provider.settings.issuer) != flow.provider.settings.issuer:
        return _turned_away(platform, call, "not-believed", "another issuer answered")
    if not call.text("code"):
        return _turned_away(platform, call, "provider-refused", call.text("error")[:100])
    try:
        person = await flow.provider.person_of_code(
            call.text("code"), flow.redirect_uri, attempt.nonce, attempt.verifier
        )
        lives = platform.settings.sessions
        wish = (attempt.role, attempt.organisation)
        issued = await _sign_in(platform, person, wish, TokenKind.SESSION, lives.longest_ms, lives.idle_ms)
    except ProviderUnreachable as error:
        return _turned_away(platform, call, "provider-unreachable", str(error))
    except ProviderRefused as error:
        return _turned_away(platform, call, "provider-refused", error.code)
    except NotBelieved as error:
        return _turned_away(platform, call, "not-believed", error.why.value)
    except ProblemRaised as denied:
        return _turned_away(platform, call, "no-role", denied.problem.code)
    answer = HTMLResponse(ARRIVED, headers=SECURITY_HEADERS)
    answer.delete_cookie(flow.cookie, httponly=True, samesite="lax", secure=flow.is_secure)
    platform.sessions.give(answer, issued.text, lives.longest_ms)
    return answer


async def begin_device(platform: Platform, call: Call) -> DeviceSignIn:
    """Begin to sign in a device that has no browser: its owner opens an address elsewhere and types a code."""
    flow = _flow(platform)
    platform.admission.limit_sign_ins(call.request)
    try:
        code = await flow.provider.begin_device()
    except (ProviderUnreachable, ProviderRefused) as error:
        raise _provider_problem(error) from None
    until_ms = platform.clock.now_ms() + code.expires_in * SECOND_MS
    return DeviceSignIn(
        user_code=code.user_code,
        verification_uri=code.verification_uri,
        verification_uri_complete=code.verification_uri_complete,
        expires_at_ms=until_ms,
        interval_s=code.interval,
        handle=_sealed(platform, DeviceAttempt(device_code=code.device_code, until_ms=until_ms), _DEVICE),
    )


async def finish_device(platform: Platform, call: Call) -> DeviceAnswer:
    """Ask whether the owner of a device has signed in; if so, the answer has the token."""
    flow = _flow(platform)
    platform.admission.limit_sign_ins(call.request)
    asked = read_struct(call, DeviceQuestion)
    attempt = _opened(platform, asked.handle, DeviceAttempt, _DEVICE)
    if attempt is None or attempt.until_ms <= platform.clock.now_ms():
        raise problem(401, "device-code-expired", "Nobody signed in with this code in time; begin again.")
    try:
        person = await flow.provider.person_of_device(attempt.device_code)
    except (ProviderUnreachable, ProviderRefused, NotBelieved) as error:
        raise _provider_problem(error) from None
    if isinstance(person, Pending):
        return DeviceAnswer(wait_longer_s=person.longer_by_s)
    wish = (asked.role.value if asked.role else "", asked.organisation)
    lives_ms = platform.settings.tokens.signed_in_ms
    return DeviceAnswer(issued=await _sign_in(platform, person, wish, TokenKind.BEARER, lives_ms, idle_ms=0))


async def _sign_in(
    platform: Platform, person: Person, wish: tuple[str, str], kind: TokenKind, lives_ms: int, idle_ms: int
) -> TokenIssuedOnce:
    """A token for somebody whom the provider vouches for. Raises the problem of having no such role."""
    organisations = frozenset(each.name for each in platform.nation().organisations)
    grants = grants_of(person.groups, platform.settings.roles, organisations)
    request = SignIn(
        subject=account_id(platform.control.memory.vault.pseudonym("person", person.issuer, person.subject)),
        kind=AccountKind.PERSON,
        name=person.name,
        grants=grants,
        grant=_chosen(grants, wish),
        token_kind=kind,
        expires_at_ms=platform.clock.now_ms() + lives_ms,
        idle_ms=idle_ms,
    )
    issued = done(await platform.ask(request))
    assert isinstance(issued, TokenIssuedOnce), issued
    log.info("signed in account=%s token=%s grant=%s", issued.card.account, issued.card.id, request.grant)
    return issued


def _chosen(grants: tuple[Grant, ...], wish: tuple[str, str]) -> Grant:
    """The first role that is what was wished for; nobody acts in two roles at once."""
    role, organisation = wish
    for each in grants:
        if role in ("", each.role.value) and organisation in ("", each.organisation):
            return each
    if not grants:
        message = "You are known, but none of your groups has a role here; ask whoever keeps the identity file."
        raise problem(403, "no-role", message)
    have = ", ".join(str(each) for each in grants)
    raise problem(403, "role-not-granted", f"You do not have this role; you may be {have}.")


def _flow(platform: Platform) -> ProviderSignIn:
    if platform.provider_sign_in is None:
        message = "No identity provider is set up here; ask an operator for a token, or for a sign-in link."
        raise problem(409, "no-identity-provider", message)
    return platform.provider_sign_in


def _turned_away(platform: Platform, call: Call, code: str, detail: str) -> Response:
    """Back to the first page, which says why in the reader's language; the log says more."""
    platform.admission.note_failed_sign_in(call.request, code, detail)
    return RedirectResponse(f"/?refused={code}", 303, SECURITY_HEADERS)


def _provider_problem(error: Exception) -> ProblemRaised:
    match error:
        case ProviderRefused():
            log.warning("sign-in refused by the identity provider: %s", error.code)
            return problem(401, "provider-refused", f"The identity provider said no: {error.code}.")
        case NotBelieved():
            log.warning("an ID token was not believed: %s", error.why.value)
            return problem(401, error.why.value, "What the identity provider said cannot be believed.")
        case _:
            log.warning("the identity provider cannot be asked: %s", error)
            message = "The identity provider cannot be asked now; try again, or ask an operator for a token."
            return problem(503, "provider-unreachable", message, headers={"Retry-After": "5"})


def _sealed(platform: Platform, value: Struct, purpose: str) -> str:
    sealed = platform.control.memory.vault.seal(msgspec.json.encode(value), purpose)
    return base64.urlsafe_b64encode(sealed).decode()


def _opened(platform: Platform, text: str, kind: type[T], purpose: str) -> T | None:
    """What was sealed for this purpose, and no other: a device's handle is never taken for a browser's cookie."""
    try:
        opened = platform.control.memory.vault.open(base64.urlsafe_b64decode(text), purpose)
    except ValueError:
        return None
    return None if opened is None else msgspec.json.decode(opened, type=kind)
