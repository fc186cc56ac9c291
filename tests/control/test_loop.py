"""The live driver: real time, real processes, a real ledger on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from dure.bootstrap import SystemClock, make_control, make_engines
from dure.control.loop import Loop
from dure.control.orders import LOCAL, Engines
from dure.control.ports import Launch, Row
from dure.control.requests import ApplyNation, NotDone, NotDoneCode, Reply, SubmitJob, Submitted
from dure.executors.local.executor import LocalExecutor
from dure.ledger.note import Signer
from dure.ledger.sqlite import SqliteLedger
from dure.model.jobs import JobState
from dure.world.cards import MomentCode

from .builders import HANBIT, OPERATOR, nation, spec


class WatchedLedger(SqliteLedger):
    """Counts appends, and can be slow or refuse them, as a disk can."""

    batches: list[int]
    takes_s = 0.0
    is_full = False

    def append(self, expected_size: int, entries: Sequence[bytes], rows: Sequence[Row], at_ms: int) -> None:
        time.sleep(self.takes_s)
        if self.is_full:
            raise OSError("no space left on device")
        super().append(expected_size, entries, rows, at_ms)
        self.batches.append(len(entries))


class DeafOnce(LocalExecutor):
    """Cannot be told of the first start."""

    refusals = 1

    def start(self, launch: Launch) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError("the engine does not answer")
        super().start(launch)


@asynccontextmanager
async def running_loop(state: Path, engines: Engines | None = None) -> AsyncIterator[tuple[Loop, WatchedLedger]]:
    state.mkdir(exist_ok=True)
    ledger = WatchedLedger.open(state / "ledger.sqlite", Signer.generate("dure.example/loop"))
    assert isinstance(ledger, WatchedLedger)
    ledger.batches = []
    engines = engines or make_engines(state)
    loop = Loop(make_control(state, ledger), SystemClock(), engines)
    await loop.start()
    try:
        await loop.ask(ApplyNation(caller=OPERATOR, nation=nation()))
        yield loop, ledger
    finally:
        await loop.close()
        engines.close(kill=True)
        ledger.close()


def job(**more: object) -> SubmitJob:
    return SubmitJob(caller=HANBIT, spec=spec(**more))  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_requests_that_arrive_during_an_append_share_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_loop(tmp_path / "state") as (loop, ledger):
            ledger.takes_s = 0.1
            ledger.batches.clear()
            replies = await asyncio.gather(*(loop.ask(job(gpus=4, nodes=2)) for _ in range(40)))
            assert all(isinstance(reply, Submitted) for reply in replies)
            assert len({reply.jobs for reply in replies if isinstance(reply, Submitted)}) == 40
            assert len(ledger.batches) <= 4
            assert sum(ledger.batches) >= 40

    asyncio.run(story())


def test_an_answer_comes_only_after_the_append(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_loop(tmp_path / "state") as (loop, ledger):
            ledger.takes_s = 0.2
            answer = asyncio.create_task(loop.ask(job()))
            await until(lambda: "j1" in loop.control.world.jobs)
            assert not answer.done()
            before = ledger.size
            await answer
            assert ledger.size > before

    asyncio.run(story())


def test_what_is_read_is_told_only_after_the_append(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_loop(tmp_path / "state") as (loop, ledger):
            assert await loop.until_durable()
            ledger.takes_s = 0.2
            answer = asyncio.create_task(loop.ask(job()))
            await until(lambda: "j1" in loop.control.world.jobs)
            before = ledger.size
            assert await loop.until_durable()
            assert ledger.size > before
            await answer

    asyncio.run(story())


def test_what_was_read_and_never_became_durable_is_not_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_loop(tmp_path / "state") as (loop, ledger):
            ledger.takes_s, ledger.is_full = 0.1, True
            answer = asyncio.create_task(loop.ask(job()))
            await until(lambda: "j1" in loop.control.world.jobs)
            assert not await loop.until_durable()
            assert isinstance(await answer, NotDone)
            assert not await loop.until_durable()
            ledger.is_full = False
            await until(lambda: not loop.trouble)
            assert "j1" not in loop.control.world.jobs
            assert await loop.until_durable()

    asyncio.run(story())


def test_a_full_disk_refuses_and_nothing_has_happened_until_there_is_room_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_loop(tmp_path / "state") as (loop, ledger):
            ledger.is_full = True
            reply = await loop.ask(job())
            assert isinstance(reply, NotDone)
            assert reply.code is NotDoneCode.UNAVAILABLE
            assert "no space left" in loop.trouble
            ledger.is_full = False
            assert await loop.ask(job()) == Submitted(jobs=("j1",))
            assert loop.trouble == ""
            await until(lambda: loop.control.world.jobs["j1"].state is JobState.SUCCEEDED)

    asyncio.run(story())


def test_no_end_is_overlooked_when_much_happens_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_loop(tmp_path / "state") as (loop, ledger):
            ledger.takes_s = 0.005
            for _ in range(60):
                await loop.ask(job())
            await until(lambda: all(card.state is JobState.SUCCEEDED for card in loop.control.world.jobs.values()))
            assert len(loop.control.world.jobs) == 60

    asyncio.run(story())


def test_an_order_that_an_engine_did_not_take_is_given_again(tmp_path: Path) -> None:
    async def story() -> None:
        engines = Engines({LOCAL: DeafOnce(tmp_path / "local")})
        async with running_loop(tmp_path / "state", engines) as (loop, _):
            await loop.ask(job())
            await until(lambda: loop.control.world.jobs["j1"].state is JobState.SUCCEEDED)
            assert loop.control.world.jobs["j1"].attempt == 1

    asyncio.run(story())


def test_a_job_over_its_time_is_stopped_though_nothing_else_happens(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_loop(tmp_path / "state") as (loop, _):
            await loop.ask(job(command=("sleep", "60"), time_ms=1_000))
            await until(lambda: loop.control.world.jobs["j1"].state is JobState.FAILED)
            assert loop.control.world.jobs["j1"].timeline[-1].what is MomentCode.TIME_LIMIT_REACHED

    asyncio.run(story())


def test_an_idle_loop_sleeps(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_loop(tmp_path / "state"):
            await asyncio.sleep(0.2)
            began = time.thread_time()
            await asyncio.sleep(1.0)
            assert time.thread_time() - began < 0.05

    asyncio.run(story())


def test_whoever_still_waits_when_the_loop_closes_is_told_to_ask_again(tmp_path: Path) -> None:
    async def story() -> list[Reply]:
        async with running_loop(tmp_path / "state") as (loop, ledger):
            ledger.takes_s = 0.3
            first = asyncio.create_task(loop.ask(job()))
            await until(lambda: "j1" in loop.control.world.jobs)
            second = asyncio.create_task(loop.ask(job()))
            await asyncio.sleep(0.05)
            await loop.close()
            return [await first, await second, await loop.ask(job())]

    first, second, third = asyncio.run(story())
    assert isinstance(first, Submitted)
    assert [each.code for each in (second, third) if isinstance(each, NotDone)] == [NotDoneCode.UNAVAILABLE] * 2
