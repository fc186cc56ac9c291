"""Expected starts, worked out beside the loop: the world is copied between two steps, and played on a thread.

A copy serves everyone who asks about the same moment, or a little later: copying never takes more than a twentieth of
the loop's time. Nobody waits in a long line: when too many ask, some are told to ask again.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from dure.control.control import Control
from dure.control.ports import Clock
from dure.model.blockers import Eta, NoEta
from dure.model.jobs import JobState
from dure.twin.forecast import Forecasts, moment_in, moment_of
from dure.world.cards import JobCard
from dure.world.world import World

LONGEST_LINE = 16
SHARE_OF_LOOP = 20
"""A copy is used for so many times as long as it took to make."""
KEPT_S = 30.0
"""How long the last copy is kept after somebody asked."""


class Expectations:
    """When jobs may start. All methods are for the event loop's thread."""

    def __init__(self, control: Control, clock: Clock) -> None:
        self.is_prepared = False
        """True once the simulation is compiled and loaded."""
        self._control = control
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "expectations")
        self._line = 0
        self._forecasts: Forecasts | None = None
        self._usable_until_s = 0.0
        self._forgetting: asyncio.TimerHandle | None = None

    async def of(self, card: JobCard) -> Eta | NoEta:
        """When a job of the platform may start, or why that is not known."""
        reason = self._why_not(card)
        return reason or await self._play(self._forecasts_with(card), card)

    async def in_copy(self, copy: World, card: JobCard) -> Eta | NoEta:
        """The same for a job in a copy of the world that nobody else uses."""
        reason = self._why_not(card)
        return reason or await self._play(Forecasts(moment_in(copy, self._clock.now_ms())), card)

    def close(self) -> None:
        """Let go of the thread; nobody asks any more."""
        self._forget()
        self._thread.shutdown(cancel_futures=True)

    def _why_not(self, card: JobCard) -> NoEta | None:
        if not card.state.is_waiting:
            return NoEta.NOT_WAITING
        if self._control.halted:
            return NoEta.HALTED
        if card.state is JobState.HELD and card.release_at_ms is None:
            return NoEta.HELD
        if not self.is_prepared:
            return NoEta.PREPARING
        return NoEta.BUSY if self._line >= LONGEST_LINE else None

    async def _play(self, forecasts: Forecasts, card: JobCard) -> Eta:
        loop = asyncio.get_running_loop()
        self._line += 1
        try:
            return await loop.run_in_executor(self._thread, partial(forecasts.eta, card.row, card.release_at_ms))
        finally:
            self._line -= 1

    def _forecasts_with(self, card: JobCard) -> Forecasts:
        """Those of the last copy if it still holds and has the job, else of a new one."""
        known = self._forecasts
        sequence = int(self._control.world.columns.jobs[card.row].sequence)
        is_usable = time.monotonic() < self._usable_until_s and known is not None and known.waits(card.row, sequence)
        if known is None or not is_usable:
            known = self._forecasts = self._copy()
        self._forget_later()
        return known

    def _copy(self) -> Forecasts:
        began_s = time.monotonic()
        forecasts = Forecasts(moment_of(self._control.world, self._clock.now_ms()))
        ended_s = time.monotonic()
        self._usable_until_s = ended_s + SHARE_OF_LOOP * (ended_s - began_s)
        return forecasts

    def _forget_later(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(KEPT_S, self._forget)

    def _forget(self) -> None:
        self._forecasts = None
