"""A witness's one decision: may this checkpoint be cosigned? C2SP tlog-witness, `add-checkpoint`.

It may if a key that the witness trusts for the log signed it, and a proof shows that the log as last cosigned is a
beginning of it. The new checkpoint is durable before it is cosigned, so that not even a crash makes the witness sign
two histories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from dure.ledger.add_checkpoint import SIZE_TYPE, AddCheckpoint
from dure.ledger.cosignature import WitnessSigner
from dure.ledger.merkle import verify_consistency
from dure.ledger.note import NoteError, TreeHead, VerifierKey, open_checkpoint, parse_tree_head, split_note
from dure.witness.memory import Latest, WitnessMemory

TEXT = "text/plain; charset=utf-8"


class Answer(Struct, frozen=True):
    """An HTTP answer: status, body and its media type."""

    status: int
    body: str
    media_type: str = TEXT


class Witness:
    """Judges and cosigns. `logs` are the keys of the logs it was told of, by origin; `now_s` the time in seconds."""

    def __init__(
        self, signer: WitnessSigner, logs: Mapping[str, VerifierKey], memory: WitnessMemory, now_s: Callable[[], int]
    ) -> None:
        self._signer = signer
        self._logs = logs
        self._memory = memory
        self._now_s = now_s

    def add_checkpoint(self, body: bytes) -> Answer:
        """Cosign a checkpoint, or say why not. The statuses are those of the specification."""
        try:
            asked = AddCheckpoint.parse(body)
            text, _ = split_note(asked.checkpoint)
            head = parse_tree_head(text)
        except NoteError as error:
            return Answer(400, f"{error}\n")
        key = self._logs.get(head.origin)
        if key is None:
            return Answer(404, f"this witness was told nothing of the log {head.origin}\n")
        try:
            open_checkpoint(asked.checkpoint, key)
        except NoteError as error:
            return Answer(403, f"{error}\n")
        return self._judge(asked, head) or Answer(200, f"{self._signer.cosign(text, self._now_s())}\n")

    def _judge(self, asked: AddCheckpoint, head: TreeHead) -> Answer | None:
        """Why not, or None once the checkpoint is kept as the latest."""
        if asked.old_size > head.size:
            return Answer(400, f"the old size {asked.old_size} is beyond the checkpoint's {head.size}\n")
        with self._memory.deciding() as memory:
            latest = memory.latest(head.origin)
            if asked.old_size != latest.size or (head.size == latest.size and head.root != latest.root):
                return Answer(409, f"{latest.size}\n", SIZE_TYPE)
            if not verify_consistency(latest.size, latest.root, head.size, head.root, asked.proof):
                return Answer(422, f"the proof does not show that the log goes on from its {latest.size} entries\n")
            memory.keep(head.origin, Latest(head.size, head.root))
        return None
