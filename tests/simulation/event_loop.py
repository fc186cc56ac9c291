"""An asyncio event loop on simulated time. Dropping it is the death of a process: nothing in it runs any more."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any
from weakref import WeakSet

from tests.simulation.scheduler import SECOND_US, Scheduler

LONGEST_TURN_US = 50
"""Between two callbacks of the loop; others may happen in between."""


class ProcessDied(BaseException):
    """The process is killed in the middle of what it does. Not an `Exception`: nothing it runs can handle it."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as the platform uses.

    Callbacks run in the order in which they were asked for, as asyncio promises, one per event of the scheduler. Each
    executor is a thread: it does one thing after the other, at moments drawn by chance.
    """

    def __init__(self, scheduler: Scheduler, chance: random.Random, slowest_us: Callable[[str], int]) -> None:
        self._scheduler = scheduler
        self._chance = chance
        self._slowest_us = slowest_us
        self._ready: deque[asyncio.Handle] = deque()
        self._is_due = False
        self._threads: dict[int, _Thread] = {}
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.is_dead = False
        self.failures: list[str] = []
        """What nobody handled."""
        self.on_death: Callable[[], None] = lambda: None

    # What asyncio asks of a loop.

    def time(self) -> float:
        """Seconds since the story began."""
        return self._scheduler.now_us / SECOND_US

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.is_dead

    def is_closed(self) -> bool:
        return self.is_dead

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.add(task)
        return task

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._make_ready(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if self.is_dead:
            raise RuntimeError("Event loop is closed")
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        delay_us = -int(-(when - self.time()) * SECOND_US // 1)
        self._scheduler.after(delay_us, lambda: self._make_ready(timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: a cancelled timer is passed over when its time comes."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        thread = self._threads.setdefault(id(executor), _Thread(self, executor))
        return thread.do(lambda: func(*args))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.is_dead:
            self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    # What the story asks of it.

    def die(self) -> None:
        """Kill the process: whatever it was about to do does not happen."""
        if not self.is_dead:
            self.is_dead = True
            for task in self._tasks:
                _bury(task)
            self._ready.clear()
            self.on_death()

    def _make_ready(self, handle: asyncio.Handle) -> None:
        if self.is_dead or handle.cancelled():
            return
        self._ready.append(handle)
        self._run_soon()

    def _run_soon(self) -> None:
        if self._ready and not self._is_due:
            self._is_due = True
            self._scheduler.after(self._chance.randint(1, LONGEST_TURN_US), self._run_one)

    def _run_one(self) -> None:
        self._is_due = False
        if self._ready and not self.is_dead:
            handle = self._ready.popleft()
            if not handle.cancelled():
                self.inside(handle._run)
            self._run_soon()

    def inside(self, work: Callable[[], object]) -> None:
        """Do something as this process; it may die of it."""
        events._set_running_loop(self)
        try:
            work()
        except ProcessDied:
            self.die()
        finally:
            events._set_running_loop(None)


def _bury(task: asyncio.Task[Any]) -> None:
    """Nobody complains that a task of a dead process did not finish."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine = task.get_coro()
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        coroutine.close()


class _Thread:
    """One worker thread: it takes its work in turn, and takes its time."""

    def __init__(self, loop: SimulatedLoop, executor: Executor | None) -> None:
        self.name = str(getattr(executor, "_thread_name_prefix", "default"))
        self._executor = executor  # Kept, so that no other gets the same id.
        self._loop = loop
        self._waiting: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._is_busy = False

    def do(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        self._waiting.append((work, future))
        self._take_next()
        return future

    def _take_next(self) -> None:
        if self._waiting and not self._is_busy:
            self._is_busy = True
            work, future = self._waiting.popleft()
            self._later(lambda: self._run(work, future))

    def _later(self, action: Callable[[], None]) -> None:
        loop = self._loop
        slowest_us = loop._slowest_us(self.name)
        loop._scheduler.after(loop._chance.randint(1, slowest_us), lambda: None if loop.is_dead else action())

    def _run(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        """Do the work now; what came of it is known a while later."""
        try:
            result = work()
        except ProcessDied:
            self._loop.die()
            return
        except Exception as error:
            failure = error
            self._later(lambda: self._finish(lambda: future.set_exception(failure), future))
        else:
            self._later(lambda: self._finish(lambda: future.set_result(result), future))

    def _finish(self, tell: Callable[[], None], future: asyncio.Future[Any]) -> None:
        self._is_busy = False
        if not future.done():
            tell()
        self._take_next()
