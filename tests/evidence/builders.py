"""A bundle of a model that jobs of a small platform made, as the platform makes it."""

from __future__ import annotations

from dure.control.control import Control
from dure.control.oversight.bundling import proven, subject_of
from dure.control.oversight.citing import cited_entries, recording_entry
from dure.control.oversight.model_requests import EvaluateModel, RecordEvidence, RegisterModel
from dure.control.requests import ApplyNation
from dure.evidence.bundle import Draft, draft_bundle
from dure.evidence.subject import Subject
from dure.ledger.memory import MemoryLedger
from dure.ledger.note import Signer
from dure.model.model_versions import BaseModel, ComputeClaim, FileDigest, ModelName, Precision, VersionName
from tests.control.builders import HANBIT, NATION, OPERATOR, START_MS, ask, empty_control, nation
from tests.control.test_models import LATER, trained

SIGNER = Signer("dure.example/ledger", bytes(range(32)))
STRANGER = Signer("dure.example/ledger", bytes(range(1, 33)))
CHAT = ModelName("hanbit", "chat")
FIRST, SECOND = VersionName("hanbit", "chat", 1), VersionName("hanbit", "chat", 2)
CORPUS = """
datasets:
  - name: corpus
    owner: hanbit
    classes: [public]
    jurisdiction: KR
    purposes: [research]
    sites: [daejeon]
    readers: [hanbit]
    digest: {digest}
"""


def platform() -> Control:
    """A control on a signed ledger, with a dataset whose digest is known."""
    control = empty_control(MemoryLedger(SIGNER))
    document = NATION + CORPUS.format(digest="ab" * 32)
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(document)), START_MS)
    return control


def with_model() -> Control:
    """A model of two versions, the second from the first: files, a claim, a base, data and a measurement."""
    control = platform()
    files = (FileDigest(path="model.safetensors", size=1000, sha256="cd" * 32),)
    first = RegisterModel(
        caller=HANBIT,
        model=CHAT,
        jobs=(trained(control, data=("corpus",)),),
        precision=Precision.BF16,
        claim=ComputeClaim(parameters=8 * 10**9, tokens=10**9),
        bases=(BaseModel(name="elsewhere/base-7b", flop="1e23"),),
        code="gitCommit:0123abcd",
        image=f"sha256:{'ef' * 32}",
        files=files,
    )
    ask(control, first, LATER)
    ask(control, EvaluateModel(caller=HANBIT, version=FIRST, metrics=(("mmlu", "0.71"),), dataset="held-out"), LATER)
    second = RegisterModel(caller=HANBIT, model=CHAT, jobs=(trained(control, 1),), parents=(FIRST,))
    ask(control, second, LATER)
    return control


def subject(control: Control, name: VersionName = FIRST) -> Subject:
    version = control.memory.register.models.known(name)
    return subject_of(version, control.memory, SIGNER.name, LATER)


def bundle_of(control: Control, name: VersionName = FIRST, signer: Signer = SIGNER) -> bytes:
    """As the interface makes it: drafted, recorded in the ledger, proven."""
    register = control.memory.register
    entries = cited_entries(register.models.known(name), register, control.ledger)
    draft: Draft = draft_bundle(subject(control, name), entries, signer)
    ask(control, RecordEvidence(caller=HANBIT, version=name, digest=draft.digest), LATER + 1)
    recording = recording_entry(register.models.known(name), draft.digest, control.ledger)
    checkpoint = control.ledger.latest_checkpoint()
    assert checkpoint is not None
    return proven(draft, entries, recording, checkpoint.note, control.ledger)
