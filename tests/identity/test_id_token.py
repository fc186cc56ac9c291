"""An ID token is believed only when the provider signed it, for us, now, and for this browser."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from dure.control.access import Grant, Role
from dure.identity.answers import Disbelief, NotBelieved, grants_of
from dure.identity.id_token import OLDEST_S, SKEW_S, Expected, judged
from dure.identity.settings import GroupRole

NOW_S = 1_760_000_000
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OKP = OKPKey.generate_key("Ed25519", {"kid": "okp"})
KEYS = [key.as_dict(private=False) for key in (RSA, EC, OKP)]
EXPECTED = Expected(issuer="https://id.example.kr", client_id="dure", nonce="n", now_s=NOW_S)
CLAIMS = {
    "iss": "https://id.example.kr",
    "aud": "dure",
    "sub": "ada",
    "nonce": "n",
    "iat": NOW_S - 5,
    "exp": NOW_S + 300,
}


def signed(claims: dict[str, Any] | None = None, key: Any = RSA, algorithm: str = "RS256", **header: Any) -> str:
    headers = {"alg": algorithm, "kid": key.kid} | header
    return jwt.encode(headers, claims or CLAIMS, key, algorithms=[algorithm])


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def why_not(token: str, expected: Expected = EXPECTED, keys: list[dict[str, Any]] | None = None) -> Disbelief:
    with pytest.raises(NotBelieved) as caught:
        judged(token, KEYS if keys is None else keys, expected)
    return caught.value.why


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (OKP, "Ed25519")],
    ids=["RS256", "PS256", "ES256", "Ed25519"],
)
def test_what_the_provider_signed_is_believed(key: Any, algorithm: str) -> None:
    assert judged(signed(key=key, algorithm=algorithm), KEYS, EXPECTED)["sub"] == "ada"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"iss": "https://id.example.kr/"}, Disbelief.ISSUER),
        ({"iss": "https://elsewhere.example"}, Disbelief.ISSUER),
        ({"aud": "somebody-else"}, Disbelief.AUDIENCE),
        ({"aud": ["dure", "somebody-else"]}, Disbelief.AUDIENCE),
        ({"aud": []}, Disbelief.AUDIENCE),
        ({"aud": {"dure": 1}}, Disbelief.AUDIENCE),
        ({"azp": "somebody-else"}, Disbelief.AUDIENCE),
        ({"exp": NOW_S - SKEW_S}, Disbelief.EXPIRED),
        ({"exp": "never"}, Disbelief.MALFORMED),
        ({"iat": NOW_S + SKEW_S + 1}, Disbelief.NOT_YET),
        ({"nbf": NOW_S + SKEW_S + 1}, Disbelief.NOT_YET),
        ({"nbf": "soon"}, Disbelief.MALFORMED),
        ({"iat": NOW_S - OLDEST_S - 1}, Disbelief.TOO_OLD),
        ({"nonce": "another"}, Disbelief.NONCE),
        ({"nonce": None}, Disbelief.NONCE),
        ({"sub": ""}, Disbelief.NO_SUBJECT),
        ({"sub": 7}, Disbelief.NO_SUBJECT),
    ],
    ids=str,
)
def test_each_claim_that_is_wrong_is_reason_enough(change: dict[str, Any], why: Disbelief) -> None:
    assert why_not(signed(CLAIMS | change)) is why


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "nonce", "iat", "exp"])
def test_each_claim_that_is_missing_is_reason_enough(missing: str) -> None:
    why_not(signed({name: value for name, value in CLAIMS.items() if name != missing}))


@pytest.mark.parametrize("skew_s", [-SKEW_S, SKEW_S])
def test_clocks_may_differ_by_a_minute(skew_s: int) -> None:
    shifted = {"iat": NOW_S + skew_s, "exp": NOW_S + skew_s + 1}
    judged(signed(CLAIMS | shifted), KEYS, EXPECTED)


def test_several_audiences_are_fine_when_the_token_was_made_for_us() -> None:
    judged(signed(CLAIMS | {"aud": ["dure", "somebody-else"], "azp": "dure"}), KEYS, EXPECTED)


def test_a_shared_secret_signs_nothing() -> None:
    """The public key, which everybody has, must never be taken for a secret."""
    for secret in (RSA.as_pem(private=False), b"dure", b"\0" * 32):
        text = f"{encoded({'alg': 'HS256', 'kid': 'rsa'})}.{encoded(CLAIMS)}"
        mac = hmac.digest(secret, text.encode(), "sha256")
        token = f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        assert why_not(token) is Disbelief.ALGORITHM
        assert why_not(token, keys=[{"kty": "oct", "k": "ZHVyZQ", "kid": "rsa"}]) is Disbelief.ALGORITHM


def test_a_key_signs_only_with_algorithms_of_its_kind_and_use() -> None:
    token = signed()
    assert why_not(token, keys=[EC.as_dict(private=False) | {"kid": "rsa"}]) is Disbelief.UNKNOWN_KEY
    assert why_not(token, keys=[RSA.as_dict(private=False) | {"use": "enc"}]) is Disbelief.UNKNOWN_KEY
    assert why_not(token, keys=[RSA.as_dict(private=False) | {"alg": "PS256"}]) is Disbelief.UNKNOWN_KEY
    assert why_not(token, keys=[]) is Disbelief.UNKNOWN_KEY
    assert why_not(token, keys=[{"kty": "RSA", "kid": "rsa"}]) is Disbelief.SIGNATURE


def test_another_key_of_the_same_name_does_not_do() -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "rsa"})
    assert why_not(signed(key=stranger)) is Disbelief.SIGNATURE


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"typ": "at+jwt"}, {"typ": "logout+jwt"}], ids=str)
def test_a_token_of_another_kind_is_none(header: dict[str, Any]) -> None:
    head = encoded({"alg": "RS256", "kid": "rsa"} | header)
    assert why_not(f"{head}.{signed().partition('.')[2]}") is Disbelief.MALFORMED


@given(
    st.text(max_size=200)
    | st.builds(lambda parts: ".".join(parts), st.lists(st.text(max_size=60), min_size=3, max_size=3))
)
def test_nothing_made_up_is_believed_or_breaks_anything(text: str) -> None:
    with pytest.raises(NotBelieved):
        judged(text, KEYS, EXPECTED)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_altered_byte_is_believed(position: int, flip: int) -> None:
    raw = bytearray(signed().encode())
    raw[position % len(raw)] ^= flip
    try:
        altered = raw.decode()
    except UnicodeDecodeError:
        return
    try:
        claims = judged(altered, KEYS, EXPECTED)
    except NotBelieved:
        return
    # The last character of a base64 text has bits that mean nothing.
    assert claims == CLAIMS


def test_groups_mean_the_roles_of_the_file_in_its_order_and_of_organisations_that_exist() -> None:
    roles = [
        GroupRole(group="office", grant=Grant(role=Role.OPERATOR)),
        GroupRole(group="hanbit", grant=Grant(role=Role.MEMBER, organisation="hanbit")),
        GroupRole(group="startups", grant=Grant(role=Role.MEMBER, organisation="hanbit")),
        GroupRole(group="gone", grant=Grant(role=Role.MEMBER, organisation="gone")),
    ]
    known = frozenset({"hanbit"})
    assert grants_of(("startups", "hanbit", "gone", "office"), roles, known) == (roles[0].grant, roles[1].grant)
    assert grants_of((), roles, known) == ()
    assert grants_of(("OFFICE", "office ", "gone"), roles, known) == ()
