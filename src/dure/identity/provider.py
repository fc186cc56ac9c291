"""Speaks OpenID Connect with the provider: discovery, authorization code with PKCE, device code, and its keys.

What the provider says is checked before it is believed (`dure.identity.id_token`), and nothing of it is kept but who
somebody is and which groups they are in. The provider may be down when the platform starts: it is asked when needed.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import msgspec
from msgspec import Struct

from dure.control.ports import Clock
from dure.identity.answers import DeviceCode, Pending, Person, ProviderRefused, ProviderUnreachable
from dure.identity.id_token import Expected, judged, key_id_of
from dure.identity.settings import LOOPBACK, ProviderSettings, is_safe
from dure.model.units import HOUR_MS, SECOND_MS

log = logging.getLogger("dure.access")

TIMEOUT_S = 10.0
LARGEST_ANSWER = 1 << 20
DISCOVERED_FOR_MS = 24 * HOUR_MS
KEYS_KEPT_MS = HOUR_MS
KEYS_ASKED_AGAIN_MS = SECOND_MS
"""An unknown key has the provider's keys fetched anew, but not more often: anybody can make up a key's name."""
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_STILL_WAITING = {"authorization_pending": 0, "slow_down": 5}


class Endpoints(Struct, frozen=True, kw_only=True):
    """Where the provider is asked for what, from its discovery document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    device_authorization_endpoint: str = ""


class Provider:
    """One OpenID Connect provider."""

    def __init__(self, settings: ProviderSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._endpoints: Endpoints | None = None
        self._discovered_at_ms = 0
        self._keys: Sequence[Mapping[str, Any]] = ()
        self._keys_at_ms = 0
        # Proxies of the environment are for the world outside; a provider on this machine is reached directly.
        is_here = urlsplit(settings.issuer).hostname in LOOPBACK
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=not is_here)

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def authorization_url(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent. Raises `ProviderUnreachable`."""
        endpoints = await self._discover()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
        }
        separator = "&" if urlsplit(endpoints.authorization_endpoint).query else "?"
        return f"{endpoints.authorization_endpoint}{separator}{urlencode(query)}"

    async def person_of_code(self, code: str, redirect_uri: str, nonce: str, verifier: str) -> Person:
        """Who a browser came back as. Raises `ProviderRefused`, `ProviderUnreachable` or `NotBelieved`."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        endpoints = await self._discover()
        return await self._person(await self._post(endpoints.token_endpoint, form), nonce)

    async def begin_device(self) -> DeviceCode:
        """Ask for a code with which somebody can sign a device in. Raises as `person_of_code`."""
        endpoints = await self._discover()
        if not endpoints.device_authorization_endpoint:
            raise ProviderRefused("unsupported_grant_type")
        scopes = {"scope": " ".join(self.settings.scopes)}
        answer = await self._post(endpoints.device_authorization_endpoint, scopes)
        try:
            return msgspec.convert(answer, DeviceCode)
        except msgspec.ValidationError as error:
            raise ProviderUnreachable(f"its device code cannot be read ({error})") from None

    async def person_of_device(self, device_code: str) -> Person | Pending:
        """Who signed a device in, once they have. Raises as `person_of_code`."""
        endpoints = await self._discover()
        form = {"grant_type": DEVICE_GRANT, "device_code": device_code}
        try:
            answer = await self._post(endpoints.token_endpoint, form)
        except ProviderRefused as refused:
            if refused.code in _STILL_WAITING:
                return Pending(longer_by_s=_STILL_WAITING[refused.code])
            raise
        return await self._person(answer, nonce=None)

    async def _person(self, answer: Mapping[str, Any], nonce: str | None) -> Person:
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise ProviderUnreachable("its answer has no ID token; is `openid` among the scopes?")
        expected = Expected(
            issuer=self.settings.issuer,
            client_id=self.settings.client_id,
            nonce=nonce,
            now_s=self._clock.now_ms() // 1000,
        )
        claims = judged(id_token, await self._keys_for(key_id_of(id_token)), expected)
        return Person(
            issuer=self.settings.issuer,
            subject=claims["sub"],
            name=_name_in(claims),
            groups=_groups_in(claims.get(self.settings.groups_claim)),
        )

    async def _discover(self) -> Endpoints:
        now_ms = self._clock.now_ms()
        if self._endpoints is not None and now_ms < self._discovered_at_ms + DISCOVERED_FOR_MS:
            return self._endpoints
        document = await self._get(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            endpoints = msgspec.convert(document, Endpoints)
        except msgspec.ValidationError as error:
            raise ProviderUnreachable(f"its discovery document cannot be used ({error})") from None
        if endpoints.issuer != self.settings.issuer:
            raise ProviderUnreachable(f"it calls itself {endpoints.issuer}, not {self.settings.issuer}")
        if not all(
            is_safe(getattr(endpoints, name)) for name in Endpoints.__struct_fields__ if getattr(endpoints, name)
        ):
            raise ProviderUnreachable("its discovery document has an address that is not https")
        self._endpoints, self._discovered_at_ms = endpoints, now_ms
        return endpoints

    async def _keys_for(self, key_id: str) -> Sequence[Mapping[str, Any]]:
        """The provider's keys; fetched anew when they are old, or when one is named that they do not have."""
        age_ms = self._clock.now_ms() - self._keys_at_ms
        has_it = bool(self._keys) and (not key_id or any(each.get("kid") == key_id for each in self._keys))
        if age_ms > KEYS_KEPT_MS or (not has_it and age_ms > KEYS_ASKED_AGAIN_MS):
            endpoints = await self._discover()
            keys = (await self._get(endpoints.jwks_uri)).get("keys")
            self._keys = [each for each in keys if isinstance(each, dict)] if isinstance(keys, list) else ()
            self._keys_at_ms = self._clock.now_ms()
        return self._keys

    async def _get(self, url: str) -> dict[str, Any]:
        return await self._answer("GET", url, None)

    async def _post(self, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        settings = self.settings
        if not settings.client_secret:
            return await self._answer("POST", url, {**form, "client_id": settings.client_id})
        # RFC 6749 has both escaped before they become a user and a password.
        secret = httpx.BasicAuth(quote(settings.client_id, safe=""), quote(settings.client_secret, safe=""))
        return await self._answer("POST", url, form, secret)

    async def _answer(
        self, method: str, url: str, form: Mapping[str, str] | None, secret: httpx.BasicAuth | None = None
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        try:
            async with self._http.stream(method, url, data=form, headers=headers, auth=secret) as answer:
                body = await _read(answer)
        except httpx.HTTPError as error:
            raise ProviderUnreachable(f"{url}: {type(error).__name__} {error}") from None
        try:
            value = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise ProviderUnreachable(f"{url}: its answer ({answer.status_code}) is not JSON") from None
        if not isinstance(value, dict):
            raise ProviderUnreachable(f"{url}: its answer is not an object")
        if answer.status_code in (400, 401, 403):
            raise ProviderRefused(str(value.get("error", answer.status_code))[:100])
        if not answer.is_success:
            raise ProviderUnreachable(f"{url}: it answered {answer.status_code}")
        return value


async def _read(answer: httpx.Response) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.aiter_bytes():
        size += len(chunk)
        if size > LARGEST_ANSWER:
            raise ProviderUnreachable(f"{answer.url}: its answer is larger than {LARGEST_ANSWER >> 20} MiB")
        chunks.append(chunk)
    return b"".join(chunks)


def _challenge(verifier: str) -> str:
    """PKCE's S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _name_in(claims: Mapping[str, Any]) -> str:
    """What people call somebody: for those who list accounts, and kept where it can be erased."""
    names = (claims.get(each) for each in ("name", "preferred_username", "email"))
    return next((each[:200] for each in names if isinstance(each, str) and each), "")


def _groups_in(claim: object) -> tuple[str, ...]:
    """A claim with one group or several. Anything else is no group at all."""
    if isinstance(claim, str):
        return (claim,)
    return tuple(each for each in claim if isinstance(each, str)) if isinstance(claim, list) else ()
