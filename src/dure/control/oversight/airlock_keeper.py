"""Sees to the airlock while the platform is up: has results inspected, and deletes what is not to be kept.

It compares what the ledger says with what has been done, whenever something may have changed, so that nothing needs to
be remembered over a restart: a job that is over and not held yet is inspected, what was refused is deleted, and so are
the checkpoints of a job that will never run again, and everything when its time is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from dure.control.access import PLATFORM
from dure.control.attempts import attempt_id
from dure.control.control import Control
from dure.control.launching import datasets_of
from dure.control.orders import Engines
from dure.control.outputs import HeldOutput
from dure.control.oversight.result_requests import HoldResults, WipeResults
from dure.control.ports import Clock, ExecutorError
from dure.control.requests import Reply, Request
from dure.control.threads import Thread
from dure.governance.airlock import ResultState
from dure.governance.inspection.terms import terms_for
from dure.model.datasets import Dataset
from dure.model.results import InspectedResult

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""How long to wait after an engine did not do what was asked, before asking again."""
MOST_TRIES = 3
"""How often an inspection is tried. Then the job's results are held without: none of them can be released."""

Found = TypeVar("Found")
Ask = Callable[[Request], Awaitable[Reply]]


class AirlockKeeper:
    """Runs on the event loop's thread; what takes long, on one of its own."""

    def __init__(self, control: Control, engines: Engines, clock: Clock, ask: Ask) -> None:
        self._control = control
        self._engines = engines
        self._clock = clock
        self._ask = ask
        self._news = asyncio.Event()
        self._worker: Thread | None = None
        self._tries: dict[str, int] = {}
        self._discarded: set[tuple[str, int]] = set()
        """Results by job and number that were deleted in the life of this process; number 0 stands for checkpoints."""

    def wake(self) -> None:
        """Something may have changed."""
        if self._control.memory.outputs.held:
            self._news.set()

    async def run(self) -> None:
        """Work until cancelled."""
        self._news.set()
        while True:
            await self._until_news()
            self._news.clear()
            if not self._control.ledger.is_leading:
                continue
            try:
                await self._see_to_everything()
            except Exception as error:  # An engine may fail in any way; it is asked again.
                log.warning("the airlock could not be seen to, and is again in a moment: %s", error)
                await asyncio.sleep(RETRY_S)
                self._news.set()

    def close(self) -> None:
        """Wait for what has been begun, but not for an inspection: the next server begins it anew."""
        if self._worker is None:
            return
        for address in self._engines.addresses:
            self._engines.executor(address).end_inspection()
        self._worker.close()

    async def _until_news(self) -> None:
        """Sleep until something changed, or the time of some results is over."""
        end_ms = self._control.memory.register.airlock.next_end_ms()
        sleep_s = None if end_ms is None else max(0.1, (end_ms - self._clock.now_ms()) / 1000)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), sleep_s)

    async def _see_to_everything(self) -> None:
        for job, output in list(self._control.memory.outputs.held.items()):
            holding = self._control.memory.register.airlock.holdings.get(job)
            if holding is None:
                await self._inspect(job, output)
            elif self._clock.now_ms() >= holding.keep_until_ms:
                await self._ask(WipeResults(caller=PLATFORM, job=job))
            else:
                await self._discard(job, output, holding.numbers_in(ResultState.REFUSED))

    async def _inspect(self, job: str, output: HeldOutput) -> None:
        results: tuple[InspectedResult, ...] = ()
        names = [attempt_id(job, attempt) for attempt in range(1, output.attempts + 1)]
        try:
            inspect = self._engines.executor(output.engine).inspect
            terms = terms_for(self._datasets_of(job))
            results = await self._in_thread(partial(inspect, names, self._data_of(job, output), terms))
        except ExecutorError as error:
            self._tries[job] = self._tries.get(job, 0) + 1
            if self._tries[job] < MOST_TRIES:
                raise
            log.error("the results of a job could not be inspected, so none can be released: %s", error)
        await self._ask(HoldResults(caller=PLATFORM, job=job, results=results))

    async def _discard(self, job: str, output: HeldOutput, refused: tuple[int, ...]) -> None:
        """Delete refused results, and the checkpoints."""
        due = [number for number in (0, *refused) if (job, number) not in self._discarded]
        if due:
            await self._in_thread(partial(self._delete, job, output, due))
            self._discarded.update((job, number) for number in due)

    def _delete(self, job: str, output: HeldOutput, numbers: list[int]) -> None:
        executor = self._engines.executor(output.engine)
        names = [attempt_id(job, attempt) for attempt in range(1, output.attempts + 1)]
        results = [(name, each) for name in names for each in executor.inspected(name)]
        for number in numbers:
            if number == 0:
                executor.discard_checkpoints(self._control.launching.checkpoint_dir(job))
            elif number <= len(results):
                name, result = results[number - 1]
                executor.discard(name, result.kind, result.path)

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        self._worker = self._worker or Thread("airlock")
        return await self._worker.run(work)

    def _data_of(self, job: str, output: HeldOutput) -> list[str]:
        """Where the data that the job read lies at its site; of data that is not declared any more, only its name."""
        spec = self._control.memory.specs.of(job)
        if spec is None:
            return ["the job's contents were erased"]
        paths = {each.name: each.paths.get(output.site, each.name) for each in self._datasets_of(job)}
        return [paths.get(name, name) for name in spec.data]

    def _datasets_of(self, job: str) -> list[Dataset]:
        spec = self._control.memory.specs.of(job)
        return datasets_of(self._control.world, spec) if spec else []
