"""Registering what another registry has: each version once, known again by the address that it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from dure.cli.client import Server
from dure.cli.errors import Refused
from dure.cli.options import quoted
from dure.reports.models import ModelReport, VersionReport

if TYPE_CHECKING:
    from dure.cli.mlflow import MlflowVersion
    from dure.cli.model_names import Named

_METRIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@-]{0,99}")
_FINITE = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d{1,2})?")


def import_versions(server: Server, place: Named, versions: Iterable[MlflowVersion]) -> list[str]:
    """Register what is not here yet. Returns a line for each version that was."""
    known = _sources(server, place)
    done = []
    for version in versions:
        if version.source in known:
            continue
        answer = _send(server, "POST", f"{place.path}/versions", {"source": version.source})
        number = answer["model"].rpartition("@")[2]
        metrics = {name: value for name, value in version.metrics.items() if _can_be_kept(name, value)}
        if metrics:
            _send(server, "POST", f"{place.path}/versions/{number}/evaluations", {"metrics": metrics})
        for alias in version.aliases:
            _send(server, "PUT", f"{place.path}/aliases/{quoted(alias.lower())}", {"version": int(number)})
        done.append(f"{answer['model']}: imported from {version.source}")
    return done


def _sources(server: Server, place: Named) -> set[str]:
    """Where the versions that are here were imported from."""
    listed = msgspec.json.decode(server.get("/v1/models"))["models"]
    if f"{place.organisation}/{place.model}" not in {each["model"] for each in listed}:
        return set()
    lines = msgspec.json.decode(server.get(place.path), type=ModelReport).versions
    paths = (f"{place.path}/versions/{line.version}" for line in lines if not line.jobs)
    return {msgspec.json.decode(server.get(path), type=VersionReport).making.source for path in paths}


def _send(server: Server, method: str, path: str, wanted: dict[str, object]) -> dict[str, str]:
    try:
        answer: dict[str, str] = msgspec.json.decode(server.send(method, path, body=msgspec.json.encode(wanted)))
    except msgspec.DecodeError:
        raise Refused("the server's answer cannot be read") from None
    return answer


def _can_be_kept(name: str, value: str) -> bool:
    return bool(_METRIC.fullmatch(name) and _FINITE.fullmatch(value))
