"""Short builders: a small nation, a control over it, and jobs."""

from __future__ import annotations

import random
from collections.abc import Sequence

from dure.bootstrap import make_policy_set
from dure.control.access import PLATFORM, Caller, Role
from dure.control.control import Control
from dure.control.draft import Step
from dure.control.memory import RandomStreams
from dure.control.orders import LOCAL, Seen
from dure.control.ports import Ledger, Observation
from dure.control.requests import ApplyNation, Reply, Request, SubmitJob, Submitted
from dure.intake.nationfile import nation_from_yaml
from dure.ledger.memory import MemoryLedger
from dure.model.jobs import GpuRequest, JobSpec
from dure.model.nation import Nation

NATION = """
gpu_classes: {H100: {exchange: 1.0}}
timing: {protected: 0s, warning: 1s, grace: 2s}
sites:
  - name: daejeon
    country: KR
    owner: ministry
    nodes:
      - {name: dj, count: 2, gpus: "H100:4", cpus: 64, memory: 256GB}
organisations:
  - {name: ministry, kind: government, country: KR, parent_country: KR, projects: [weather]}
  - {name: hanbit, kind: startup, country: KR, parent_country: KR, projects: [chat, vision]}
shares:
  - {name: ministry, guarantee: {H100: 4}}
  - {name: hanbit, guarantee: {H100: 4}}
"""

START_MS = 1_760_000_000_000
HANBIT = Caller(id="t90", role=Role.MEMBER, organisation="hanbit")
MINISTRY = Caller(id="t91", role=Role.MEMBER, organisation="ministry")
AUDITOR = Caller(id="t92", role=Role.AUDITOR)
OPERATOR = PLATFORM


def nation(document: str = NATION) -> Nation:
    return nation_from_yaml(document)


def seeded_streams(seed: int = 0) -> RandomStreams:
    return RandomStreams(
        salts=random.Random(f"{seed} salts").randbytes,
        tokens=random.Random(f"{seed} tokens").randbytes,
        nonces=random.Random(f"{seed} nonces").randbytes,
    )


def empty_control(ledger: Ledger | None = None, seed: int = 0) -> Control:
    return Control(ledger or MemoryLedger(), make_policy_set(), b"k" * 32, seeded_streams(seed), "/checkpoints")


def small_control(ledger: Ledger | None = None, seed: int = 0) -> Control:
    """A control whose nation has 8 H100s, half of them guaranteed to each of two organisations."""
    control = empty_control(ledger, seed)
    ask(control, ApplyNation(caller=OPERATOR, nation=nation()), START_MS)
    return control


def spec(project: str = "chat", gpus: int = 1, **more: object) -> JobSpec:
    fields = {"name": "job", "project": project, "command": ("true",), "gpus": _gpus(gpus), "time_ms": 3_600_000}
    return JobSpec(**(fields | more))  # type: ignore[arg-type]


def _gpus(count: int) -> tuple[GpuRequest, ...]:
    return (GpuRequest(gpu_class="H100", milli=count * 1000),) if count else ()


def run(
    control: Control, requests: Sequence[Request] = (), seen: Sequence[Observation] = (), now_ms: int = START_MS
) -> Step:
    """One step, made durable."""
    step = control.step(requests, [Seen(LOCAL, each) for each in seen], now_ms)
    if step.must_be_kept:
        control.commit(step)
    return step


def ask(control: Control, request: Request, now_ms: int = START_MS) -> Reply:
    """One request in a step of its own."""
    return run(control, [request], now_ms=now_ms).answers[0]


def submit(control: Control, wanted: JobSpec, now_ms: int = START_MS, caller: Caller = OPERATOR, key: str = "") -> str:
    """The id of the accepted job."""
    reply = ask(control, SubmitJob(caller=caller, spec=wanted, key=key, digest=wanted.name), now_ms)
    assert isinstance(reply, Submitted), reply
    return reply.jobs[0]
