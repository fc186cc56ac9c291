"""Job contents: what a job runs stays outside the ledger, which only commits to it. Copies share one spec.

A row `specs/{job}` holds a random salt and the canonical JSON of the spec; the ledger's entry holds the SHA-256 of
both. So a spec can be proven to be the one that was submitted, erased when the law says so, and never guessed.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from dure.control.ports import Ledger, RandomBytes, Row
from dure.model.jobs import JobSpec
from dure.world.templates import split_copy

SALT_BYTES = 16
MOST_REMEMBERED = 20_000

_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(JobSpec)


class Specs:
    """Specs by job id: those of the latest jobs in memory, the others read from the ledger's rows."""

    def __init__(self, ledger: Ledger, salts: RandomBytes) -> None:
        self._ledger = ledger
        self._salts = salts
        # A plain dictionary finds its oldest key only by passing over all that were removed before it.
        self._remembered: OrderedDict[str, JobSpec] = OrderedDict()

    def add(self, job: str, spec: JobSpec) -> tuple[str, Row]:
        """Remember a new job's spec. Returns the commitment for the ledger and the row that makes the spec durable."""
        body = self._salts(SALT_BYTES) + _ENCODER.encode(spec)
        self._remembered[job] = spec
        return hashlib.sha256(body).hexdigest(), Row("specs", job, body)

    def remove(self, job: str) -> None:
        """Forget the spec of a job that was refused."""
        del self._remembered[job]

    def erase(self, job: str) -> Row:
        """Forget what a job ran, and the salt without which nobody can prove a guess; the row makes it durable."""
        self._remembered.pop(job, None)
        return Row("specs", job, None)

    def of(self, job: str) -> JobSpec | None:
        """What the job, or the array it is a task of, runs; None when it was erased."""
        job, _ = split_copy(job)
        spec = self._remembered.get(job)
        if spec is None:
            body = self._ledger.row("specs", job)
            if body is not None:
                spec = self._remembered[job] = _DECODER.decode(body[SALT_BYTES:])
        return spec

    def of_all(self, jobs: Iterable[str]) -> dict[str, JobSpec]:
        """What each of these jobs runs, without those that were erased: at most one question to the ledger."""
        kept_as = {job: split_copy(job)[0] for job in jobs}
        missing = [each for each in dict.fromkeys(kept_as.values()) if each not in self._remembered]
        if missing:
            for each, body in self._ledger.rows_of("specs", missing).items():
                self._remembered[each] = _DECODER.decode(body[SALT_BYTES:])
        return {job: self._remembered[each] for job, each in kept_as.items() if each in self._remembered}

    def forget_oldest(self) -> None:
        """Keep memory bounded. Only to be called when every remembered spec is durable."""
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
