"""Simulated sites: engines that keep to the executor contract and to nothing else.

An engine outlives the platform's processes. A job does what its command says: `simulated runs=12 exit=0 term=ignores
warning=yields`. Whatever the faults of the seed allow may happen to it on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING

from dure.control.orders import EngineAddress
from dure.executors.contract import (
    Ended,
    ExecutorError,
    Launch,
    NeverStarted,
    Observation,
    Refused,
    Started,
)
from dure.model.fleet import Engine
from tests.simulation.faults import Faults
from tests.simulation.scheduler import EPOCH_MS, SECOND_US, Scheduler

if TYPE_CHECKING:
    from tests.simulation.executor import SimulatedExecutor

KILLED = -9
TERMINATED = -15
YIELDED = 75
START_US = 300_000
SLOW_START_US = 20_000_000
REPORT_US = 50_000
LATE_REPORT_US = 15_000_000
LOOK_AGAIN_US = 500_000


class Phase(Enum):
    """Where an attempt is, as its engine knows."""

    TAKEN = "taken"
    RUNNING = "running"
    OVER = "over"
    NEVER = "never"
    REFUSED = "refused"


class Behaviour:
    """What a job does, read from its command."""

    def __init__(self, argv: Iterable[str]) -> None:
        said = dict(word.split("=", 1) for word in argv if "=" in word)
        self.runs_us = round(float(said.get("runs", "5")) * SECOND_US)
        self.exit_code = int(said.get("exit", "0"))
        self.ignores_term = said.get("term") == "ignores"
        self.yields = said.get("warning") == "yields"


class Attempt:
    """One attempt, as its engine remembers it."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.name = launch.attempt_id
        self.behaviour = Behaviour(launch.argv or launch.script.split())
        self.phase = Phase.TAKEN
        self.is_warned = False
        self.is_stopped = False
        self.last: Observation | None = None
        """What there is to say of it for good."""
        self.began: Started | None = None


class Watcher:
    """What is told of every process that begins or ends anywhere. The invariants are one."""

    def began(self, engine: SimulatedEngine, attempt: Attempt) -> None:
        """Processes run from now on."""

    def ended(self, engine: SimulatedEngine, attempt: Attempt) -> None:
        """Processes are gone."""

    def ordered(self, engine: SimulatedEngine, order: str, attempt_id: str) -> None:
        """The platform gave an order, and the engine took it."""


class SimulatedEngine:
    """One site's engine with all it runs. `links` are the platform's processes that are connected to it."""

    def __init__(self, address: EngineAddress, scheduler: Scheduler, faults: Faults, watcher: Watcher) -> None:
        self.address = address
        self.site = site = address.site or address.engine.value
        self.scheduler = scheduler
        self.faults = faults
        self.watcher = watcher
        self.chance = scheduler.stream(f"engine {site}")
        self.attempts: dict[str, Attempt] = {}
        self.links: list[SimulatedExecutor] = []
        self.is_reachable = True
        self.clock_is_off_ms = 0
        self.failed_nodes: set[str] = set()

    def now_ms(self) -> int:
        """What its own clock shows."""
        return EPOCH_MS + self.scheduler.now_us // 1000 + self.clock_is_off_ms

    def note(self, what: str) -> None:
        self.scheduler.note(self.site, what)

    # Orders.

    def take(self, launch: Launch) -> None:
        """Start an attempt, once."""
        known = self.attempts.get(launch.attempt_id)
        if known is not None and known.phase is not Phase.NEVER:
            self.note(f"is asked again to start {launch.attempt_id}, which is {known.phase.value}")
            return
        attempt = self.attempts[launch.attempt_id] = Attempt(launch)
        slowest_us = SLOW_START_US if self._strikes("slow-start", attempt) else START_US
        delay_us = self.chance.randint(1_000, slowest_us)
        if self._strikes("refused", attempt):
            self._later(delay_us, lambda: self._never(attempt, Phase.REFUSED, "not here"))
        elif self._strikes("false-start", attempt):
            self._later(delay_us, lambda: self._never(attempt, Phase.NEVER, "no room"))
        else:
            self._later(delay_us, lambda: self._begin(attempt))

    def warn(self, attempt_id: str) -> None:
        """A job that listens yields a moment after its warning."""
        attempt = self.attempts.get(attempt_id)
        if attempt is not None and attempt.phase in {Phase.TAKEN, Phase.RUNNING}:
            attempt.is_warned = True
            if attempt.phase is Phase.RUNNING:
                self._listen(attempt)

    def spare(self, attempt_id: str) -> None:
        """Take the warning back."""
        attempt = self.attempts.get(attempt_id)
        if attempt is not None:
            attempt.is_warned = False

    def stop(self, attempt_id: str, grace_ms: int) -> None:
        """SIGTERM now, SIGKILL after the grace. What has not begun ends without beginning."""
        attempt = self.attempts.get(attempt_id)
        if attempt is None or attempt.phase not in {Phase.TAKEN, Phase.RUNNING} or attempt.is_stopped:
            return
        attempt.is_stopped = True
        if attempt.phase is Phase.TAKEN:
            self._end(attempt, TERMINATED)
            return
        grace_us = grace_ms * 1000
        if attempt.behaviour.ignores_term:
            self._later(grace_us, lambda: self._end(attempt, KILLED))
        else:
            self._later(self.chance.randint(0, grace_us // 2), lambda: self._end(attempt, TERMINATED))

    def forget(self, attempt_id: str) -> None:
        """Keep nothing of an attempt that is over."""
        attempt = self.attempts.get(attempt_id)
        if attempt is None:
            return
        if attempt.phase in {Phase.TAKEN, Phase.RUNNING}:
            raise ExecutorError(f"{attempt_id} has not ended")
        del self.attempts[attempt_id]

    # What becomes of attempts.

    def _begin(self, attempt: Attempt) -> None:
        if attempt.phase is not Phase.TAKEN:
            return
        if any(placement.node in self.failed_nodes for placement in attempt.launch.placements):
            self._never(attempt, Phase.NEVER, "its node is down")
            return
        attempt.phase = Phase.RUNNING
        self.note(f"{attempt.name} begins")
        self.watcher.began(self, attempt)
        attempt.began = Started(attempt_id=attempt.name, at_ms=self.now_ms(), nodes=self._nodes_chosen(attempt))
        self.report(attempt.began)
        behaviour = attempt.behaviour
        self._later(behaviour.runs_us, lambda: self._end(attempt, behaviour.exit_code))
        within_us = self.chance.randint(1, max(behaviour.runs_us, 1))
        if self._strikes("rank-dies", attempt):
            self._later(within_us, lambda: self._end(attempt, KILLED))
        elif self._strikes("vanishes", attempt):
            self._later(within_us, lambda: self._end(attempt, KILLED, was_lost=True))
        if attempt.is_warned:
            self._listen(attempt)

    def _nodes_chosen(self, attempt: Attempt) -> tuple[str, ...]:
        """Other engines than the local one give nodes names of their own."""
        if self.address.engine is Engine.LOCAL:
            return ()
        return tuple(f"{self.site}-{each.node}" for each in attempt.launch.placements)

    def _listen(self, attempt: Attempt) -> None:
        if attempt.behaviour.yields:
            self._later(self.chance.randint(1_000, 2 * SECOND_US), lambda: self._yield(attempt))

    def _yield(self, attempt: Attempt) -> None:
        if attempt.is_warned:
            self._end(attempt, YIELDED)

    def _end(self, attempt: Attempt, exit_code: int, *, was_lost: bool = False) -> None:
        if attempt.phase not in {Phase.TAKEN, Phase.RUNNING}:
            return
        ran = attempt.phase is Phase.RUNNING
        attempt.phase = Phase.OVER
        self.note(f"{attempt.name} ends with {exit_code}{' (lost)' if was_lost else ''}")
        attempt.last = Ended(attempt_id=attempt.name, at_ms=self.now_ms(), exit_code=exit_code, was_lost=was_lost)
        if ran:
            self.watcher.ended(self, attempt)
        self.report(attempt.last)

    def _never(self, attempt: Attempt, phase: Phase, reason: str) -> None:
        if attempt.phase is not Phase.TAKEN:
            return
        attempt.phase = phase
        self.note(f"{attempt.name} never starts: {reason}")
        kind = Refused if phase is Phase.REFUSED else NeverStarted
        attempt.last = kind(attempt_id=attempt.name, at_ms=self.now_ms(), reason=reason)
        self.report(attempt.last)

    # Faults of the whole site.

    def lose_contact(self, for_us: int) -> None:
        """Nobody hears anything of it for a while."""
        if self.is_reachable:
            self.scheduler.fault("contact-lost", self.site, f"for {for_us / SECOND_US:.1f} s")
            self._be_away(for_us)

    def restart_agent(self, for_us: int) -> None:
        """What it had taken and not begun, it may have forgotten; it says so when it is back."""
        if not self.is_reachable:
            return
        self.scheduler.fault("agent-restarted", self.site, f"away for {for_us / SECOND_US:.1f} s")
        for attempt in self.attempts.values():
            if attempt.phase is Phase.TAKEN and self.chance.random() < 0.5:
                self._never(attempt, Phase.NEVER, "the agent forgot it")
        self._be_away(for_us)

    def fail_node(self, node: str, for_us: int) -> None:
        """Everything on it is gone, and nothing starts there for a while."""
        self.scheduler.fault("node-fails", self.site, f"{node} for {for_us / SECOND_US:.1f} s")
        self.failed_nodes.add(node)
        for attempt in list(self.attempts.values()):
            if attempt.phase is Phase.RUNNING and any(each.node == node for each in attempt.launch.placements):
                self._end(attempt, KILLED, was_lost=True)
        self._later(for_us, lambda: self.failed_nodes.discard(node))

    def run_stray(self, name: str) -> None:
        """Something runs that this platform never asked for."""
        self.scheduler.fault("stray-attempt", self.site, name)
        stray = Attempt(_stray(name, self.site))
        self.attempts[name] = stray
        self._begin(stray)

    def _be_away(self, for_us: int) -> None:
        for link in self.links:
            link.heard_at_ms = link.now_ms()
        self.is_reachable = False
        self._tell_of_contact()
        self._later(for_us, self._come_back)

    def _come_back(self) -> None:
        self.is_reachable = True
        self.note("answers again")
        self._tell_of_contact()

    def _tell_of_contact(self) -> None:
        for link in self.links:
            self._later(self.chance.randint(1_000, REPORT_US), link.wake)

    # What is told.

    def report(self, seen: Observation) -> None:
        """Tell every connected platform, sooner or later, once or twice."""
        for link in self.links:
            self.report_to(link, seen)
            if self.faults.strikes("report-repeated"):
                self.scheduler.fault("report-repeated", self.site, seen.attempt_id)
                self.report_to(link, seen)

    def report_to(self, link: SimulatedExecutor, seen: Observation) -> None:
        slowest_us = REPORT_US
        if self.faults.strikes("report-late"):
            self.scheduler.fault("report-late", self.site, seen.attempt_id)
            slowest_us = LATE_REPORT_US
        self._later(self.chance.randint(1_000, slowest_us), lambda: self._deliver(link, seen))

    def _deliver(self, link: SimulatedExecutor, seen: Observation) -> None:
        if link not in self.links or self._is_out_of_date(seen):
            return
        if not self.is_reachable:
            self._later(LOOK_AGAIN_US, lambda: self._deliver(link, seen))
            return
        link.receive(seen)

    def _is_out_of_date(self, seen: Observation) -> bool:
        """Nobody says that an attempt never started who has since been told again to start it."""
        attempt = self.attempts.get(seen.attempt_id)
        return isinstance(seen, NeverStarted) and (attempt is None or attempt.last is not seen)

    def _later(self, delay_us: int, action: Callable[[], None]) -> None:
        self.scheduler.after(delay_us, action)

    def _strikes(self, kind: str, attempt: Attempt) -> bool:
        if not self.faults.strikes(kind):
            return False
        self.scheduler.fault(kind, self.site, attempt.name)
        return True


def _stray(name: str, site: str) -> Launch:
    return Launch(
        attempt_id=name,
        site=site,
        gpu_class="",
        placements=(),
        argv=("simulated", "runs=1000000"),
        script="",
        setup="",
        workdir="",
        env={},
        secret_env={},
        checkpoint_dir="",
    )
