"""A server, as somebody sees it who uses it: whether it answers, what it says of itself, and the token in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from urllib.parse import urlsplit

import msgspec

from dure.api.platform import Health
from dure.api.signing_in import Identity
from dure.doctor.findings import Finding, failure, warning, well
from dure.model.units import DAY_MS
from dure.reports.fleet import SitesReport

SKEW_MS = 2_000
TOKEN_DAYS = 7
_LOOPBACK = ("127.", "localhost", "::1")


class NoAnswer(Exception):
    """The server does not answer; the message is made for people."""


class NotSignedIn(Exception):
    """The server wants a token, or another one; the message is made for people."""


Get = Callable[[str], bytes]
"""The body at a path of the server. Raises `NoAnswer` or `NotSignedIn`."""


def examine_server(url: str, get: Get, now_ms: int) -> Iterator[Finding]:
    """Everything that a server tells about itself."""
    yield _wire(url)
    try:
        health = msgspec.json.decode(get("/v1/health"), type=Health)
        yield _health(url, health)
        yield _skew(health.at_ms - now_ms)
        if health.status == "standby":
            return
        yield _version(get)
        yield _token(get, now_ms)
        yield from _sites(get)
    except NoAnswer as error:
        yield warning("server", str(error), "start it with `dure up`, or name another with DURE_URL")
    except NotSignedIn as error:
        yield warning("token", str(error), "set DURE_TOKEN, or run `dure login`; what follows needs it")


def _wire(url: str) -> Finding:
    parts = urlsplit(url)
    if parts.scheme == "http" and not (parts.hostname or "").startswith(_LOOPBACK):
        advice = "use https: give `dure up` --tls-cert and --tls-key, or put it behind a proxy that does TLS"
        return failure("wire", f"{url} is not encrypted: tokens can be read on the way", advice)
    return well("wire", f"{url} is {'encrypted' if parts.scheme == 'https' else 'on this machine'}")


def _health(url: str, health: Health) -> Finding:
    advice = "see docs/operate/troubleshooting.md"
    match health.status:
        case "ok":
            return well("server", f"{url} works; its ledger has {health.entries:,} entries")
        case "standby":
            return well("server", f"{url} stands by: {health.detail}")
        case "halted":
            return failure("server", health.detail, advice)
        case _:
            return failure("server", health.detail or f"it says that it is {health.status}", advice)


def _skew(skew_ms: int) -> Finding:
    if abs(skew_ms) > SKEW_MS:
        which = "ahead of" if skew_ms > 0 else "behind"
        advice = "have both clocks kept right (chrony, systemd-timesyncd)"
        return warning("skew", f"the server's clock is {abs(skew_ms) / 1000:,.1f} s {which} this machine's", advice)
    return well("skew", "the server's clock agrees with this machine's")


def _version(get: Get) -> Finding:
    theirs, ours = msgspec.json.decode(get("/openapi.json"))["info"]["version"], version("dure")
    if theirs != ours:
        return warning("version", f"the server is Dure {theirs}, this is {ours}", "install the server's version here")
    return well("version", f"server and command line are both Dure {ours}")


def _token(get: Get, now_ms: int) -> Finding:
    me = msgspec.json.decode(get("/v1/whoami"), type=Identity)
    left_days = (me.expires_at_ms - now_ms) / DAY_MS if me.expires_at_ms else None
    said = f"the token in use is {me.token}, with the role {me.role.value}"
    if left_days is not None and left_days < TOKEN_DAYS and me.kind.value == "bearer":
        return warning(
            "token", f"{said}; it expires in {left_days:.1f} days", "have a new one issued: dure token issue"
        )
    return well("token", said)


def _sites(get: Get) -> Iterator[Finding]:
    report = msgspec.json.decode(get("/v1/sites"), type=SitesReport)
    if not report.sites:
        yield warning("nation", "no site is declared, so nothing can run", "declare the nation: dure apply -f FILE")
    for site in report.sites:
        if site.contact is not None and site.contact.is_lost:
            advice = f"run `dure doctor --engines FILE` on the server; what runs at {site.name} runs on"
            yield failure(f"site {site.name}", f"it is out of contact: {site.contact.problem}", advice)
        else:
            yield well(f"site {site.name}", "it is in contact")
