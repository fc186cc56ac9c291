"""Values of the options of `dure model`: amounts with exponents, claims, metrics, and the digests of files."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from dure.cli.errors import BadInput

CLAIM_KEYS = {"parameters": "parameters", "tokens": "tokens", "active": "active_parameters"}


def claim(text: str) -> dict[str, int]:
    """`parameters=8e9,tokens=2e12`, and `active=` for a mixture of experts."""
    values = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or name not in CLAIM_KEYS:
            raise BadInput(f"--claim {text}: write it like parameters=8e9,tokens=2e12, with active=1e9 for experts")
        values[CLAIM_KEYS[name]] = whole_number(f"--claim {name}", value)
    if "parameters" not in values or "tokens" not in values:
        raise BadInput(f"--claim {text}: operations are counted from parameters and tokens; give both")
    return values


def whole_number(option: str, text: str) -> int:
    """`8e9` or `8000000000`."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not 0 <= number < 1 << 62 or number != number.to_integral_value():
        raise BadInput(f"{option} = {text}: not a whole number; write it like 8e9")
    return int(number)


def utilisation(text: str) -> dict[str, int]:
    """`0.4`, or a range: `0.35-0.45`."""
    least, dash, most = text.partition("-")
    values = {"least_permille": _permille(text, least), "most_permille": _permille(text, most if dash else least)}
    if values["most_permille"] < values["least_permille"]:
        raise BadInput(f"--utilisation {text}: the first number of a range is the smaller one")
    return values


def metrics(texts: tuple[str, ...]) -> dict[str, str]:
    """`mmlu=0.71`, each by its name."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise BadInput(f"--metric {text}: write it like mmlu=0.71")
        values[name] = value
    return values


def base(text: str) -> dict[str, str]:
    """`meta-llama/Llama-3.1-8B=1.2e24`, or only the name when its computing is not known."""
    name, _, flop = text.partition("=")
    return {"name": name, "flop": flop}


def digests(folder: Path) -> Iterator[dict[str, Any]]:
    """Path, size and SHA-256 of a file, or of every file below a folder. Raises `BadInput`."""
    if not folder.exists():
        raise BadInput(f"--files {folder}: no such file or folder")
    try:
        paths = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]
        for path in paths:
            shown = path.relative_to(folder).as_posix() if folder.is_dir() else path.name
            yield {"path": shown, "size": path.stat().st_size, "sha256": _sha256(path)}
    except OSError as error:
        raise BadInput(f"--files {error.filename}: cannot be read ({error.strerror})") from None


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _permille(text: str, value: str) -> int:
    try:
        permille = round(Decimal(value) * 1000)
    except (InvalidOperation, ValueError):
        permille = 0
    if not 1 <= permille <= 1000:
        raise BadInput(f"--utilisation {text}: write a part of the peak between 0.001 and 1, like 0.4 or 0.35-0.45")
    return permille
