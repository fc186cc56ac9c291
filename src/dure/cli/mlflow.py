"""Reads a model from an MLflow registry over its REST interface (2.0): versions, aliases, and metrics of their runs.

Nothing that the registry says is fetched from anywhere else: the addresses in it are written down and not followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from dure.cli.errors import BadInput, Refused

if TYPE_CHECKING:
    import httpx

API = "/api/2.0/mlflow"
TOKEN_VARIABLE = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 (the name of a variable, and what MLflow's own client calls it)
LARGEST_ANSWER = 8 * 1024 * 1024
LARGEST_PAGE = 200
MOST_PAGES = 50
TIMEOUT_S = 30.0
MOST_METRICS = 200
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class MlflowVersion(Struct, frozen=True, kw_only=True):
    """A version as the registry has it. `metrics` are those of the run that made it, in decimal."""

    number: int
    source: str
    """Its address in the registry's own pages."""
    metrics: dict[str, str]
    aliases: tuple[str, ...]


class _Version(Struct, frozen=True, kw_only=True):
    version: str
    run_id: str = ""
    status: str = "READY"
    aliases: tuple[str, ...] = ()


class _Page(Struct, frozen=True, kw_only=True):
    model_versions: tuple[_Version, ...] = ()
    next_page_token: str = ""


class _Alias(Struct, frozen=True, kw_only=True):
    alias: str
    version: str


class _Model(Struct, frozen=True, kw_only=True):
    aliases: tuple[_Alias, ...] = ()


class _Metric(Struct, frozen=True, kw_only=True):
    key: str
    value: float


class _Data(Struct, frozen=True, kw_only=True):
    metrics: tuple[_Metric, ...] = ()


class _Run(Struct, frozen=True, kw_only=True):
    data: _Data = _Data()


class _FoundModel(Struct, frozen=True, kw_only=True):
    registered_model: _Model


class _FoundRun(Struct, frozen=True, kw_only=True):
    run: _Run


def read_registry(url: str, name: str, token: str) -> list[MlflowVersion]:
    """Every version of a model that is ready, oldest first. Raises `BadInput` or `Refused`."""
    import httpx

    base = _checked(url, has_token=bool(token))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # An answer that sends us elsewhere is refused: it could be an address that only this machine reaches.
    with httpx.Client(base_url=base, headers=headers, timeout=TIMEOUT_S, follow_redirects=False) as http:
        model = _get(http, "/registered-models/get", {"name": name}, _FoundModel).registered_model
        versions = [each for each in _versions(http, name) if each.status == "READY"]
        found = [_version(http, base, name, each, model) for each in versions]
    return sorted(found, key=lambda each: each.number)


def registry_token(file: Path | None) -> str:
    """The token in a file, or in `MLFLOW_TRACKING_TOKEN`; empty for neither. Raises `BadInput`."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--token-file {file}: cannot be read ({error})") from None


def _checked(url: str, *, has_token: bool) -> str:
    """The registry's address without a slash at its end."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise BadInput(f"{url}: not the address of a registry; write it like https://mlflow.example")
    if parts.username or parts.password:
        raise BadInput(f"the address has a password in it; put the token in {TOKEN_VARIABLE} or in a --token-file")
    if has_token and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise BadInput(f"{url}: a token is sent over https only")
    return url.rstrip("/")


def _versions(http: httpx.Client, name: str) -> Iterator[_Version]:
    wanted: dict[str, str | int] = {"filter": f"name='{_in_filter(name)}'", "max_results": LARGEST_PAGE}
    for _ in range(MOST_PAGES):
        page = _get(http, "/model-versions/search", wanted, _Page)
        yield from page.model_versions
        if not page.next_page_token:
            return
        wanted["page_token"] = page.next_page_token
    raise Refused(f"{name}: the registry has more than {MOST_PAGES * LARGEST_PAGE:,} versions of it")


def _version(http: httpx.Client, base: str, name: str, version: _Version, model: _Model) -> MlflowVersion:
    if not version.version.isascii() or not version.version.isdigit():
        raise Refused(f"{name}: the registry calls a version {version.version[:40]!r}, which is no number")
    metrics: tuple[_Metric, ...] = ()
    if version.run_id:
        metrics = _get(http, "/runs/get", {"run_id": version.run_id}, _FoundRun).run.data.metrics
    named = {each.alias for each in model.aliases if each.version == version.version} | set(version.aliases)
    return MlflowVersion(
        number=int(version.version),
        source=f"{base}/#/models/{quote(name, safe='')}/versions/{version.version}",
        metrics={each.key: repr(each.value) for each in metrics[:MOST_METRICS]},
        aliases=tuple(sorted(named)),
    )


def _get(http: httpx.Client, path: str, params: Mapping[str, str | int], kind: type[Any]) -> Any:
    import httpx

    try:
        with http.stream("GET", API + path, params=dict(params)) as answer:
            body = b""
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > LARGEST_ANSWER:
                    raise Refused(f"{http.base_url}: an answer is larger than {LARGEST_ANSWER >> 20} MiB")
            status = answer.status_code
    except httpx.HTTPError as error:
        raise Refused(f"{http.base_url}: the registry cannot be asked ({error})") from None
    if status in (401, 403):
        raise Refused(f"{http.base_url}: the registry wants another token; set {TOKEN_VARIABLE} or --token-file")
    if status == 404:
        raise Refused(f"{http.base_url}: the registry has no such model, or is none ({path})")
    if status != 200:
        raise Refused(f"{http.base_url}: the registry answered {status} to {path}")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{http.base_url}: this is not what MLflow answers to {path} ({error})") from None


def _in_filter(name: str) -> str:
    if "'" in name or not name.isprintable():
        raise BadInput(f"{name!r}: a name with a quote or a control character cannot be asked for")
    return name
