"""Reading what users hand in: job files, scripts and nation files, as the bytes that the server will read."""

from __future__ import annotations

import sys
from pathlib import Path

from dure.cli.errors import BadInput

LARGEST_BYTES = 1024 * 1024
LARGEST_BATCH_BYTES = 16 * LARGEST_BYTES
"""Of a file with many jobs, one per line."""
YAML = "application/yaml"
JSON = "application/json"
SCRIPT = "text/x-shellscript"
LINES = "application/x-ndjson"
_BY_SUFFIX = {
    ".yaml": YAML,
    ".yml": YAML,
    ".json": JSON,
    ".sh": SCRIPT,
    ".sbatch": SCRIPT,
    ".slurm": SCRIPT,
    ".ndjson": LINES,
    ".jsonl": LINES,
}


def read_document(name: str) -> bytes:
    """Bytes of a text file, or of standard input for `-`."""
    shown = "standard input" if name == "-" else name
    largest = LARGEST_BATCH_BYTES if _kind(name) == LINES else LARGEST_BYTES
    try:
        body = sys.stdin.buffer.read(largest + 1) if name == "-" else _read_file(Path(name), largest)
    except FileNotFoundError:
        raise BadInput(f"{name}: no such file") from None
    except IsADirectoryError:
        raise BadInput(f"{name}: this is a folder; name a file in it") from None
    except OSError as error:
        raise BadInput(f"{name}: cannot be read ({error.strerror})") from None
    if len(body) > largest:
        raise BadInput(f"{shown}: larger than {largest >> 20} MiB, so it cannot be a document for Dure")
    if not body.strip():
        raise BadInput(f"{shown}: the file is empty")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{shown}: not a text file in UTF-8 (byte {error.start}); save it as UTF-8") from None
    return body


def job_content_type(name: str, body: bytes) -> str:
    """What kind of job document this is: a script says so by `#!` or its suffix; anything else is read as YAML."""
    if body.startswith(b"#!"):
        return SCRIPT
    return _kind(name)


def _kind(name: str) -> str:
    return _BY_SUFFIX.get(Path(name).suffix.lower(), YAML)


def _read_file(path: Path, largest: int) -> bytes:
    # Read no more than is needed to know that it is too much: the name may be that of an endless device.
    with path.open("rb") as file:
        return file.read(largest + 1)
