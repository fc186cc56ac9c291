"""What engines keep of jobs: their output, read in pieces from where it lies, and what their GPUs used."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from dure.control.attempts import attempt_id
from dure.control.launching import engine_of
from dure.control.orders import EngineAddress, Engines
from dure.control.ports import ExecutorError
from dure.model.jobs import GpuUse
from dure.model.results import ResultKind
from dure.world.cards import JobCard
from dure.world.world import World

LARGEST_PIECE = 256 * 1024


class Piece(Struct, frozen=True, kw_only=True):
    """A piece of a rank's output. `offset` is the byte after it: where the next piece starts."""

    text: str
    offset: int
    size: int
    """Bytes there were in all when it was read."""


def read_piece(path: str, offset: int, most: int = LARGEST_PIECE) -> Piece:
    """Output from byte `offset` on (counted from the end when negative). Bytes that are no text are shown as `�`."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        start = max(0, size + offset) if offset < 0 else min(offset, size)
        file.seek(start)
        body = file.read(most)
    whole = body[: _end_of_last_character(body)]
    return Piece(text=whole.decode(errors="replace"), offset=start + len(whole), size=size)


def result_pieces(engines: Engines, engine: EngineAddress, name: str, kind: ResultKind, path: str) -> Iterator[bytes]:
    """The content of one result of an attempt, in pieces. Raises `ExecutorError` or `OSError` when it is not there."""
    if kind is ResultKind.OUTPUT:
        yield from engines.output(engine, name, path)
        return
    rank = path.removeprefix("rank").removesuffix(".log")
    log = engines.log_path(engine, name, int(rank)) if rank.isdecimal() else None
    if log is None:
        raise ExecutorError(f"there is no log {path}")
    with open(log, "rb") as file:
        while piece := file.read(LARGEST_PIECE):
            yield piece


def gpu_use(world: World, engines: Engines, card: JobCard) -> GpuUse | None:
    """What the GPUs of the job's latest attempt used so far, where they are metered."""
    return engines.gpu_use(engine_of(world, card), attempt_id(card.job, card.attempt)) if card.attempt else None


def log_path(world: World, engines: Engines, card: JobCard, attempt: int, rank: int) -> str | None:
    """Where the output of a rank lies, once there is any."""
    return engines.log_path(engine_of(world, card), attempt_id(card.job, attempt), rank)


def _end_of_last_character(body: bytes) -> int:
    """Where the last complete UTF-8 character ends, so that a piece never cuts one in two."""
    for back in range(1, min(4, len(body)) + 1):
        lead = body[-back]
        if lead >= 0xC0:
            length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return len(body) - back if length > back else len(body)
        if lead < 0x80:
            break
    return len(body)
