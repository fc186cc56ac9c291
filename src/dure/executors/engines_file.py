"""The engines file: how the platform reaches the engine of each site, and what holds for jobs on its own machine.

It is written by the operator, beside the nation file and not in it: addresses and token files are nobody's business but
the server's. Its form is in docs/operate/engines.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from dure.executors.contract import ExecutorError
from dure.executors.local.environment import Terms
from dure.executors.ray.site import RaySite
from dure.executors.slurm.site import SlurmSite
from dure.intake.documents import Value, read_yaml
from dure.intake.refusals import BadInput
from dure.model.fleet import Engine

EngineSite = SlurmSite | RaySite | Terms

_FORMS: dict[Engine, type[EngineSite]] = {Engine.SLURM: SlurmSite, Engine.RAY: RaySite, Engine.LOCAL: Terms}


def read_engines_file(path: Path) -> dict[str, EngineSite]:
    """How each site is reached, by name. Raises `ExecutorError`, which names the file and the field."""
    try:
        document = read_yaml(path.read_text("utf-8"))
    except OSError as error:
        raise ExecutorError(f"the engines file {path} cannot be read: {error.strerror}") from None
    except (BadInput, UnicodeDecodeError) as error:
        raise ExecutorError(f"the engines file {path} is not readable: {error}") from None
    sites = document.get("sites") if isinstance(document, dict) and set(document) == {"sites"} else None
    if not isinstance(sites, dict):
        raise ExecutorError(f"the engines file {path} must have one field, `sites`, with an entry per site")
    found = {name: _site(path, name, entry) for name, entry in sites.items()}
    if sum(isinstance(site, Terms) for site in found.values()) > 1:
        raise ExecutorError(
            f"the engines file {path}: all local sites are this machine, so give only one of them an entry"
        )
    return found


def _site(path: Path, name: str, entry: Value) -> EngineSite:
    where = f"the engines file {path}, site {name}"
    if not isinstance(entry, dict):
        raise ExecutorError(f"{where}: write its fields as `name: value`, and first of them `engine`")
    engine = entry.get("engine")
    form = next((form for each, form in _FORMS.items() if each.value == engine), None)
    if form is None:
        known = ", ".join(each.value for each in _FORMS)
        raise ExecutorError(f"{where}: engine is {engine!r}; it must be one of {known} (local sites need no entry)")
    fields: dict[str, Any] = {field: value for field, value in entry.items() if field != "engine"}
    try:
        # Every scalar of a document is text here; each field knows its own type.
        return msgspec.convert(fields, type=form, strict=False)
    except msgspec.ValidationError as error:
        raise ExecutorError(f"{where}: {error}") from None
