"""What a file is by its first bytes. Its name has no say: a job chooses that as it likes.

Only what somebody may want to release, or must not, is told apart. All else is `application/octet-stream`, which no
list of allowed types has.
"""

from __future__ import annotations

import json
import re

UNKNOWN = "application/octet-stream"
EMPTY = "inode/x-empty"
TEXT = "text/plain"
CSV = "text/csv"
TAB_SEPARATED = "text/tab-separated-values"
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
SAFETENSORS = "application/vnd.safetensors"

HEAD_BYTES = 64 * 1024
"""How much of a file's beginning decides."""

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"#!", "text/x-script"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"ARROW1", "application/vnd.apache.arrow.file"),
    (0, b"\x93NUMPY", "application/x-npy"),
    (0, b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"GGUF", "application/x-gguf"),
)
# Protocol numbers 2 to 5; such a file runs code of the job's wherever it is opened.
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_LARGEST_SAFETENSORS_HEADER = 100 << 20
_DELIMITERS = ((",", CSV), ("\t", TAB_SEPARATED), (";", CSV))
_LINES_JUDGED = 20

COMPRESSED = frozenset(
    {
        "application/zip",
        "application/gzip",
        "application/zstd",
        "application/x-xz",
        "application/x-bzip2",
        "application/x-7z-compressed",
    }
)
"""What they hold cannot be seen without unpacking it."""

TABULAR = frozenset({CSV, TAB_SEPARATED, JSON_LINES})
"""What has rows."""

TEXTUAL = frozenset({TEXT, CSV, TAB_SEPARATED, JSON, JSON_LINES})
"""What people read as it is."""


def media_type(head: bytes) -> str:
    """The media type of a file that begins with `head`, of which the first `HEAD_BYTES` are enough."""
    if not head:
        return EMPTY
    for offset, signature, name in _SIGNATURES:
        if head.startswith(signature, offset):
            return name
    if _PICKLE.match(head):
        return "application/x-python-pickle"
    if _is_safetensors(head):
        return SAFETENSORS
    text = _text(head)
    return UNKNOWN if text is None else _textual_type(text)


def delimiter_of(head: bytes) -> str:
    """What separates the cells of a table that begins with `head`; empty for no such table."""
    text = _text(head)
    return _delimiter(_first_lines(text)) if text else ""


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes say how long the header is, which is JSON."""
    return (
        len(head) > 9 and 2 <= int.from_bytes(head[:8], "little") <= _LARGEST_SAFETENSORS_HEADER and head[8:9] == b"{"
    )


def _text(head: bytes) -> str | None:
    """The beginning as text; None when it is none. Where more follows, the last character may be cut in two."""
    for cut in range(4 if len(head) >= HEAD_BYTES else 1):
        try:
            text = head[: len(head) - cut].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
        return text if all(each.isprintable() or each in "\t\r\n\f" for each in text) else None
    return None


def _textual_type(text: str) -> str:
    lines = _first_lines(text)
    if text.lstrip()[:1] in ("{", "["):
        return JSON_LINES if len(lines) > 1 and all(_is_json_object(line) for line in lines) else JSON
    delimiter = _delimiter(lines)
    return next((name for mark, name in _DELIMITERS if mark == delimiter), TEXT)


def _first_lines(text: str) -> list[str]:
    """The first lines with something in them, without one that may be cut in two."""
    lines = text.splitlines()
    if len(text.encode()) > HEAD_BYTES - 4 and len(lines) > 1:
        lines = lines[:-1]
    return [line for line in lines[:_LINES_JUDGED] if line.strip()]


def _delimiter(lines: list[str]) -> str:
    for mark, _ in _DELIMITERS:
        counts = {line.count(mark) for line in lines}
        if len(lines) > 1 and 0 not in counts and len(counts) <= 1 + ('"' in "".join(lines)):
            return mark
    return ""


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
