"""Has witnesses cosign a ledger's checkpoints, and keeps the last one that enough of them did: the final one.

Runs on a thread of its own, so that no witness, however slow, keeps the platform from answering. What was final once
stays so: the file is replaced only by a longer checkpoint with enough cosignatures.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from dure.ledger.add_checkpoint import SIZE_TYPE, AddCheckpoint
from dure.ledger.contract import Checkpoint, Ledger, LedgerError
from dure.ledger.cosignature import with_cosignatures
from dure.ledger.note import NoteError, NoteSignature, VerifierKey, open_checkpoint, parse_signature, split_note
from dure.ledger.rows import LedgerRows
from dure.ledger.tree import prove_consistency, tree_root
from dure.ledger.witnesses import COSIGNED_FILE, WitnessAddress, Witnesses, cosigned_checkpoint

log = logging.getLogger(__name__)

LEAST_PAUSE_S = 1.0
"""Checkpoints that come faster than this are not all cosigned; the latest is."""
RETRY_S = 5.0
TIMEOUT_S = 5.0
LARGEST_ANSWER = 64 * 1024


class Finality(Struct, frozen=True, kw_only=True):
    """How far the ledger is final, and how each witness fares."""

    quorum: int
    witnesses: int
    size: int = 0
    """Entries under the last checkpoint that enough witnesses cosigned; 0 when there is none."""
    cosigned_by: tuple[str, ...] = ()
    note: str = ""
    problems: tuple[tuple[str, str], ...] = ()
    """Witnesses that did not cosign the newest checkpoint, and why."""


class WitnessProblem(Exception):
    """A witness did not cosign; the message says why."""


class Cosigning:
    """Collects cosignatures for a ledger. `start` begins; `wake` says that there is a newer checkpoint."""

    def __init__(self, ledger: Callable[[], Ledger], key: VerifierKey, witnesses: Witnesses, state: Path) -> None:
        self._ledger = ledger
        self._key = key
        self._witnesses = witnesses
        self._file = state / COSIGNED_FILE
        self._rows = LedgerRows(ledger())
        self._seen = dict.fromkeys((each.name for each in witnesses.members), 0)
        """Size that each witness saw last, as far as is known here; it says itself when it is another."""
        self._state = state
        self._finality = Finality(quorum=witnesses.quorum, witnesses=len(witnesses.members))
        self._asked_size = 0
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cosigning", daemon=True)

    @property
    def finality(self) -> Finality:
        """How far the ledger is final now."""
        return self._finality

    def start(self) -> None:
        """Begin to ask, and go on until `close`."""
        self._wanted.set()
        self._thread.start()

    def wake(self) -> None:
        """There is a newer checkpoint."""
        self._wanted.set()

    def close(self) -> None:
        """Stop asking; what is on its way is waited for."""
        self._closing.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(TIMEOUT_S)

    def _run(self) -> None:
        self._guarded(self.recall)
        while not self._closing.is_set():
            self._wanted.wait(RETRY_S if self._finality.problems else None)
            self._wanted.clear()
            if self._closing.is_set():
                return
            self._guarded(self.ask_all)
            self._closing.wait(LEAST_PAUSE_S)

    def _guarded(self, work: Callable[[], Finality]) -> None:
        try:
            work()
        except (LedgerError, OSError) as error:
            log.error("cosignatures cannot be collected now: %s", error)

    def ask_all(self) -> Finality:
        """Have every witness cosign the newest checkpoint, once. Raises `LedgerError` or `OSError`."""
        checkpoint = self._ledger().latest_checkpoint()
        if checkpoint is None or (checkpoint.size == self._asked_size and not self._finality.problems):
            return self._finality
        lines: list[NoteSignature] = []
        problems: list[tuple[str, str]] = []
        with ThreadPoolExecutor(len(self._witnesses.members)) as pool:
            asked = [(each, pool.submit(self._ask, each, checkpoint)) for each in self._witnesses.members]
        for witness, answer in asked:
            try:
                lines.append(answer.result())
            except WitnessProblem as problem:
                problems.append((witness.name, str(problem)))
        self._tell(problems)
        self._asked_size = checkpoint.size
        self._finality = self._judged(with_cosignatures(checkpoint.note, lines), problems)
        return self._finality

    def _ask(self, witness: WitnessAddress, checkpoint: Checkpoint) -> NoteSignature:
        """One witness's cosignature. Raises `WitnessProblem`."""
        if not witness.url:
            raise WitnessProblem("the witnesses file has no address for it")
        for _ in range(2):
            seen = self._seen[witness.name]
            if seen > checkpoint.size:
                raise WitnessProblem(
                    f"it has seen {seen} entries and this ledger has {checkpoint.size}: was an older copy put back?"
                )
            proof = tuple(prove_consistency(seen, checkpoint.size, self._rows))
            status, kind, body = _post(witness.url, str(AddCheckpoint(seen, proof, checkpoint.note)))
            if status == 200:
                line = _cosignature(witness, checkpoint.note, body)
                self._seen[witness.name] = checkpoint.size
                return line
            its_size = _size(body) if (status, kind) == (409, SIZE_TYPE) else None
            if its_size is None or its_size == seen:
                raise WitnessProblem(f"it answered {status}: {body.strip()[:200]}")
            self._seen[witness.name] = its_size
        raise WitnessProblem("somebody else submits this ledger's checkpoints to it at the same time")

    def _judged(self, note: str, problems: Sequence[tuple[str, str]]) -> Finality:
        before = self._finality
        try:
            size, names = self._witnesses.final(note, self._key)
        except NoteError:
            size, names = 0, ()
        if (size, len(names)) <= (before.size, len(before.cosigned_by)):
            return replace(before, problems=tuple(problems))
        _replace(self._file, note)
        return replace(before, size=size, cosigned_by=names, note=note, problems=tuple(problems))

    def recall(self) -> Finality:
        """What was final when this ledger was last served; nothing if it is not the same ledger any more."""
        note = cosigned_checkpoint(self._state)
        if note is None:
            return self._finality
        try:
            size, names = self._witnesses.final(note, self._key)
            root = open_checkpoint(note, self._key).root
        except NoteError as error:
            log.warning("%s is not used: %s", self._file, error)
            return self._finality
        if size > self._ledger().size or tree_root(size, self._rows) != root:
            log.error("%s is of %d entries that this ledger has not: was an older copy put back?", self._file, size)
            return self._finality
        self._finality = replace(self._finality, size=size, cosigned_by=names, note=note)
        return self._finality

    def _tell(self, problems: Sequence[tuple[str, str]]) -> None:
        known = dict(self._finality.problems)
        for name, problem in problems:
            if known.get(name) != problem:
                log.warning("the witness %s did not cosign: %s", name, problem)


def _cosignature(witness: WitnessAddress, note: str, body: str) -> NoteSignature:
    """The witness's own line in its answer. Raises `WitnessProblem` when it is not there or does not fit."""
    text, _ = split_note(note)
    for line in body.splitlines():
        try:
            signature = parse_signature(line)
        except NoteError:
            continue
        if witness.key.cosigned_at_s(text, signature) is not None:
            return signature
    raise WitnessProblem("its answer holds no cosignature by the key in the witnesses file")


def _size(body: str) -> int | None:
    text = body.removesuffix("\n")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _post(url: str, body: str) -> tuple[int, str, str]:
    """Status, media type and text of a witness's answer. Raises `WitnessProblem`."""
    import httpx

    try:
        # A witness is asked directly or not at all; proxies of the environment are for other things.
        with (
            httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client,
            client.stream("POST", f"{url}/add-checkpoint", content=body.encode()) as answer,
        ):
            read = b""
            for chunk in answer.iter_bytes():
                read += chunk
                if len(read) > LARGEST_ANSWER:
                    raise WitnessProblem("its answer is too long")
            kind = answer.headers.get("content-type", "").partition(";")[0].strip()
            return answer.status_code, kind, read.decode(errors="replace")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise WitnessProblem(f"it cannot be asked ({error or type(error).__name__})") from None


def _replace(path: Path, note: str) -> None:
    """Durably, and whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
