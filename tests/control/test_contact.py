"""Sites far away: what happens when the way to their engine is lost, and when an engine refuses a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dure.bootstrap import SystemClock, make_control
from dure.control import links
from dure.control import loop as loop_module
from dure.control.loop import Loop
from dure.control.orders import LOCAL, EngineAddress, Engines, Seen
from dure.control.requests import (
    ApplyNation,
    ChangeContact,
    ChangeNode,
    Submitted,
)
from dure.executors.contract import Contact, ExecutorError, Launch, Observation, Refused, Started
from dure.executors.local.executor import LocalExecutor
from dure.ledger.note import Signer
from dure.ledger.sqlite import SqliteLedger
from dure.model.events import AttemptEnded, SiteContactChanged
from dure.model.fleet import Engine
from dure.model.jobs import JobState, Outcome
from dure.world.cards import MomentCode
from dure.world.world import World

from .builders import HANBIT, NATION, OPERATOR, START_MS, ask, empty_control, nation, run, spec, submit
from .test_loop import job, until

BUSAN = EngineAddress(Engine.SLURM, "busan")
TWO_SITES = NATION.replace(
    "organisations:",
    """  - name: busan
    country: KR
    owner: ministry
    engine: slurm
    nodes:
      - {name: bs, count: 1, gpus: "H100:8", cpus: 64, memory: 256GB}
organisations:""",
    1,
)


class Distant(LocalExecutor):
    """An engine at the other end of a line that can be cut. Its jobs are real, and run on while it is."""

    is_cut = False
    heard_at_ms = 0
    tell: Callable[[], None] = staticmethod(lambda: None)

    def start(self, launch: Launch) -> None:
        self._need_line()
        super().start(launch)

    def stop(self, attempt_id: str, grace_ms: int) -> None:
        self._need_line()
        super().stop(attempt_id, grace_ms)

    def recover(self, attempt_ids: Iterable[str]) -> dict[str, Observation | None]:
        self._need_line()
        return super().recover(attempt_ids)

    def observe(self) -> list[Observation]:
        return [] if self.is_cut else super().observe()

    def contact(self) -> Contact:
        if not self.is_cut:
            self.heard_at_ms = SystemClock().now_ms()
        return Contact(heard_at_ms=self.heard_at_ms, problem="the line is cut" if self.is_cut else "")

    def on_observation(self, wake: Callable[[], None]) -> None:
        self.tell = wake
        super().on_observation(wake)

    def cut(self, is_cut: bool) -> None:
        self.contact()
        self.is_cut = is_cut
        self.tell()

    def _need_line(self) -> None:
        if self.is_cut:
            raise ExecutorError("the line is cut")


@asynccontextmanager
async def two_sites(folder: Path, *, starts_cut: bool = False) -> AsyncIterator[tuple[Loop, Distant]]:
    folder.mkdir(exist_ok=True)
    distant = Distant(folder / "busan")
    distant.is_cut = starts_cut
    engines = Engines({LOCAL: LocalExecutor(folder / "local"), BUSAN: distant})
    ledger = SqliteLedger.open(folder / "ledger.sqlite", Signer.generate("dure.example/contact"))
    loop = Loop(make_control(folder, ledger), SystemClock(), engines)
    await loop.start()
    try:
        await loop.ask(ApplyNation(caller=OPERATOR, nation=nation(TWO_SITES)))
        yield loop, distant
    finally:
        await loop.close()
        distant.is_cut = False
        engines.close(kill=True)
        ledger.close()


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "LOST_AFTER_MS", 200)
    monkeypatch.setattr(links, "RETRY_S", 0.05)
    monkeypatch.setattr(loop_module, "RECOVERY_PATIENCE_S", 0.5)


def states(world: World) -> dict[str, str]:
    return {node.name: node.state for node in world.nodes()}


def test_jobs_of_a_lost_site_run_on_and_none_is_started_there_or_started_twice(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_sites(tmp_path / "state") as (loop, distant):
            world = loop.control.world
            runs, counted = tmp_path / "go", tmp_path / "count"
            runs.touch()
            waits = f"echo run >> {counted}; while [ -e {runs} ]; do sleep 0.02; done"
            await loop.ask(job(gpus=8, command=("sh", "-c", waits)))
            await until(lambda: world.jobs["j1"].state is JobState.RUNNING)
            distant.cut(True)
            await until(lambda: "busan" in world.lost_sites)
            assert world.jobs["j1"].state is JobState.RUNNING
            assert states(world)["bs-0000"] == "unreachable"
            assert await loop.ask(job(gpus=8)) == Submitted(jobs=("j2",))
            runs.unlink()
            assert world.jobs["j2"].state is JobState.QUEUED
            distant.cut(False)
            await until(lambda: all(world.jobs[each].state is JobState.SUCCEEDED for each in ("j1", "j2")))
            assert world.jobs["j1"].attempt == 1
            assert counted.read_text() == "run\n"
            assert states(world)["bs-0000"] == "up"

    asyncio.run(story())


def test_a_site_that_is_out_of_reach_from_the_start_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_sites(tmp_path / "state", starts_cut=True) as (loop, distant):
            world = loop.control.world
            await until(lambda: "busan" in world.lost_sites)
            await loop.ask(job(gpus=4))
            await until(lambda: world.jobs["j1"].state is JobState.SUCCEEDED)
            assert world.jobs["j1"].site == "daejeon"
            distant.cut(False)
            await until(lambda: not world.lost_sites)

    asyncio.run(story())


def test_a_site_to_which_no_way_was_set_up_starts_nothing_and_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_sites(tmp_path / "state") as (loop, _):
            other = TWO_SITES.replace("name: busan", "name: ulsan")
            await loop.ask(ApplyNation(caller=OPERATOR, nation=nation(other)))
            await until(lambda: "ulsan" in loop.control.world.lost_sites)
            assert "no way to its engine" in loop.control.world.lost_sites["ulsan"]

    asyncio.run(story())


def test_a_node_of_a_lost_site_keeps_what_its_operator_decided() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(TWO_SITES)))
    ask(control, ChangeContact(caller=OPERATOR, site="daejeon", problem="cut"))
    ask(control, ChangeNode(caller=OPERATOR, node="dj-0000", state="cordoned"))
    ask(control, ChangeNode(caller=OPERATOR, node="dj-0001", state="up"))
    assert states(control.world) == {"dj-0000": "cordoned", "dj-0001": "unreachable", "bs-0000": "up"}
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(TWO_SITES.replace("count: 2", "count: 3"))))
    assert states(control.world)["dj-0002"] == "unreachable"
    ask(control, ChangeContact(caller=OPERATOR, site="daejeon", problem=""))
    assert set(states(control.world).values()) == {"cordoned", "up"}


def test_a_claim_at_a_site_that_is_lost_is_given_up() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(TWO_SITES)))
    for gpus in (8, 4, 4):
        submit(control, spec(gpus=gpus))
    owner = submit(control, spec(project="weather", gpus=4))
    card = control.world.jobs[owner]
    assert card.state is JobState.CLAIMED
    lost = card.site
    ask(control, ChangeContact(caller=OPERATOR, site=lost, problem="cut"))
    card = control.world.jobs[owner]
    assert MomentCode.LOST_CLAIM in {moment.what for moment in card.timeline}
    assert card.state is JobState.QUEUED or card.site != lost
    control.rebuild()
    assert control.world.jobs[owner].state is card.state


def test_losing_and_finding_a_large_site_takes_no_look_at_every_job_for_each_node() -> None:
    control = empty_control()
    large = TWO_SITES.replace("name: bs, count: 1", "name: bs, count: 4000")
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(large)))
    for _ in range(40):
        submit(control, spec(gpus=8, nodes=50))
    looked_at = 0
    jobs = control.memory.books._page.jobs

    class Watched(dict[str, object]):
        def items(self) -> object:  # type: ignore[override]
            nonlocal looked_at
            looked_at += 1
            return super().items()

    control.memory.books._page.jobs = Watched(jobs)  # type: ignore[assignment]
    ask(control, ChangeContact(caller=OPERATOR, site="busan", problem="cut"))
    ask(control, ChangeContact(caller=OPERATOR, site="busan", problem=""))
    assert looked_at <= 2


def test_what_is_lost_is_known_again_after_a_restart() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(TWO_SITES)))
    ask(control, ChangeContact(caller=OPERATOR, site="busan", problem="cut"))
    control.rebuild()
    assert control.world.lost_sites == {"busan": "cut"}
    assert states(control.world)["bs-0000"] == "unreachable"


def test_a_refused_job_goes_to_another_site() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(TWO_SITES)))
    wanted = submit(control, spec(gpus=4))
    first = control.world.jobs[wanted].site
    engine = LOCAL if first == "daejeon" else BUSAN
    refusal = Refused(attempt_id="j1.1", at_ms=START_MS, reason="no such account")
    step = control.step([], [Seen(engine, refusal)], START_MS)
    control.commit(step)
    ended = next(event for event in step.events if isinstance(event, AttemptEnded))
    assert (ended.outcome, ended.detail) == (Outcome.REFUSED, "no such account")
    card = control.world.jobs[wanted]
    assert card.state is JobState.STARTING
    assert card.refused_at == (first,)
    assert card.site != first
    control.rebuild()
    assert control.world.jobs[wanted].sites == [card.site]


def test_a_job_that_no_site_will_run_has_failed_and_says_why() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation()))
    wanted = submit(control, spec(gpus=4))
    run(control, seen=[Refused(attempt_id="j1.1", at_ms=START_MS, reason="no such account")])
    card = control.world.jobs[wanted]
    assert card.state is JobState.FAILED
    assert card.timeline[-1].detail == "no such account"


def test_what_one_engine_says_of_the_jobs_of_another_counts_for_nothing() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(TWO_SITES)))
    wanted = submit(control, spec(gpus=8))
    assert control.world.jobs[wanted].site == "busan"
    step = control.step([], [Seen(LOCAL, Started(attempt_id="j1.1", at_ms=START_MS))], START_MS)
    assert not step.events
    assert [(order.engine, order.attempt_id) for order in step.orders] == [(LOCAL, "j1.1")]


def test_nodes_that_an_engine_chose_are_remembered() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation()))
    wanted = submit(control, spec(gpus=4))
    run(control, seen=[Started(attempt_id="j1.1", at_ms=START_MS, nodes=("gpu017",))])
    assert control.world.jobs[wanted].engine_nodes == ("gpu017",)
    control.rebuild()
    assert control.world.jobs[wanted].engine_nodes == ("gpu017",)


def test_losing_contact_is_in_the_ledger() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(TWO_SITES)))
    step = run(control, [ChangeContact(caller=OPERATOR, site="busan", problem="cut")])
    assert [type(event) for event in step.events] == [SiteContactChanged]


def test_a_job_of_a_member_is_not_refused_for_good_by_a_lost_site() -> None:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(TWO_SITES)))
    ask(control, ChangeContact(caller=OPERATOR, site="busan", problem="cut"))
    wanted = submit(control, spec(gpus=8), caller=HANBIT)
    assert control.world.jobs[wanted].state is JobState.QUEUED
    ask(control, ChangeContact(caller=OPERATOR, site="busan", problem=""))
    assert control.world.jobs[wanted].site == "busan"
