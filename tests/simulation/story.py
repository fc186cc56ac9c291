"""One story: a nation, people, engines and a platform for a few simulated minutes, then calm, then the last look."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from dure import kernel
from dure.control.history import History
from dure.control.memory import Memory
from dure.control.orders import address_of
from dure.intake.nationfile import nation_from_document
from dure.model.jobs import JobState
from dure.policy import PolicySet
from dure.reports.shares import shares_report
from dure.world.cards import JobCard
from dure.world.columns import NEVER
from dure.world.world import World
from tests.simulation import documents
from tests.simulation.disk import SimulatedDisk
from tests.simulation.engine import Phase, SimulatedEngine
from tests.simulation.faults import Faults
from tests.simulation.invariants import Invariants
from tests.simulation.outcome import Outcome
from tests.simulation.people import People
from tests.simulation.scheduler import SECOND_US, Scheduler, Trace
from tests.simulation.server import VAULT_KEY, Server

LASTS_US = 150 * SECOND_US
BETWEEN_PEOPLE_US = 3 * SECOND_US
BETWEEN_CROWDERS_US = 2 * SECOND_US
CROWDED = 0.1
CROWDED_IF_CALM = 0.5
"""How many stories have more work than GPUs, so that owners take back what others borrowed."""
BETWEEN_FAULTS_US = 2 * SECOND_US
SETTLES_WITHIN_US = 4 * 3600 * SECOND_US
RECOVERS_BY_US = LASTS_US + 300 * SECOND_US
LOOK_EVERY_US = 20 * SECOND_US
MOST_EVENTS = 400_000


class Violation(Exception):
    """Something is as it must never be."""


class Story:
    """Plays one seed. `tell` gets the trace line by line."""

    def __init__(
        self, seed: int, folder: Path, policy_set: PolicySet, tell: Callable[[str], None] | None = None
    ) -> None:
        self.scheduler = Scheduler(seed, Trace(tell))
        self.faults = Faults(self.scheduler.stream("faults"))
        self.invariants = Invariants()
        self.disk = SimulatedDisk(self.scheduler, self.faults, folder)
        self.disk.on_durable = self.invariants.durable
        self.disk.on_found = self.invariants.found
        self.chance = self.scheduler.stream("story")
        self.nation = documents.nation_document(self.chance)
        addresses = dict.fromkeys(address_of(site) for site in nation_from_document(self.nation).sites)
        self.engines = [SimulatedEngine(each, self.scheduler, self.faults, self.invariants) for each in addresses]
        self.server = Server(self.scheduler, self.faults, self.disk, self.engines, policy_set)
        self.people = People(self.scheduler, self.faults, self.server, self.invariants, self.nation)
        self.policy_set = policy_set
        self._faults_seen = 0

    def play(self) -> Outcome:
        """Play it to its end, or to the first thing that must never be."""
        problem = ""
        try:
            self._play()
        except Violation as violation:
            problem = str(violation)
            self.scheduler.note("VIOLATION", problem)
        finally:
            self.server.close()
        return Outcome(
            seed=self.scheduler.seed,
            problem=problem,
            digest=self.scheduler.trace.digest,
            events=self.scheduler.events,
            entries=len(self.invariants.entries),
            jobs=len(self.invariants.submitted),
            lives=self.server.lives,
            simulated_s=self.scheduler.now_us / SECOND_US,
            guarantees_kept=self.invariants.guarantee.kept,
            faults=self.scheduler.trace.faults,
        )

    def _play(self) -> None:
        self.scheduler.note(
            "story", f"seed {self.scheduler.seed}; faults: {', '.join(sorted(self.faults.kinds)) or 'none'}"
        )
        self.server.start()
        self.people.apply_nation(self.nation)
        self._people_act()
        if self.people.crowd_chance.random() < (CROWDED if self.faults.kinds else CROWDED_IF_CALM):
            self._people_crowd_in()
        self._faults_strike()
        self._run_until(LASTS_US, lambda: False)
        self._calm_down()
        self._run_until(LASTS_US + SETTLES_WITHIN_US, self._is_at_rest)
        self._look_at_the_end()

    # While it lasts.

    def _people_act(self) -> None:
        if self.scheduler.now_us < LASTS_US:
            if self.invariants.nation.sites:
                self.people.do_something()
            self.scheduler.after(round(self.chance.expovariate(1 / BETWEEN_PEOPLE_US)), self._people_act)

    def _people_crowd_in(self) -> None:
        if self.scheduler.now_us < LASTS_US:
            if self.invariants.nation.sites:
                self.people.crowd()
            pause_us = self.people.crowd_chance.expovariate(1 / BETWEEN_CROWDERS_US)
            self.scheduler.after(round(pause_us), self._people_crowd_in)

    def _faults_strike(self) -> None:
        if self.faults.are_over:
            return
        engine = self.chance.choice(self.engines)
        strikes = self.faults.strikes
        if strikes("killed"):
            self.scheduler.fault("killed", "server", "SIGKILL")
            self.server.kill("is killed")
        if strikes("stopped"):
            self.scheduler.fault("stopped", "server", "SIGTERM")
            self.server.stop()
        if strikes("contact-lost"):
            engine.lose_contact(self.chance.randint(1, 20 * SECOND_US))
        if strikes("agent-restarted"):
            engine.restart_agent(self.chance.randint(1, 5 * SECOND_US))
        if strikes("node-fails"):
            engine.fail_node(self.chance.choice(self._nodes()), self.chance.randint(1, 30 * SECOND_US))
        if strikes("stray-attempt"):
            engine.run_stray(self._name_of_a_stray())
        self._clocks_go_wrong(engine)
        self.scheduler.after(round(self.chance.expovariate(1 / BETWEEN_FAULTS_US)), self._faults_strike)

    def _name_of_a_stray(self) -> str:
        """Of a job that nothing had before: no two processes are the same job, not even of another platform."""
        known = {name.partition(".")[0] for name in self.invariants.ran}
        while (job := f"j{self.chance.randint(500, 999)}") in known:
            pass
        return f"{job}.{self.chance.randint(1, 3)}"

    def _clocks_go_wrong(self, engine: SimulatedEngine) -> None:
        if self.faults.strikes("clock-steps-back"):
            self._set_clock("clock-steps-back", -self.chance.choice([10, 1_000, 60_000, 3_600_000]))
        if self.faults.strikes("clock-jumps-ahead"):
            self._set_clock("clock-jumps-ahead", self.chance.choice([10, 1_000, 60_000, 3_600_000]))
        if self.faults.strikes("engine-clock-wrong"):
            engine.clock_is_off_ms = self.chance.choice([-3_600_000, -5_000, -20, 0, 20, 5_000, 3_600_000])
            self.scheduler.fault("engine-clock-wrong", engine.site, f"by {engine.clock_is_off_ms} ms")

    def _set_clock(self, kind: str, by_ms: int) -> None:
        self.server.wall.is_off_ms += by_ms
        self.scheduler.fault(kind, "server", f"by {by_ms} ms")

    def _nodes(self) -> list[str]:
        groups = [group for site in self.nation["sites"] for group in site["nodes"]]
        return [f"{group['name']}-0000" for group in groups]

    # When it is over.

    def _calm_down(self) -> None:
        self.scheduler.note("story", "faults are over")
        self.faults.are_over = True
        self._end_services()

    def _end_services(self) -> None:
        """Until no service is left; some submissions are still on their way."""
        life = self.server.life
        if life is not None and life.is_ready:
            self.people.bring_everything_back()
        if self.scheduler.now_us < LASTS_US + 120 * SECOND_US:
            self.scheduler.after(LOOK_EVERY_US, self._end_services)

    def _is_at_rest(self) -> bool:
        """Nothing runs, nothing is on its way, and only time could change that."""
        life = self.server.life
        if life is not None and life.is_ready and life.platform.trouble and self.scheduler.now_us > RECOVERS_BY_US:
            raise Violation(f"though nothing goes wrong any more, the platform is in trouble: {life.platform.trouble}")
        return (
            life is not None
            and life.is_ready
            and not self.people.open
            and not self.invariants.running
            and not self.invariants.open
            and self.scheduler.now_us > LASTS_US + 150 * SECOND_US
            and life.control.world.next_wake_ms() is None
        )

    def _run_until(self, until_us: int, is_enough: Callable[[], bool]) -> None:
        look_us = self.scheduler.now_us
        while self.scheduler.now_us < until_us:
            next_us = self.scheduler.next_us()
            if next_us is not None and next_us <= look_us:
                self.scheduler.step()
                self._look()
                continue
            self.scheduler.now_us = look_us
            if is_enough():
                return
            look_us = min(look_us + LOOK_EVERY_US, until_us)

    def _look(self) -> None:
        """After every step."""
        problems = self.invariants.problems
        life = self.server.life
        self._watch_guarantees()
        if life is not None:
            problems.extend(life.loop.failures)
            if life.is_ready and life.control.halted:
                problems.append(f"the platform halted: {life.control.halted}")
            if life.is_ready and life.platform.trouble.startswith("the loop's task "):
                problems.append(life.platform.trouble)
        if self.scheduler.events > MOST_EVENTS:
            problems.append(f"more than {MOST_EVENTS} events: something goes round in circles")
        if problems:
            raise Violation("; ".join(problems))

    def _watch_guarantees(self) -> None:
        guarantee, faults = self.invariants.guarantee, self.scheduler.trace.faults.total()
        if faults != self._faults_seen or self.server.life is None:
            self._faults_seen = faults
            guarantee.void()
        guarantee.look(self.server.wall.read_ms())
        self.invariants.problems.extend(guarantee.missed)

    def _look_at_the_end(self) -> None:
        life = self.server.life
        if life is None or not life.is_ready:
            raise Violation("the platform does not serve, though nothing goes wrong any more")
        self._look_at_engines()
        self._look_at_jobs(life.control.world)
        self._look_at_ledger()
        self._compare_with_replay()
        self._look()

    def _look_at_engines(self) -> None:
        """Nothing runs, and nothing was forgotten."""
        problems = self.invariants.problems
        problems.extend(f"{name} still runs" for name in self.invariants.running)
        for engine in self.engines:
            waiting = [each.name for each in engine.attempts.values() if each.phase is Phase.TAKEN]
            problems.extend(f"{name} was taken and never began" for name in waiting)

    def _look_at_jobs(self, world: World) -> None:
        """All are over, or wait for a reason; none is lost."""
        problems = self.invariants.problems
        for card in world.jobs.values():
            if card.state.is_final:
                continue
            self.scheduler.note("story", f"{card.job} is {card.state.value}: {', '.join(self._why(card))}")
            if not card.state.is_waiting and card.copies is None:
                problems.append(f"{card.job} is {card.state.value} though nothing runs")
            elif card.state is JobState.QUEUED and not self._why(card):
                problems.append(f"{card.job} waits for no reason")
        problems.extend(f"{job} is lost" for job in self.invariants.submitted if job not in world.jobs)

    def _look_at_ledger(self) -> None:
        """It proves itself, with every checkpoint that was ever given out."""
        verdict = self.disk.judge()
        if not verdict.is_sound or verdict.size != len(self.invariants.entries):
            self.invariants.broken(f"the ledger does not verify: {verdict}")

    def _why(self, card: JobCard) -> list[str]:
        life = self.server.life
        assert life is not None
        if card.state is not JobState.QUEUED:
            return []
        found = kernel.explain(life.control.world, card.job, life.clock.now_ms())
        return [str(each.code) for each in found.blockers]

    def _compare_with_replay(self) -> None:
        """The ledger alone says how things stand."""
        life = self.server.life
        assert life is not None
        live, now_ms = life.control.world, life.clock.now_ms()
        again = Memory(life.ledger, self.policy_set, VAULT_KEY, life.control.memory.random, History()).world
        same = {
            "jobs": again.jobs == live.jobs,
            "shares": again.shares() == live.shares(),
            "nodes": again.nodes() == live.nodes(),
            "queue": [card.job for card in again.queue()] == [card.job for card in live.queue()],
            "reports": shares_report(again, now_ms) == shares_report(live, now_ms),
            "wake": _due_by_itself(again) == _due_by_itself(live),
        }
        self.invariants.problems.extend(f"replayed {name} differ" for name, is_same in same.items() if not is_same)


def _due_by_itself(world: World) -> int | None:
    """When something is due that follows from the ledger; what a decision looks forward to, a restart finds anew."""
    counters = world.columns.counters[0]
    looked_forward_to = counters.wake_ms, counters.booking_wake_ms, counters.resize_wake_ms
    counters.wake_ms = counters.booking_wake_ms = counters.resize_wake_ms = NEVER
    due_ms = world.next_wake_ms()
    counters.wake_ms, counters.booking_wake_ms, counters.resize_wake_ms = looked_forward_to
    return due_ms


def play(seed: int, folder: Path, policy_set: PolicySet, tell: Callable[[str], None] | None = None) -> Outcome:
    """Play a story in a folder of its own. What the platform or the simulation does not survive is a problem, too."""
    story = Story(seed, folder / str(seed), policy_set, tell)
    log = logging.getLogger("dure")
    level = log.level
    # Faults fill the log; the trace tells what happened.
    log.setLevel(logging.CRITICAL + 1)
    try:
        return story.play()
    finally:
        log.setLevel(level)
