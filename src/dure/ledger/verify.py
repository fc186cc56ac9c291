"""Is this log what was signed? Recomputed from the entries alone.

Leaf hashes, tree and roots are computed from the bytes of the entries and compared with every signed checkpoint;
nothing else that is stored is believed. Recorded leaf hashes are used only after a signed root was found not to fit, to
point at the entry that was altered, and only if they themselves give that signed root.

A ledger may have changed its key. Its holder's present key is the one that is believed; with it comes what the log says
about the keys before: each `key-changed` entry names the former key and the last checkpoint that it signed, so that a
checkpoint from that time still counts, and only for entries from that time. Such an entry must follow on a proposal of
that very key and its approval by somebody else.

What verification cannot see by itself: the newest entries removed together with every checkpoint that covers them, or a
log written anew by whoever has its key. Pass checkpoints that were handed out earlier as `held` to see both. Tables
derived from the entries are not looked at; they can be rebuilt.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice

import msgspec
from msgspec import Struct

from dure.ledger.contract import LedgerUnreadable, StoredLog
from dure.ledger.large import entry_leaves, large_among, possible_leaves
from dure.ledger.merkle import Frontier, leaf_hashes
from dure.ledger.note import (
    NoteError,
    TreeHead,
    VerifierKey,
    is_signed_by,
    open_checkpoint,
    parse_tree_head,
    split_note,
)
from dure.model.events import are_canonical, decode, encode
from dure.model.oversight import ChangeApproved, ChangeProposed, KeyChanged
from dure.model.proposals import KeyChange

LEAF_BATCH = 4_096
_CHANGE = b'"event":"change-'
_KEY_CHANGED = b'"event":"key-changed"'
CANONICAL_BATCH = 64
"""Events that are read and written again in one go. With many more alive at once, garbage collection costs more."""


class FaultCode(StrEnum):
    """What can be wrong with a log."""

    ALTERED = "altered"
    ALTERED_TILE = "altered-tile"
    MISSING = "missing"
    TRUNCATED = "truncated"
    UNSIGNED = "unsigned"
    NOT_CANONICAL = "not-canonical"
    BAD_CHECKPOINT = "bad-checkpoint"
    UNREADABLE = "unreadable"
    NOT_APPROVED = "not-approved"


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that is wrong. The first bad entry lies between the two positions, both included; None if none is."""

    code: FaultCode
    first_position: int | None
    last_position: int | None
    message: str


class Verdict(Struct, frozen=True, kw_only=True):
    """What verification found: the log as recomputed, how many checkpoints it fits, and every fault, earliest first."""

    size: int
    root: bytes
    checkpoints: int
    former_keys: tuple[VerifierKey, ...]
    """With which it was signed before `key`, oldest first."""
    faults: tuple[Fault, ...]

    @property
    def is_sound(self) -> bool:
        """True when every entry is under a valid checkpoint and nothing was found wrong."""
        return not self.faults

    @property
    def first_bad(self) -> Fault | None:
        """The fault that names the first bad entry."""
        return next((fault for fault in self.faults if fault.first_position is not None), None)


def verify(
    log: StoredLog,
    key: VerifierKey,
    held: Sequence[str] = (),
    on_leaves: Callable[[Sequence[bytes]], None] = lambda _: None,
) -> Verdict:
    """Judge a log by its own checkpoints and by those in `held`, all of which `key` or one before it must have signed.

    `on_leaves` is told the leaf hashes as they are computed from the entries.
    """
    walk = _Walk(log, on_leaves)
    faults: list[Fault] = []
    try:
        notes = list(dict.fromkeys([*log.checkpoints(), *held]))
        claims, wrong = _open_checkpoints(notes, key)
        walk.expect(claims)
        with _no_garbage_collection():
            for batch in log.entries():
                walk.take(batch)
        wrong += walk.disregard_unsigned()
        if wrong:
            message = f"{len(wrong)} of {len(notes)} checkpoints are not valid; the first of them: {wrong[0]}"
            faults.append(_fault(FaultCode.BAD_CHECKPOINT, None, None, message))
        faults += _judge(walk, log)
        if walk.key_changes and not walk.faults:
            faults += _not_approved(log)
    except LedgerUnreadable as error:
        faults.append(_entry_fault(FaultCode.UNREADABLE, walk.size, str(error)))
    faults += walk.faults
    faults.sort(key=lambda fault: -1 if fault.first_position is None else fault.first_position)
    return Verdict(
        size=walk.size,
        root=walk.frontier.root(),
        checkpoints=len(walk.fitting),
        former_keys=tuple(change.former for change in walk.key_changes),
        faults=tuple(faults),
    )


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """The pass makes no cycles, only very many objects that live for a moment; looking for cycles costs a tenth."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Claim(Struct, frozen=True):
    """A checkpoint that the present key did not sign, and what opening it with that key said."""

    note: str
    head: TreeHead
    objection: str


class _KeyChange(Struct, frozen=True):
    """Up to `position` entries were signed with `former`."""

    position: int
    former: VerifierKey


def _open_checkpoints(notes: Sequence[str], key: VerifierKey) -> tuple[list[TreeHead | _Claim], list[str]]:
    """What the checkpoints say, and what is wrong with those that no key can have signed."""
    opened: list[TreeHead | _Claim] = []
    wrong = []
    for note in notes:
        try:
            opened.append(open_checkpoint(note, key))
        except NoteError as error:
            try:
                opened.append(_Claim(note, parse_tree_head(split_note(note)[0]), str(error)))
            except NoteError:
                wrong.append(str(error))
    return opened, wrong


class _Walk:
    """One pass over the entries that rebuilds the tree and stops for a moment at the size of every checkpoint."""

    def __init__(self, log: StoredLog, on_leaves: Callable[[Sequence[bytes]], None]) -> None:
        self._log = log
        self._on_leaves = on_leaves
        self.frontier = Frontier()
        self.fitting: list[TreeHead] = []
        self.unfitting: list[TreeHead] = []
        self.ahead: list[TreeHead] = []
        """Checkpoints of sizes not yet reached, largest first."""
        self.gap: int | None = None
        """The position that was found where the next entry should have been; after it nothing more is taken."""
        self.faults: list[Fault] = []
        self.key_changes: list[_KeyChange] = []
        self._claims: list[_Claim] = []

    @property
    def size(self) -> int:
        return self.frontier.size

    def expect(self, opened: Sequence[TreeHead | _Claim]) -> None:
        self._claims = [each for each in opened if isinstance(each, _Claim)]
        heads = [each.head if isinstance(each, _Claim) else each for each in opened]
        self.ahead = sorted(heads, key=lambda head: head.size, reverse=True)
        self._compare()

    def disregard_unsigned(self) -> list[str]:
        """Drop the checkpoints that no key of their time signed. Returns what is wrong with each."""
        wrong = [claim for claim in self._claims if not self._was_signed(claim)]
        for claim in wrong:
            for heads in (self.fitting, self.unfitting, self.ahead):
                if claim.head in heads:
                    heads.remove(claim.head)
                    break
        return [claim.objection for claim in wrong]

    def _was_signed(self, claim: _Claim) -> bool:
        return any(
            claim.head.size <= change.position and is_signed_by(claim.note, change.former)
            for change in self.key_changes
            if claim.head.origin == change.former.name
        )

    def take(self, batch: Sequence[tuple[int, bytes]]) -> None:
        if self.gap is not None:
            return
        entries = self._without_gap(batch)
        if not self.faults:
            self._check_canonical(entries)
        leaves = self._leaves(entries)
        self._on_leaves(leaves)
        first = self.size
        for offset, entry in enumerate(entries):
            if _KEY_CHANGED in entry:
                self._note_key_change(first + offset, entry)
        while self.ahead and self.ahead[-1].size <= first + len(leaves):
            self.frontier.extend(leaves[self.size - first : self.ahead[-1].size - first])
            self._compare()
        self.frontier.extend(leaves[self.size - first :])

    def _note_key_change(self, position: int, entry: bytes) -> None:
        """The former key signed all that came before, and what it signed is compared as any other checkpoint."""
        try:
            event = decode(entry)
            if not isinstance(event, KeyChanged):
                return
            change = _KeyChange(position, VerifierKey.parse(event.former))
            head = open_checkpoint(event.checkpoint, change.former)
            if head.size != position:
                raise NoteError(f"its checkpoint is of {head.size} entries")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, NoteError) as error:
            message = f"entry {position} does not show that the ledger's key was changed: {error}"
            self.faults.append(_entry_fault(FaultCode.BAD_CHECKPOINT, position, message))
            return
        self.key_changes.append(change)
        if head not in self.ahead:
            self.ahead = sorted([*self.ahead, head], key=lambda each: each.size, reverse=True)

    def _leaves(self, entries: Sequence[bytes]) -> list[bytes]:
        """Leaf hashes, computed from the entries. Of the two that a large one may have, the recorded hash chooses."""
        large = large_among(entries)
        leaves = entry_leaves(entries) if large else leaf_hashes(entries)
        for offset in large:
            position = self.size + offset
            recorded = next(self._log.leaf_hashes(position + 1, position), b"")
            if recorded in possible_leaves(entries[offset]):
                leaves[offset] = recorded
        return leaves

    def _without_gap(self, batch: Sequence[tuple[int, bytes]]) -> Sequence[bytes]:
        """The entries of a batch up to the first that is not where it should be."""
        positions, entries = zip(*batch, strict=True) if batch else ((), ())
        if positions == tuple(range(self.size, self.size + len(batch))):
            return entries
        present = next(at for at, position in enumerate(positions) if position != self.size + at)
        self.gap = positions[present]
        return entries[:present]

    def _check_canonical(self, entries: Sequence[bytes]) -> None:
        found = _first_not_canonical(entries)
        if found is not None:
            position = self.size + found[0]
            message = f"entry {position} is not an event in canonical form: {found[1]}"
            self.faults.append(_entry_fault(FaultCode.NOT_CANONICAL, position, message))

    def _compare(self) -> None:
        while self.ahead and self.ahead[-1].size == self.size:
            head = self.ahead.pop()
            (self.fitting if head.root == self.frontier.root() else self.unfitting).append(head)


def _first_not_canonical(entries: Sequence[bytes]) -> tuple[int, str] | None:
    for first in range(0, len(entries), CANONICAL_BATCH):
        batch = entries[first : first + CANONICAL_BATCH]
        if not are_canonical(batch):
            return _first_in(batch, first)
    return None


def _first_in(entries: Sequence[bytes], first: int) -> tuple[int, str] | None:
    for offset, entry in enumerate(entries, first):
        try:
            if encode(decode(entry)) != entry:
                return offset, "its fields are ordered, spaced or named otherwise"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return offset, str(error)
    return None


def _judge(walk: _Walk, log: StoredLog) -> Iterator[Fault]:
    """What the roots that did not fit, a gap, and the ends of log and checkpoints mean."""
    proven = max((head.size for head in walk.fitting), default=0)
    for head in walk.unfitting:
        if head.size <= proven:
            message = f"the checkpoint of {head.size} entries contradicts a later one: the log never had its root"
            yield _fault(FaultCode.BAD_CHECKPOINT, None, None, message)
    broken = next((head for head in [*walk.unfitting, *reversed(walk.ahead)] if head.size > proven), None)
    if broken is not None:
        yield _locate(walk, log, proven, broken)
    elif walk.gap is not None:
        yield _gap_fault(walk.size, walk.gap)
    elif walk.size > proven:
        message = f"entries {proven} to {walk.size - 1} are under no valid checkpoint"
        yield _fault(FaultCode.UNSIGNED, proven, walk.size - 1, message)


def _not_approved(log: StoredLog) -> Iterator[Fault]:
    """Changes of the key that nobody proposed, or nobody else approved."""
    proposed: dict[str, tuple[str, str]] = {}
    approved: set[str] = set()
    for position, entry in (numbered for batch in log.entries() for numbered in batch):
        if _CHANGE not in entry and _KEY_CHANGED not in entry:
            continue
        match decode(entry):
            case ChangeProposed(proposal=name, change=KeyChange(key=key), by=by):
                proposed[name] = key, by
            case ChangeApproved(proposal=name, by=by) if name in proposed and by != proposed[name][1]:
                approved.add(proposed[name][0])
            case KeyChanged(key=key) if key not in approved:
                message = f"entry {position} changes the ledger's key to one that no two people agreed on"
                yield _entry_fault(FaultCode.NOT_APPROVED, position, message)


def _locate(walk: _Walk, log: StoredLog, proven: int, head: TreeHead) -> Fault:
    """The first entry that keeps the log from having the root that was signed for `head.size` entries."""
    if _recorded_hashes_give(head, log):
        return _first_difference(log, proven, head.size)
    if walk.gap is not None and walk.size < head.size:
        return _gap_fault(walk.size, walk.gap)
    if walk.size < head.size:
        return _truncated_fault(walk.size, head.size)
    message = (
        f"an entry from {proven} to {head.size - 1} was altered, moved or replaced: they do not give the root that was "
        f"signed for {head.size} entries"
    )
    return _fault(FaultCode.ALTERED, proven, head.size - 1, message)


def _recorded_hashes_give(head: TreeHead, log: StoredLog) -> bool:
    """True when the recorded leaf hashes are proven by the signed root, so that they show which entry is not."""
    recorded = log.leaf_hashes(head.size)
    frontier = Frontier()
    while batch := list(islice(recorded, LEAF_BATCH)):
        frontier.extend(batch)
    return frontier.size == head.size and frontier.root() == head.root


def _first_difference(log: StoredLog, start: int, stop: int) -> Fault:
    entries = (numbered for batch in log.entries(start) for numbered in batch)
    for expected, leaf in enumerate(islice(log.leaf_hashes(stop), start, None), start):
        found = next(entries, None)
        if found is None:
            return _truncated_fault(expected, stop)
        if found[0] != expected:
            return _gap_fault(expected, found[0])
        if leaf not in possible_leaves(found[1]):
            message = f"entry {expected} was altered: its bytes do not give the hash that was signed for it"
            return _entry_fault(FaultCode.ALTERED, expected, message)
    raise AssertionError("called only for entries that do not give the root their recorded hashes give")


def _gap_fault(expected: int, found: int) -> Fault:
    return _entry_fault(FaultCode.MISSING, expected, f"entry {expected} is missing: number {found} lies in its place")


def _truncated_fault(size: int, signed_size: int) -> Fault:
    message = f"entry {size} is missing: the log ends before it, but a checkpoint was signed for {signed_size} entries"
    return _fault(FaultCode.TRUNCATED, size, signed_size - 1, message)


def _entry_fault(code: FaultCode, position: int, message: str) -> Fault:
    return _fault(code, position, position, message)


def _fault(code: FaultCode, first_position: int | None, last_position: int | None, message: str) -> Fault:
    return Fault(code=code, first_position=first_position, last_position=last_position, message=message)
