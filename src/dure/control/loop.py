"""The driver of the loop on a live platform: when to step, and what runs on which thread.

Requests that arrive while a batch is being made durable wait for the next one (group commit), so the busier the
platform, the larger its batches. Steps run on the event loop's thread, the append on a thread of its own, and what is
said to each engine on another (`dure.control.links`), so that neither a slow disk nor a slow engine stops the platform
from answering. Nothing polls: the loop sleeps until a request, an engine, or the world's own next deadline wakes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from msgspec import Struct

from dure.control.access import PLATFORM
from dure.control.control import Control
from dure.control.feed import Feed
from dure.control.links import RETRY_S, Link
from dure.control.orders import EngineAddress, Engines, Order, Seen, address_of
from dure.control.oversight.airlock_keeper import AirlockKeeper
from dure.control.ports import Clock, LedgerError
from dure.control.requests import ChangeContact, NotDone, NotDoneCode, Reply, Request
from dure.control.threads import Thread
from dure.control.used_keys import read_used_keys

log = logging.getLogger(__name__)

LARGEST_BATCH = 512
"""Requests handled in one step, so that the first of them does not wait for the last."""

RECOVERY_PATIENCE_S = 3.0
"""How long a start waits for engines to say what they run. Those that are slower are not waited for."""

SHORTEST_SLEEP_S = 0.005
"""A deadline of the world that brings no change must not make the loop spin."""

UNAVAILABLE = NotDone(
    code=NotDoneCode.UNAVAILABLE,
    message="The platform could not make this durable. Ask again in a moment: "
    "with the same idempotency key, nothing is done twice.",
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
        self.after_commit: Callable[[int], None] = lambda position: None
        """Told the size of the ledger after each batch."""
        self.feed = Feed(control.position)
        self.trouble = ""
        """Why the last batch could not be made durable; empty when all is well."""
        self._clock = clock
        self._engines = engines
        self._waiting: list[Waiting] = []
        self._seen: list[Seen] = []
        self._wanted = asyncio.Event()
        self._durable = asyncio.Event()
        """Set while the world is what the ledger says; a step that is being appended is not durable yet."""
        self._durable.set()
        self._becomes_durable: asyncio.Future[bool] | None = None
        """Whether the step that is being appended could be; None while there is none."""
        self._closing = False
        self._appender = Thread("append")
        self._key_reader = Thread("used keys")
        self._reading_keys: asyncio.Task[None] | None = None
        self._links = {
            address: Link(address, engines, control, clock, Thread(str(address)), self._take_seen, self._durable)
            for address in engines.addresses
        }
        self._steps: asyncio.Task[None] | None = None
        self._airlock = AirlockKeeper(control, engines, clock, self.ask)
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find out what became of the attempts that were open before, then begin."""
        tasks = [task for link in self._links.values() for task in link.begin()]
        await self._recover()
        self._wanted.set()
        self._steps = asyncio.create_task(self._step_forever(), name="steps")
        self._keeping = asyncio.create_task(self._airlock.run(), name="airlock")
        for task in (*tasks, self._steps, self._keeping):
            task.add_done_callback(self._note_end)

    async def ask(self, request: Request) -> Reply:
        """Hand in a request; returns once its answer is durable."""
        if self._closing:
            return UNAVAILABLE
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(request, answer))
        self._wanted.set()
        return await answer

    async def until_durable(self) -> bool:
        """Wait until the ledger has all that the world says now. False when it has not and will not."""
        return self._becomes_durable is None or await asyncio.shield(self._becomes_durable)

    async def close(self) -> None:
        """Let the batch and the orders on their way finish, then stop. Whoever still waits is told to ask again."""
        self._closing = True
        if self._keeping is not None:
            self._keeping.cancel()
        self._wanted.set()
        if self._steps is not None:
            await asyncio.gather(self._steps, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in self._links.values()))
        if self._reading_keys is not None:
            await asyncio.gather(self._reading_keys, return_exceptions=True)
        self._refuse_waiting()
        self.feed.close()
        self._appender.close()
        self._key_reader.close()
        self._airlock.close()

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
        """Sleep until something arrives or the next deadline."""
        wake_ms = self.control.next_wake_ms()
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
        self._durable.clear()
        self._becomes_durable = becomes_durable = asyncio.get_running_loop().create_future()
        try:
            contacts = self._changed_contacts()
            requests = [*contacts, *(each.request for each in waiting)]
            step = self.control.step(requests, seen, self._clock.now_ms())
            if step.must_be_kept:
                await self._appender.run(partial(self.control.commit, step))
        except Exception as error:  # A full disk, another writer, or our own bug: it is the same to those who wait.
            await self._start_over(waiting, seen, error)
            return
        self._note_durable()
        becomes_durable.set_result(True)
        for each, answer in zip(waiting, step.answers[len(contacts) :], strict=True):
            each.reply(answer)
        self.feed.publish(self.control.position, step.changes)
        self._order(step.orders)
        self.after_commit(self.control.position)
        self._airlock.wake()
        if self.control.used_keys.must_be_read:
            # Here no step is under way, so that every key is either durable or told to it from now on.
            self.control.used_keys.begin_reading()
            self._reading_keys = asyncio.create_task(self._read_used_keys(), name="used keys")
            self._reading_keys.add_done_callback(self._note_end)
        if self._changed_contacts():
            # A site was declared to which there is no way now.
            self._wanted.set()

    async def _read_used_keys(self) -> None:
        """Once after the start, and when there have come too many."""
        reading = None
        try:
            read = partial(read_used_keys, self.control.ledger, lambda: not self._closing)
            reading = await self._key_reader.run(read)
        except LedgerError as error:
            log.warning("used idempotency keys could not be read, and are again later: %s", error)
        finally:
            self.control.used_keys.end_reading(reading)

    async def _start_over(self, waiting: list[Waiting], seen: list[Seen], error: Exception) -> None:
        """Build the world again from the ledger. What engines saw is kept; who asked must ask again."""
        log.critical("a batch was not made durable; rebuilding the world from the ledger", exc_info=error)
        self.trouble = f"{type(error).__name__}: {error}"
        assert self._becomes_durable is not None
        self._becomes_durable.set_result(False)
        for each in waiting:
            each.reply(UNAVAILABLE)
        self._seen = seen + self._seen
        while not self._closing:
            await asyncio.sleep(RETRY_S)
            try:
                await self._appender.run(self.control.rebuild)
                self._note_durable()
                await self._recover()
            except Exception:
                log.critical("the world could not be rebuilt yet", exc_info=True)
                self._refuse_waiting()
                continue
            self.trouble = ""
            self._wanted.set()
            return

    def _note_durable(self) -> None:
        self._becomes_durable = None
        self._durable.set()

    def _refuse_waiting(self) -> None:
        """Nobody is kept waiting for what may take long."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.reply(UNAVAILABLE)

    async def _recover(self) -> None:
        """Have every engine say what it runs; one that takes long says so later, and nothing is sent there before."""
        recoveries = [link.recover() for link in self._links.values()]
        if recoveries:
            await asyncio.wait(recoveries, timeout=RECOVERY_PATIENCE_S)

    def _order(self, orders: list[Order]) -> None:
        for order in orders:
            link = self._links.get(order.engine)
            if link is None:
                about = {"attempt": order.attempt_id}
                log.error("no way to the engine %s is set up, so it is not told an order", order.engine, extra=about)
            else:
                link.order(order)

    def _take_seen(self, seen: Sequence[Seen]) -> None:
        self._seen.extend(seen)
        if self._seen or self._changed_contacts():
            self._wanted.set()

    def _changed_contacts(self) -> list[ChangeContact]:
        """Sites whose engines were lost or found since the world last heard of it."""
        lost = self.control.world.lost_sites
        problems = {site.name: self._problem_with(address_of(site)) for site in self.control.world.nation.sites}
        return [
            ChangeContact(caller=PLATFORM, site=site, problem=problem)
            for site, problem in problems.items()
            if bool(problem) != (site in lost)
        ]

    def _problem_with(self, engine: EngineAddress) -> str:
        link = self._links.get(engine)
        return link.problem if link else f"no way to its engine ({engine.engine.value}) is set up"
