"""The ways to the engines while the platform is up: one link each, so that no engine waits for another.

A link asks its engine what became of the attempts that were open, sends it orders in turn, and fetches what it saw. An
engine that has not been heard for a while is lost: the world then starts nothing there, and what runs runs on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from dure.control.control import Control
from dure.control.orders import EngineAddress, Engines, Order, Seen
from dure.control.ports import Clock
from dure.control.recovery import ask_engine, open_attempts, sort_out
from dure.control.threads import Thread

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""How long to wait after an engine did not do what it was asked, before asking again."""

LOST_AFTER_MS = 10_000
"""An engine that has not been heard for so long is lost."""

Report = Callable[[Sequence[Seen]], None]
"""Takes what an engine saw; also called with nothing, when the contact may have changed."""


class Link:
    """The way to one engine. All methods are for the event loop's thread."""

    def __init__(
        self,
        address: EngineAddress,
        engines: Engines,
        control: Control,
        clock: Clock,
        worker: Thread,
        report: Report,
        durable: asyncio.Event,
    ) -> None:
        self.address = address
        self._engines = engines
        self._control = control
        self._clock = clock
        self._worker = worker
        self._report = report
        self._durable = durable
        self._orders: list[Order] = []
        self._news = asyncio.Event()
        self._ordered = asyncio.Event()
        self._recovered = asyncio.Event()
        self._recovery: asyncio.Task[None] | None = None
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> list[asyncio.Task[None]]:
        """Work from now on. The first thing to do is to `recover`."""
        loop = asyncio.get_running_loop()
        self._engines.on_observation(self.address, lambda: _wake(loop, self._news))
        self._news.set()
        name = str(self.address)
        self._tasks = [
            asyncio.create_task(self._send_forever(), name=f"orders to {name}"),
            asyncio.create_task(self._observe_forever(), name=f"observations of {name}"),
        ]
        return self._tasks

    def recover(self) -> asyncio.Task[None]:
        """Find out what became of the attempts that should be open. Until then no order is sent."""
        if self._recovery is not None:
            self._recovery.cancel()
        self._recovered.clear()
        self._recovery = asyncio.create_task(self._recover(), name=f"recovery of {self.address}")
        return self._recovery

    def order(self, order: Order) -> None:
        """Send an order, after those before it."""
        self._orders.append(order)
        self._ordered.set()

    @property
    def problem(self) -> str:
        """Why nothing can be started there: the engine has not been heard for too long. Empty when all is well."""
        contact = self._engines.contact(self.address)
        if contact is None or not contact.problem:
            return ""
        silent_ms = self._clock.now_ms() - contact.heard_at_ms
        return contact.problem if silent_ms >= LOST_AFTER_MS else ""

    async def close(self) -> None:
        """Let the orders on their way finish, then stop."""
        self._closing = True
        self._ordered.set()
        if self._recovery is not None:
            self._recovery.cancel()
        if self._tasks:
            sending, observing = self._tasks
            observing.cancel()
            if not self._recovered.is_set():
                sending.cancel()
            await asyncio.gather(sending, observing, return_exceptions=True)
        self._worker.close()

    async def _recover(self) -> None:
        complaint = ""
        while True:
            await self._until_durable()
            try:
                names = open_attempts(self._control.world, self.address)
                known = await self._worker.run(partial(ask_engine, self._engines, self.address, names))
            except Exception as error:  # An engine may fail in any way; it is asked until it answers.
                if str(error) != complaint:
                    complaint = str(error)
                    log.warning("engine %s does not say what it runs; it is asked again: %s", self.address, error)
                await asyncio.sleep(RETRY_S)
                continue
            await self._until_durable()
            found = sort_out(self._control, self.address, known)
            # What waits to be sent about these attempts is found anew, if it still holds.
            self._orders = [order for order in self._orders if order.attempt_id not in known.attempts]
            for order in found.orders:
                self.order(order)
            self._recovered.set()
            self._news.set()
            self._report(found.observations)
            return

    async def _until_durable(self) -> None:
        """Wait until the world says nothing that the ledger does not; so it is until the next time this task waits."""
        while not self._durable.is_set():
            await self._durable.wait()

    async def _send_forever(self) -> None:
        """Send orders in turn. What an engine did not take is sent again, before anything newer for that attempt."""
        while self._orders or not self._closing:
            await self._ordered.wait()
            await self._recovered.wait()
            self._ordered.clear()
            orders, self._orders = self._orders, []
            untold = await self._tell(orders)
            if untold and not self._closing:
                self._orders = untold + self._orders
                self._news.set()
                await asyncio.sleep(RETRY_S)
            if self._orders or self._closing:
                self._ordered.set()

    async def _tell(self, orders: list[Order]) -> list[Order]:
        """Returns what was not told; that is all of it for as long as another server may have taken over."""
        if not self._control.ledger.is_leading:
            return orders
        return await self._worker.run(partial(self._engines.carry_out, orders))

    async def _observe_forever(self) -> None:
        while True:
            await self._until_news()
            self._news.clear()
            if not self._recovered.is_set():
                self._report(())
                continue
            try:
                seen = await self._worker.run(partial(self._engines.observe, self.address))
            except Exception:
                log.exception("engine %s could not be observed; it is asked again", self.address)
                await asyncio.sleep(RETRY_S)
                self._news.set()
                continue
            self._report(seen)

    async def _until_news(self) -> None:
        """Sleep until the engine says something, or until an engine that is silent counts as lost."""
        contact = self._engines.contact(self.address)
        if contact is None or not contact.problem or self.problem:
            await self._news.wait()
            return
        patience_ms = contact.heard_at_ms + LOST_AFTER_MS - self._clock.now_ms()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), max(patience_ms / 1000, 0.001))


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event of the loop from any thread; an engine may still speak while the loop is closing."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(event.set)
