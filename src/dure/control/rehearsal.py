"""A small life in memory that uses all of the kernel once, so that it is compiled before anybody waits for it."""

from __future__ import annotations

from dure.control.access import PLATFORM
from dure.control.control import Control
from dure.control.memory import RandomStreams
from dure.control.orders import LOCAL, Seen
from dure.control.ports import Ended, Started
from dure.control.preview import preview
from dure.control.requests import ApplyNation, CancelJob, ChangeNode, Request, SubmitJob
from dure.intake.nationfile import nation_from_yaml
from dure.kernel import explaining
from dure.ledger.memory import MemoryLedger
from dure.model.jobs import GpuRequest, JobSpec
from dure.policy import PolicySet
from dure.reports.shares import shares_report
from dure.world.world import WORTH_A_RUN

STAGE = """
gpu_classes: {A: {}}
timing: {protected: 0s, warning: 1s, grace: 1s}
sites:
  - {name: here, country: KR, owner: first, nodes: [{name: node, count: 4, gpus: "A:4", cpus: 8, memory: 8GB}]}
organisations:
  - {name: first, kind: government, country: KR, parent_country: KR, projects: [owner]}
  - {name: second, kind: startup, country: KR, parent_country: KR, projects: [borrower]}
shares:
  - {name: first, guarantee: {A: 12}}
  - {name: second, guarantee: {A: 4}}
"""


def rehearse(policy_set: PolicySet) -> None:
    """Borrow, take back, wait, explain, preview, gang, part of a GPU, drain, fail, cancel, and many jobs at once."""
    control = Control(MemoryLedger(), policy_set, bytes(32), RandomStreams(salts=bytes, tokens=bytes, nonces=bytes), "")
    clock_ms = 0

    def play(*requests: Request, seen: tuple[Started | Ended, ...] = ()) -> None:
        nonlocal clock_ms
        clock_ms += 10_000
        control.commit(control.step(requests, [Seen(LOCAL, each) for each in seen], clock_ms))

    play(ApplyNation(caller=PLATFORM, nation=nation_from_yaml(STAGE)))
    play(*(_job("borrower", 4000) for _ in range(4)))
    play(seen=(Started(attempt_id="j1.1", at_ms=clock_ms), Ended(attempt_id="j1.1", at_ms=clock_ms, exit_code=1)))
    play(_job("owner", 4000, nodes=2), _job("owner", 500), _job("borrower", 0))
    preview(control.memory, PLATFORM, _job("borrower", 2000).spec, clock_ms)
    shares_report(control.world, clock_ms)
    explaining.warm_up()
    play(CancelJob(caller=PLATFORM, job="j5"))
    play(ChangeNode(caller=PLATFORM, node="node-0003", state="drained"))
    play(*(CancelJob(caller=PLATFORM, job=job) for job in ("j2", "j3", "j4", "j6", "j7")))
    play(seen=tuple(Ended(attempt_id=f"j{job}.1", at_ms=clock_ms, exit_code=0) for job in range(2, 8)))
    play(ChangeNode(caller=PLATFORM, node="node-0003", state="up"))
    play(*(_job("borrower", 1000) for _ in range(WORTH_A_RUN)))


def _job(project: str, gpus_milli: int, nodes: int = 1) -> SubmitJob:
    gpus = (GpuRequest(gpu_class="A", milli=gpus_milli),) if gpus_milli else ()
    spec = JobSpec(name="rehearsal", project=project, command=("true",), gpus=gpus, cpus=1, nodes=nodes)
    return SubmitJob(caller=PLATFORM, spec=spec)
