"""Judges an ID token: a flat list of reasons not to believe it. No wire, no clock: keys and time are arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import extract_compact
from msgspec import Struct

from dure.identity.answers import Disbelief, NotBelieved

SKEW_S = 60
"""How far the provider's clock may be from ours."""
OLDEST_S = 600
"""An ID token is used at once; one that was issued longer ago was kept by somebody."""
LARGEST_ID_TOKEN = 64 * 1024

_KEYS: dict[str, type[RSAKey] | type[ECKey] | type[OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_ALGORITHMS = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "EC": frozenset({"ES256", "ES384", "ES512"}),
    "OKP": frozenset({"Ed25519"}),
}
"""The signatures that are believed, by kind of key: never `none`, and never one that is made with a shared secret."""
_TYPES = frozenset({"", "JWT"})
"""Other tokens of the same provider (for access, for logout) say what they are, and are not ID tokens."""


class Expected(Struct, frozen=True, kw_only=True):
    """What an ID token must say to be meant for us, now."""

    issuer: str
    client_id: str
    nonce: str | None
    """None where the browser was not sent with one: the device flow has none."""
    now_s: int


def key_id_of(id_token: str) -> str:
    """Which key a token says it is signed with; empty when it does not say. Raises `NotBelieved`."""
    return str(_header_of(id_token).get("kid", ""))


def judged(id_token: str, keys: Sequence[Mapping[str, Any]], expected: Expected) -> dict[str, Any]:
    """The claims of an ID token that is signed by one of these keys and meant for us. Raises `NotBelieved`."""
    header = _header_of(id_token)
    if header.get("typ", "") not in _TYPES:
        raise NotBelieved(Disbelief.MALFORMED)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or not any(algorithm in each for each in _ALGORITHMS.values()):
        raise NotBelieved(Disbelief.ALGORITHM)
    candidates = [each for each in keys if _may_have_signed(each, header)]
    if not candidates:
        raise NotBelieved(Disbelief.UNKNOWN_KEY)
    claims = _claims_signed_by(candidates, id_token, algorithm)
    why = _disbelief(claims, expected)
    if why is not None:
        raise NotBelieved(why)
    return claims


def _header_of(id_token: str) -> dict[str, Any]:
    if len(id_token) > LARGEST_ID_TOKEN or id_token.count(".") != 2:
        raise NotBelieved(Disbelief.MALFORMED)
    try:
        header = extract_compact(id_token.encode()).headers()
    except (JoseError, ValueError) as error:
        raise NotBelieved(Disbelief.MALFORMED) from error
    if not isinstance(header, dict) or "crit" in header:
        # We understand no extension, so a token that demands one is not for us.
        raise NotBelieved(Disbelief.MALFORMED)
    return header


def _may_have_signed(key: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    """The right kind of key for the algorithm, for signing, and the one that is named if one is."""
    is_right_kind = header["alg"] in _ALGORITHMS.get(str(key.get("kty")), ())
    is_for_signing = key.get("use", "sig") == "sig" and key.get("alg", header["alg"]) == header["alg"]
    return is_right_kind and is_for_signing and header.get("kid", key.get("kid")) == key.get("kid")


def _claims_signed_by(keys: Iterable[Mapping[str, Any]], id_token: str, algorithm: str) -> dict[str, Any]:
    for key in keys:
        try:
            imported = _KEYS[str(key["kty"])].import_key(dict(key))
            claims = jwt.decode(id_token, imported, algorithms=[algorithm]).claims
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if isinstance(claims, dict):
            return claims
    raise NotBelieved(Disbelief.SIGNATURE)


def _disbelief(claims: Mapping[str, Any], expected: Expected) -> Disbelief | None:
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    expires_s, issued_s, begins_s = claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)
    if claims.get("iss") != expected.issuer:
        return Disbelief.ISSUER
    if expected.client_id not in audiences:
        return Disbelief.AUDIENCE
    if claims.get("azp", expected.client_id) != expected.client_id or (len(audiences) > 1 and "azp" not in claims):
        return Disbelief.AUDIENCE
    if not (_is_time(expires_s) and _is_time(issued_s) and _is_time(begins_s)):
        return Disbelief.MALFORMED
    if expires_s <= expected.now_s - SKEW_S:
        return Disbelief.EXPIRED
    if max(issued_s, begins_s) > expected.now_s + SKEW_S:
        return Disbelief.NOT_YET
    if issued_s < expected.now_s - OLDEST_S:
        return Disbelief.TOO_OLD
    if expected.nonce is not None and claims.get("nonce") != expected.nonce:
        return Disbelief.NONCE
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        return Disbelief.NO_SUBJECT
    return None


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
