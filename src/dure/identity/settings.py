"""The identity file: how people sign in, what their groups mean, how long tokens live, how much anybody may ask."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from dure.control.access import ROLES_IN_ORGANISATIONS, Grant, Role
from dure.intake.documents import read_yaml
from dure.intake.fields import Entry, Problems, choice, duration, flag, listing, name, text, title, whole_number
from dure.intake.refusals import BadInput
from dure.model.units import DAY_MS, HOUR_MS, MINUTE_MS

MOST_ROLES = 10_000
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_SECTIONS = ("public_url", "provider", "roles", "local_accounts", "tokens", "sessions", "limits")
_PROVIDER = ("issuer", "client_id", "client_secret_file", "scopes", "groups_claim", "title")
_ROLE = ("group", "role", "organisation")
_TOKENS = ("usual", "longest", "signed_in")
_SESSIONS = ("idle", "longest")
_LIMITS = ("token", "organisation", "operator")

_TOKEN_LIFE = duration(MINUTE_MS, 3660 * DAY_MS, "between 1m and 3660d")
_SESSION_LIFE = duration(MINUTE_MS, 30 * DAY_MS, "between 1m and 30d")
_PER_SECOND = whole_number(0, 1_000_000)


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """An OpenID Connect provider, and what Dure is registered as there."""

    issuer: str
    client_id: str
    client_secret: str = ""
    """Read from a file; empty for a public client, which PKCE protects."""
    scopes: tuple[str, ...] = ("openid", "profile")
    groups_claim: str = "groups"
    title: str = ""
    """What people call it; shown on the sign-in page."""

    def __repr__(self) -> str:
        """Everything but the secret, so that no log ever shows it."""
        return f"ProviderSettings(issuer={self.issuer!r}, client_id={self.client_id!r})"


class GroupRole(Struct, frozen=True, kw_only=True):
    """Whoever is in `group` at the provider has this role."""

    group: str
    grant: Grant


class TokenLives(Struct, frozen=True, kw_only=True):
    """How long bearer tokens are accepted: unless said otherwise, at most, and those of `dure login`."""

    usual_ms: int = 90 * DAY_MS
    longest_ms: int = 365 * DAY_MS
    signed_in_ms: int = 12 * HOUR_MS


class SessionLives(Struct, frozen=True, kw_only=True):
    """How long a browser stays signed in: without use, and at most."""

    idle_ms: int = HOUR_MS
    longest_ms: int = 12 * HOUR_MS


class RateLimits(Struct, frozen=True, kw_only=True):
    """Requests, and jobs of a batch, a second; ten times as many at once. 0 is no limit."""

    token: int = 2_000
    """For each token of an organisation."""
    organisation: int = 5_000
    """For all tokens of an organisation together."""
    operator: int = 0
    """For each token that is for no organisation."""


class IdentitySettings(Struct, frozen=True, kw_only=True):
    """Everything in the identity file; without one, nobody signs in but by tokens."""

    public_url: str = ""
    """Where browsers reach the platform; what it listens on when empty."""
    provider: ProviderSettings | None = None
    roles: tuple[GroupRole, ...] = ()
    local_accounts: bool = False
    tokens: TokenLives = TokenLives()
    sessions: SessionLives = SessionLives()
    limits: RateLimits = RateLimits()


def read_identity_file(path: Path) -> IdentitySettings:
    """The settings in a file. Raises `BadInput` with all that is wrong, and `OSError` if it cannot be read."""
    problems = Problems()
    entry = Entry(problems, "", read_yaml(path.read_text("utf-8")), _SECTIONS)

    def provider(problems: Problems, field: str, value: object) -> ProviderSettings:
        return _provider(problems, field, value, path.parent)

    no_provider: ProviderSettings | None = None
    settings = IdentitySettings(
        public_url=entry.optional("public_url", _address, ""),
        provider=entry.optional("provider", provider, no_provider),
        roles=entry.optional("roles", _roles, ()),
        local_accounts=entry.optional("local_accounts", flag, False),
        tokens=entry.optional("tokens", _tokens, TokenLives()),
        sessions=entry.optional("sessions", _sessions, SessionLives()),
        limits=entry.optional("limits", _limits, RateLimits()),
    )
    if settings.provider and not settings.roles:
        problems.add_missing("roles", "say which groups have which role; without any, nobody may do anything")
    problems.raise_if_any()
    return settings


def read_secret_file(path: Path) -> str:
    """A secret in a file that only its owner may read. Raises `BadInput` or `OSError`."""
    problems = Problems()
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        problems.add_about_field(str(path), f"can be read by other users (mode {mode:o})", f"run: chmod 600 {path}")
    secret = path.read_text("utf-8").strip()
    if not secret:
        problems.add_about_field(str(path), "is empty", "write the secret into it")
    problems.raise_if_any()
    return secret


def is_safe(url: str) -> bool:
    """True for https, and for plain http that never leaves this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def _provider(problems: Problems, field: str, value: object, folder: Path) -> ProviderSettings:
    entry = Entry(problems, field, value, _PROVIDER)
    secret_file = entry.optional("client_secret_file", text, "")
    return ProviderSettings(
        issuer=entry.required("issuer", _issuer, "add the provider's issuer, like https://id.example.kr", ""),
        client_id=entry.required("client_id", text, "add the client id that Dure has at the provider", ""),
        client_secret=_secret(problems, f"{field}.client_secret_file", folder / secret_file) if secret_file else "",
        scopes=entry.optional("scopes", _scopes, ("openid", "profile")),
        groups_claim=entry.optional("groups_claim", title, "groups"),
        title=entry.optional("title", title, ""),
    )


def _secret(problems: Problems, field: str, path: Path) -> str:
    try:
        return read_secret_file(path)
    except BadInput as bad:
        problems.extend(bad.problems)
    except (OSError, UnicodeDecodeError) as error:
        problems.add_about_field(field, f"{path} cannot be read ({error})", "name a file that holds the secret")
    return ""


def _issuer(problems: Problems, field: str, value: object) -> str:
    # The issuer is compared as it is, so it is not tidied up as other addresses are.
    issuer = text(problems, field, value, longest=500)
    _refuse_unsafe(problems, field, issuer)
    return issuer


def _address(problems: Problems, field: str, value: object) -> str:
    url = text(problems, field, value, longest=500).rstrip("/")
    _refuse_unsafe(problems, field, url)
    if urlsplit(url).path:
        problems.add(field, value, "must be an address without a path", "write it like https://dure.example.kr")
    return url


def _refuse_unsafe(problems: Problems, field: str, url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        is_complete = bool(parts.hostname) and not (parts.query or parts.fragment or parts.username)
    except ValueError:
        is_complete = False
    if not is_complete:
        problems.add(field, url, "is not an address", "write it like https://id.example.kr")
    elif not is_safe(url):
        problems.add(field, url, "must start with https://", "plain http is for this machine only")


def _scopes(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    scopes = tuple(listing(problems, field, value, title, 50))
    if scopes and "openid" not in scopes:
        problems.add(field, value, "must have openid", "add it: without it there is no identity")
    return scopes


def _roles(problems: Problems, field: str, value: object) -> tuple[GroupRole, ...]:
    return tuple(listing(problems, field, value, _role, MOST_ROLES))


def _role(problems: Problems, field: str, value: object) -> GroupRole:
    entry = Entry(problems, field, value, _ROLE)
    group = entry.required("group", title, "add the group's name at the provider", "")
    role = entry.required("role", choice(Role), "add the role that its people have", Role.MEMBER)
    organisation = entry.optional("organisation", name, "")
    if role in ROLES_IN_ORGANISATIONS and not organisation:
        problems.add_missing(f"{field}.organisation", f"the role {role.value} is for one organisation; name it")
    elif organisation and role not in ROLES_IN_ORGANISATIONS:
        problems.add(
            f"{field}.organisation", organisation, f"the role {role.value} is for no organisation; leave it out"
        )
    return GroupRole(group=group, grant=Grant(role=role, organisation=organisation))


def _tokens(problems: Problems, field: str, value: object) -> TokenLives:
    entry, default = Entry(problems, field, value, _TOKENS), TokenLives()
    lives = TokenLives(
        usual_ms=entry.optional("usual", _TOKEN_LIFE, default.usual_ms),
        longest_ms=entry.optional("longest", _TOKEN_LIFE, default.longest_ms),
        signed_in_ms=entry.optional("signed_in", _TOKEN_LIFE, default.signed_in_ms),
    )
    if max(lives.usual_ms, lives.signed_in_ms) > lives.longest_ms:
        problems.add_about_field(f"{field}.longest", "is shorter than another life here", "make it the longest")
    return lives


def _sessions(problems: Problems, field: str, value: object) -> SessionLives:
    entry, default = Entry(problems, field, value, _SESSIONS), SessionLives()
    return SessionLives(
        idle_ms=entry.optional("idle", _SESSION_LIFE, default.idle_ms),
        longest_ms=entry.optional("longest", _SESSION_LIFE, default.longest_ms),
    )


def _limits(problems: Problems, field: str, value: object) -> RateLimits:
    entry, default = Entry(problems, field, value, _LIMITS), RateLimits()
    return RateLimits(
        token=entry.optional("token", _PER_SECOND, default.token),
        organisation=entry.optional("organisation", _PER_SECOND, default.organisation),
        operator=entry.optional("operator", _PER_SECOND, default.operator),
    )
