"""The file itself: an RO-Crate 1.1 in a ZIP whose bytes are the same whenever its content is.

The manifest `ro-crate-metadata.json` names every other file with its size and SHA-256, but for the proofs, which prove
themselves. So whoever knows the digest of the manifest knows all of it.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from hashlib import sha256

import msgspec
from msgspec import Struct

from dure.evidence.subject import Document, as_json

MANIFEST = "ro-crate-metadata.json"
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://schema.org/sha256"}]
PROFILE = "https://w3id.org/ro/crate/1.1"
ROOT = "./"

LARGEST_BUNDLE = 256 * 1024 * 1024
MOST_FILES = 50_000
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o100644 << 16
_UNIX = 3

_TYPES = {"json": "application/json", "md": "text/markdown", "ndjson": "application/x-ndjson"}


class CrateError(ValueError):
    """Bytes that are no bundle, or not packed as bundles are; the message names what is wrong."""


class Manifest(Struct, frozen=True, kw_only=True):
    """What a manifest says: the model version that the crate is about, and the digest of each file."""

    version: str
    digests: dict[str, str]


def manifest(version: str, made_on: str, files: Mapping[str, bytes]) -> bytes:
    """The manifest of these files."""
    root: Document = {
        "@id": ROOT,
        "@type": "Dataset",
        "identifier": version,
        "name": f"Evidence of {version}",
        "description": f"What is known of the model {version}, with proofs that it is in the platform's ledger.",
        "datePublished": made_on,
        "license": "Use as agreed with the organisation that made the model.",
        "hasPart": [{"@id": name} for name in sorted(files)],
    }
    descriptor: Document = {
        "@id": MANIFEST,
        "@type": "CreativeWork",
        "conformsTo": {"@id": PROFILE},
        "about": {"@id": ROOT},
    }
    described = [_described(name, files[name]) for name in sorted(files)]
    return as_json({"@context": CONTEXT, "@graph": [descriptor, root, *described]})


def read_manifest(body: bytes) -> Manifest:
    """What a manifest says. Raises `CrateError`."""
    try:
        graph = {each["@id"]: each for each in msgspec.json.decode(body)["@graph"]}
        root = graph[ROOT]
        digests = {part["@id"]: graph[part["@id"]]["sha256"] for part in root["hasPart"]}
        return Manifest(version=root["identifier"], digests=digests)
    except (msgspec.DecodeError, KeyError, TypeError, UnicodeDecodeError, RecursionError):
        raise CrateError(f"{MANIFEST} is not a manifest as bundles have it") from None


def pack(files: Mapping[str, bytes]) -> bytes:
    """The ZIP with these files: by name, without compression, times or comments."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files, key=lambda name: (name != MANIFEST, name)):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system, entry.external_attr = _UNIX, _PLAIN_FILE
            archive.writestr(entry, files[name])
    return packed.getvalue()


class Unpacked(Struct, frozen=True, kw_only=True):
    """The files of a bundle, and what is wrong with how they were packed, by file; an empty name for all of it."""

    files: dict[str, bytes]
    faults: tuple[tuple[str, str], ...] = ()


def unpack(raw: bytes) -> Unpacked:
    """The files of a bundle. Raises `CrateError` when they cannot be read at all."""
    if len(raw) > LARGEST_BUNDLE:
        raise CrateError(f"it is larger than {LARGEST_BUNDLE >> 20} MiB, so it is no bundle")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            found = _read(archive)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, ValueError) as error:
        raise CrateError(f"it is no bundle, or was cut short: {error}") from None
    if not found.faults and pack(found.files) != raw:
        # Whatever is between or after the files would be read by nobody here, and perhaps by another program.
        return Unpacked(files=found.files, faults=(("", "it is not packed as the platform packs: it was made anew"),))
    return found


def _read(archive: zipfile.ZipFile) -> Unpacked:
    entries = archive.infolist()
    if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > LARGEST_BUNDLE:
        raise CrateError(f"it has more than {MOST_FILES:,} files, or more than {LARGEST_BUNDLE >> 20} MiB")
    files: dict[str, bytes] = {}
    faults = []
    for entry in entries:
        if entry.filename in files:
            faults.append((entry.filename, "it is in there twice"))
        files[entry.filename] = archive.read(entry)
    return Unpacked(files=files, faults=tuple(faults))


def _described(name: str, body: bytes) -> Document:
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "encodingFormat": _TYPES.get(name.rpartition(".")[2], "application/octet-stream"),
        "contentSize": str(len(body)),
        "sha256": sha256(body).hexdigest(),
    }
