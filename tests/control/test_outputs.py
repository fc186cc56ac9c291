"""Output is kept of the latest jobs to end; the rest is deleted, and said to be gone before it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from dure.api.expectations import Expectations
from dure.api.platform import Platform
from dure.api.sessions import Sessions
from dure.bootstrap import SystemClock, make_application, make_engines
from dure.control.access import Role
from dure.control.control import Control
from dure.control.loop import Loop
from dure.control.orders import LOCAL, Engines, ForgetOrder
from dure.control.outputs import OUTPUTS_KEPT
from dure.control.ports import Ended
from dure.control.requests import CancelJob, IssueToken, TokenIssuedOnce
from dure.model.jobs import Retry

from .builders import OPERATOR, START_MS, run, small_control, spec, submit
from .test_loop import job, running_loop, until


def control_that_keeps(most: int) -> Control:
    control = small_control()
    control.memory.outputs.most = most
    return control


def end(control: Control, attempt: str, exit_code: int = 0) -> list[str]:
    """Let an attempt end. Returns the attempts that engines may forget then."""
    step = run(control, seen=[Ended(attempt_id=attempt, at_ms=START_MS, exit_code=exit_code)])
    return [order.attempt_id for order in step.orders if isinstance(order, ForgetOrder)]


def test_all_attempts_of_the_job_that_ended_first_are_forgotten_first() -> None:
    control = control_that_keeps(1)
    submit(control, spec(retry=Retry(limit=1, backoff_ms=0)))
    submit(control, spec())
    assert end(control, "j1.1", exit_code=1) == []
    assert end(control, "j1.2") == []
    assert end(control, "j2.1") == ["j1.1", "j1.2"]
    assert control.memory.outputs.are_gone(control.world.jobs["j1"])
    assert not control.memory.outputs.are_gone(control.world.jobs["j2"])


def test_a_job_that_never_ran_takes_nobodys_place() -> None:
    control = control_that_keeps(1)
    submit(control, spec(gpus=4, nodes=2))
    waiting = submit(control, spec(gpus=4, nodes=2))
    end(control, "j1.1")
    run(control, [CancelJob(caller=OPERATOR, job=submit(control, spec(gpus=4, nodes=2)))])
    assert waiting in control.world.jobs
    assert not control.memory.outputs.are_gone(control.world.jobs["j1"])


def test_after_a_restart_the_same_outputs_are_kept() -> None:
    control = small_control()
    for number in range(1, OUTPUTS_KEPT + 4):
        submit(control, spec())
        end(control, f"j{number}.1")
    before = {name: control.memory.outputs.are_gone(card) for name, card in control.world.jobs.items()}
    control.rebuild()
    assert {name: control.memory.outputs.are_gone(card) for name, card in control.world.jobs.items()} == before
    assert [name for name, is_gone in before.items() if is_gone] == ["j1", "j2", "j3"]


def folders(state: Path) -> list[str]:
    return sorted(each.name for each in (state / "local" / "attempts").iterdir())


def test_folders_of_old_attempts_go_and_asking_for_their_output_is_answered_plainly(tmp_path: Path) -> None:
    state = tmp_path / "state"

    async def story() -> httpx.Response:
        engines = make_engines(state)
        async with running_loop(state, engines) as (loop, _):
            loop.control.memory.outputs.most = 1
            for name in ("j1", "j2"):
                await loop.ask(job(command=("echo", "hello")))
                await until(lambda name=name: loop.control.world.jobs[name].state.is_final)  # type: ignore[misc]
            await until(lambda: folders(state) == ["j2.1"])
            kept = await log_of(loop, engines, state, "j2")
            assert kept.text == "hello\n"
            return await log_of(loop, engines, state, "j1")

    answer = asyncio.run(story())
    assert answer.status_code == 410
    assert answer.json()["code"] == "output-no-longer-kept"
    assert "The output of j1 is no longer kept" in answer.json()["detail"]


async def log_of(loop: Loop, engines: Engines, state: Path, name: str) -> httpx.Response:
    clock = SystemClock()
    platform = Platform(loop, clock, engines, Sessions(bytes), Expectations(loop.control, clock))
    issued = await loop.ask(IssueToken(caller=OPERATOR, role=Role.AUDITOR))
    assert isinstance(issued, TokenIssuedOnce)
    transport = httpx.ASGITransport(make_application(platform, state))
    headers = {"Authorization": f"Bearer {issued.text}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://dure", headers=headers) as http:
        return await http.get(f"/v1/jobs/{name}/log")


def test_what_a_server_that_died_did_not_forget_is_forgotten_by_the_next() -> None:
    control = control_that_keeps(1)
    for name in ("j1.1", "j2.1"):
        submit(control, spec())
        end(control, name)
    submit(control, spec())
    found = ["j1.1", "j2.1", "j3.1", "j99.1"]
    orders = control.memory.outputs.left_over(LOCAL, found, control.world)
    assert [order.attempt_id for order in orders] == ["j1.1", "j99.1"]
