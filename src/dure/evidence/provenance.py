"""Provenance: an in-toto Statement v1 with SLSA provenance v1, in a DSSE envelope that the platform's key signs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from hashlib import sha256

import msgspec
from msgspec import Struct

from dure.evidence.subject import Document, Subject, as_json
from dure.ledger.note import Signer, VerifierKey, is_signed
from dure.model.dates import format_moment

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
PAYLOAD = "application/vnd.in-toto+json"
BUILD = "urn:dure:training:v1"
"""What `externalParameters` mean: the jobs that trained the version, each with the commitment to what it ran."""


class EnvelopeError(ValueError):
    """An envelope that is malformed or not signed by the key; the message says which."""


class Signature(Struct, frozen=True, kw_only=True):
    """One signature of an envelope, in base64."""

    keyid: str
    sig: str


class Envelope(Struct, frozen=True, kw_only=True):
    """Dead Simple Signing Envelope v1.0.0: the payload in base64 and who signed it."""

    payloadType: str
    payload: str
    signatures: tuple[Signature, ...]


def provenance(subject: Subject) -> Document:
    """The statement: these files came from these jobs, on this data, at this platform."""
    making = subject.version.making
    started = [run.started_at_ms for run in making.jobs if run.started_at_ms]
    metadata: Document = {"invocationId": subject.name}
    if started:
        metadata["startedOn"] = format_moment(min(started))
        metadata["finishedOn"] = format_moment(max(run.ended_at_ms for run in making.jobs))
    return {
        "_type": STATEMENT,
        "subject": list(_subjects(subject)),
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {
                    "model": subject.name,
                    "jobs": [{"job": run.job, "commitment": run.commitment} for run in making.jobs],
                },
                "internalParameters": {"sites": sorted({site for run in making.jobs for site in run.sites})},
                "resolvedDependencies": list(_dependencies(subject)),
            },
            "runDetails": {"builder": {"id": f"https://{subject.platform}"}, "metadata": metadata},
        },
    }


def sign(statement: Document, signer: Signer) -> bytes:
    """The statement in its envelope."""
    payload = msgspec.json.encode(statement, order="sorted")
    signature = signer.sign_envelope(encoded(PAYLOAD, payload))
    signed_by = Signature(keyid=key_name(signer.verifier), sig=base64.b64encode(signature).decode())
    return as_json(Envelope(payloadType=PAYLOAD, payload=base64.b64encode(payload).decode(), signatures=(signed_by,)))


def open_envelope(body: bytes, key: VerifierKey) -> Document:
    """The statement in an envelope that this key signed. Raises `EnvelopeError`."""
    try:
        envelope = msgspec.json.decode(body, type=Envelope)
        payload = base64.b64decode(envelope.payload, validate=True)
        signatures = [base64.b64decode(each.sig, validate=True) for each in envelope.signatures]
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise EnvelopeError("it is no DSSE envelope") from None
    message = encoded(envelope.payloadType, payload)
    if envelope.payloadType != PAYLOAD or not any(is_signed(key.public, message, each) for each in signatures):
        raise EnvelopeError(f"it is not signed by {key_name(key)}")
    try:
        statement = msgspec.json.decode(payload, type=dict)
    except msgspec.DecodeError:
        raise EnvelopeError("what was signed is no JSON") from None
    return statement


def encoded(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding. It can never be the text of a checkpoint."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def key_name(key: VerifierKey) -> str:
    """How signatures name the key."""
    return f"{key.name}+{key.id.hex()}"


def _subjects(subject: Subject) -> Iterator[Document]:
    """Its files; where their digests are not known, the record of what it was made of."""
    files = subject.version.making.files
    for file in files:
        yield {"name": file.path, "digest": {"sha256": file.sha256}}
    if not files:
        yield {"name": subject.name, "digest": {"sha256": sha256(as_json(subject.version.making)).hexdigest()}}


def _dependencies(subject: Subject) -> Iterator[Document]:
    making = subject.version.making
    for name, digest in sorted(subject.datasets.items()):
        yield {"name": name, "uri": f"urn:dure:dataset:{name}"} | ({"digest": {"sha256": digest}} if digest else {})
    for parent in making.parents:
        yield {"name": str(parent), "uri": f"urn:dure:model:{parent}"}
    for base in making.bases:
        yield {"name": base.name, "uri": f"urn:dure:base:{base.name}"}
    for kind, text in (("code", making.code), ("image", making.image)):
        algorithm, _, value = text.partition(":")
        if text:
            yield {"name": kind, "uri": f"urn:dure:{kind}:{text}"} | ({"digest": {algorithm: value}} if value else {})
