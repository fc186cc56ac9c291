"""The driver of the loop on a live platform: when to step, and what runs on which thread.

Requests that arrive while a batch is being made durable wait for the next one (group commit), so the busier the
platform, the larger its batches. Steps run on the event loop's thread, the append on a thread of its own, orders and
observations on another, so that neither a slow disk nor a slow engine stops the platform from answering. Nothing polls:
the loop sleeps until a request, an engine, or the world's own next deadline wakes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from msgspec import Struct

from dure.control.control import Control
from dure.control.feed import Feed
from dure.control.orders import Engines, Order
from dure.control.ports import Clock, Observation
from dure.control.recovery import recover
from dure.control.requests import NotDone, NotDoneCode, Reply, Request

log = logging.getLogger(__name__)
Result = TypeVar("Result")

LARGEST_BATCH = 512
"""Requests handled in one step, so that the first of them does not wait for the last."""

RETRY_S = 1.0
"""How long to wait after a failed append, or an engine that took no orders, before trying again."""

SHORTEST_SLEEP_S = 0.005
"""A deadline of the world that brings no change must not make the loop spin."""

UNAVAILABLE = NotDone(
    code=NotDoneCode.UNAVAILABLE,
    message="The platform could not make this durable, so nothing was done. Ask again in a moment.",
)


class Waiting(Struct, frozen=True):
    """A request and the place its answer goes to."""

    request: Request
    answer: asyncio.Future[Reply]

    def reply(self, answer: Reply) -> None:
        """Give the answer, unless whoever asked has gone away."""
        if not self.answer.done():
            self.answer.set_result(answer)


class Loop:
    """Runs `Control` for as long as the platform is up. All methods are for the event loop's thread."""

    def __init__(self, control: Control, clock: Clock, engines: Engines) -> None:
        self.control = control
        self.feed = Feed(control.position)
        self.trouble = ""
        """Why the last batch could not be made durable; empty when all is well."""
        self._clock = clock
        self._engines = engines
        self._waiting: list[Waiting] = []
        self._seen: list[Observation] = []
        self._orders: list[Order] = []
        self._wanted = asyncio.Event()
        self._seen_something = asyncio.Event()
        self._ordered = asyncio.Event()
        self._closing = False
        self._append_thread = ThreadPoolExecutor(1, "append")
        self._engine_thread = ThreadPoolExecutor(1, "engines")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Find out what became of the attempts that were open before, then begin."""
        await self._recover()
        loop = asyncio.get_running_loop()
        self._engines.on_observation(lambda: _wake(loop, self._seen_something))
        self._seen_something.set()
        self._wanted.set()
        self._tasks = [
            asyncio.create_task(self._step_forever(), name="steps"),
            asyncio.create_task(self._tell_engines_forever(), name="orders"),
            asyncio.create_task(self._watch_engines_forever(), name="observations"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._note_end)

    async def ask(self, request: Request) -> Reply:
        """Hand in a request; returns once its answer is durable."""
        if self._closing:
            return UNAVAILABLE
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(request, answer))
        self._wanted.set()
        return await answer

    async def close(self) -> None:
        """Let the batch and the orders on their way finish, then stop. Whoever still waits is told to ask again."""
        self._closing = True
        self._wanted.set()
        self._ordered.set()
        if self._tasks:
            steps, orders, observations = self._tasks
            observations.cancel()
            await asyncio.gather(steps, orders, observations, return_exceptions=True)
        for each in self._waiting:
            each.reply(UNAVAILABLE)
        self.feed.close()
        self._append_thread.shutdown()
        self._engine_thread.shutdown()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A part of the loop that ends by itself is a bug; the platform must not look healthy then."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("the loop's task %s ended", task.get_name(), exc_info=error)
            self.trouble = f"the loop's task {task.get_name()} ended: {error}"

    async def _step_forever(self) -> None:
        while not self._closing:
            await self._until_wanted()
            await self._turn()

    async def _until_wanted(self) -> None:
        """Sleep until something arrives or the world's next deadline."""
        wake_ms = self.control.world.next_wake_ms()
        sleep_s = None if wake_ms is None else max((wake_ms - self._clock.now_ms()) / 1000, SHORTEST_SLEEP_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), sleep_s)
        self._wanted.clear()

    async def _turn(self) -> None:
        """Take what waits, decide, make it durable; only then give answers, tell watchers and order engines."""
        waiting, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
        seen, self._seen = self._seen, []
        if self._waiting:
            self._wanted.set()
        try:
            step = self.control.step([each.request for each in waiting], seen, self._clock.now_ms())
            if step.must_be_kept:
                await self._in_thread(self._append_thread, partial(self.control.commit, step))
        except Exception as error:  # A full disk, another writer, or our own bug: it is the same to those who wait.
            await self._start_over(waiting, seen, error)
            return
        for each, answer in zip(waiting, step.answers, strict=True):
            each.reply(answer)
        self.feed.publish(self.control.position, step.changes)
        self._order(step.orders)

    async def _start_over(self, waiting: list[Waiting], seen: list[Observation], error: Exception) -> None:
        """Build the world again from the ledger. What engines saw is kept; who asked must ask again."""
        log.critical("a batch was not made durable; rebuilding the world from the ledger", exc_info=error)
        self.trouble = f"{type(error).__name__}: {error}"
        for each in waiting:
            each.reply(UNAVAILABLE)
        self._seen = seen + self._seen
        while not self._closing:
            await asyncio.sleep(RETRY_S)
            try:
                await self._in_thread(self._append_thread, self.control.rebuild)
                await self._recover()
            except Exception:
                log.critical("the world could not be rebuilt yet", exc_info=True)
                continue
            self.trouble = ""
            self._wanted.set()
            return

    async def _recover(self) -> None:
        found = await self._in_thread(self._engine_thread, partial(recover, self.control, self._engines))
        self._seen.extend(found.observations)
        self._order(found.orders)

    def _order(self, orders: list[Order]) -> None:
        if orders:
            self._orders.extend(orders)
            self._ordered.set()

    async def _tell_engines_forever(self) -> None:
        """Send orders in turn. What an engine did not take is sent again, before anything newer for that attempt."""
        while self._orders or not self._closing:
            await self._ordered.wait()
            self._ordered.clear()
            orders, self._orders = self._orders, []
            untold = await self._in_thread(self._engine_thread, partial(self._engines.carry_out, orders))
            if untold and not self._closing:
                await asyncio.sleep(RETRY_S)
                self._orders = untold + self._orders
            if self._orders or self._closing:
                self._ordered.set()

    async def _watch_engines_forever(self) -> None:
        while True:
            await self._seen_something.wait()
            self._seen_something.clear()
            try:
                seen = await self._in_thread(self._engine_thread, self._engines.observe)
            except Exception:
                log.exception("an engine could not be observed; it is asked again")
                await asyncio.sleep(RETRY_S)
                self._seen_something.set()
                continue
            # Only now: a turn of the loop may have taken the list away during the wait.
            self._seen.extend(seen)
            if self._seen:
                self._wanted.set()

    async def _in_thread(self, thread: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(thread, work)


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event of the loop from any thread; an engine may still speak while the loop is closing."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(event.set)
