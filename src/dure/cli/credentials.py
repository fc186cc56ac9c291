"""Tokens that `dure login` got, one per server, in a file that only its owner may read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dure.cli.errors import BadInput


def credentials_file() -> Path:
    """Where tokens are kept: in the user's configuration folder."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "dure" / "tokens.json"


def stored_token(url: str) -> str:
    """The token for this server; empty when there is none. Raises `BadInput` for a file that cannot be trusted."""
    token = _stored().get(url, "")
    return token if isinstance(token, str) else ""


def store_token(url: str, token: str) -> Path:
    """Keep a token for this server, in place of an older one."""
    return _write(_stored() | {url: token})


def forget_token(url: str) -> None:
    """Keep no token for this server any more."""
    _write({each: token for each, token in _stored().items() if each != url})


def _stored() -> dict[str, object]:
    path = credentials_file()
    try:
        mode = path.stat().st_mode & 0o777
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: stored tokens cannot be read ({error}); remove the file and log in again") from None
    if mode & 0o077:
        raise BadInput(f"{path}: can be read by other users (mode {mode:o}); run: chmod 600 {path}")
    return value if isinstance(value, dict) else {}


def _write(tokens: dict[str, object]) -> Path:
    path = credentials_file()
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(tokens, file, indent=2)
        partial.replace(path)
    except OSError as error:
        raise BadInput(f"{path}: the token cannot be stored ({error.strerror})") from None
    return path
