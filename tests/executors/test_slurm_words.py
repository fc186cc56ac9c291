"""What Slurm says and is told, as pure functions: every state, every reason, every line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from dure.executors.contract import ExecutorError, Launch
from dure.executors.shared import secrets
from dure.executors.shared.agent import files, shares
from dure.executors.slurm import submission
from dure.executors.slurm.jobs import HOPELESS, REASONS, STATES, Phase, SlurmJob, read_jobs, reason_sentence
from dure.executors.slurm.nodes import read_node
from dure.executors.slurm.settings import unwise_settings
from dure.executors.slurm.site import SlurmSite
from dure.model.plan import Placement

from .engines import launch

SITE = SlurmSite(work_folder="/shared", partition="gpu", gpu_types={"H100": "h100"}, account_root="Dure")
# All that squeue(1) of Slurm 22.05 lists.
ALL_STATES = """
    BOOT_FAIL CANCELLED COMPLETED CONFIGURING COMPLETING DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PENDING
    PREEMPTED RUNNING RESV_DEL_HOLD REQUEUE_FED REQUEUE_HOLD REQUEUED RESIZING REVOKED SIGNALING SPECIAL_EXIT
    STAGE_OUT STOPPED SUSPENDED TIMEOUT
"""
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))


@pytest.mark.parametrize("state", ALL_STATES.split())
def test_every_state_of_slurm_has_a_meaning(state: str) -> None:
    assert state in STATES


def test_nothing_is_concluded_from_a_state_that_is_not_known() -> None:
    job = SlurmJob(job_id=1, state="TELEPORTING", reason="None", nodes="", folder="/shared/attempts/j1.1")
    assert job.phase is Phase.ALIVE


def test_every_hopeless_reason_has_words_of_its_own() -> None:
    assert REASONS.keys() >= HOPELESS


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("Resources", "Slurm waits for nodes to become free (Resources)"),
        ("AssocGrpGRES", "its account has as much as its limit in Slurm allows (AssocGrpGRES)"),
        ("AssocMaxJobsLimit", "a limit of its account in Slurm is reached (AssocMaxJobsLimit)"),
        ("QOSMaxGRESPerUser", "a limit of its QOS in Slurm is reached (QOSMaxGRESPerUser)"),
        (
            "ReqNodeNotAvail, May be reserved for other job",
            "a node that it needs is down, drained or reserved in Slurm (ReqNodeNotAvail)",
        ),
        ("SomethingNew", "Slurm keeps it waiting (SomethingNew)"),
    ],
)
def test_a_reason_is_told_in_words_with_slurms_code(code: str, sentence: str) -> None:
    assert reason_sentence(code) == sentence


@given(code=TEXT)
def test_whatever_the_reason_there_is_a_sentence(code: str) -> None:
    assert reason_sentence(code)


@given(reason=TEXT, nodes=TEXT, attempt_id=st.from_regex(r"j[0-9]{1,5}\.[0-9]{1,3}", fullmatch=True))
def test_a_line_of_squeue_is_read_whatever_its_folder_is_called(reason: str, nodes: str, attempt_id: str) -> None:
    root = "/shared|with bars/attempts"
    others = "8|RUNNING|None|n1|/home/somebody\n"
    found = read_jobs(f"7|PENDING|{reason}|{nodes}|{root}/{attempt_id}\n{others}", root)
    expected = SlurmJob(job_id=7, state="PENDING", reason=reason, nodes=nodes, folder=f"{root}/{attempt_id}")
    assert found == {attempt_id: [expected]}


@pytest.mark.parametrize(
    "line", ["", "7|RUNNING", "seven|RUNNING|None||/shared/attempts/j1.1", "slurm_load_jobs error"]
)
def test_what_squeue_never_says_is_an_error_and_no_crash(line: str) -> None:
    with pytest.raises(ExecutorError, match="squeue said what Dure does not understand"):
        read_jobs(f"{line}\n", "/shared/attempts")


@pytest.mark.parametrize(
    ("line", "gpus", "problem"),
    [
        ("n0|idle|16|64000|gpu:h100:8|none", 8, ""),
        ("n0|mixed-|16|64000+|gpu:h100:8(S:0-1)|none", 8, ""),
        ("n0|allocated|16|64000|gpu:4,gpu:a100:2(S:0),shard:16|none", 6, ""),
        ("n0|idle|16|64000|(null)|none", 0, ""),
        ("n0|drained|16|64000|gpu:8|fans|loud", 8, "Slurm has it as drained: fans|loud"),
        ("n0|idle*|16|64000|gpu:8|none", 8, "Slurm has it as idle and does not respond"),
        ("n0|down*|16|64000|gpu:8|Not responding", 8, "Slurm has it as down and does not respond: Not responding"),
    ],
)
def test_a_node_is_read_with_its_gpus_and_its_problem(line: str, gpus: int, problem: str) -> None:
    node = read_node(line)
    assert (node.name, node.gpus, node.cpus, node.memory_mib, node.problem) == ("n0", gpus, 16, 64000, problem)


def order(**fields: object) -> Launch:
    return structs.replace(launch("j7.1", "true", ranks=2, secret_env={"TOKEN": "secret"}), **fields)


def test_slurm_is_asked_for_exactly_what_was_planned() -> None:
    wanted = order(project="Vision", time_limit_ms=90_001, cpus=12, memory_mib=2_048)
    told = submission.arguments(wanted, SITE, "/shared/attempts/j7.1", ["n3", "n1"])
    assert told == [
        "--parsable",
        "--no-requeue",
        "--open-mode=append",
        "--export=ALL",
        "--job-name=dure:j7.1",
        "--comment=j7.1",
        "--chdir=/shared/attempts/j7.1",
        "--output=/shared/attempts/j7.1/engine.log",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--nodelist=n3,n1",
        "--gres=gpu:h100:2",
        "--cpus-per-task=12",
        "--mem=2048M",
        "--time=7",
        "--partition=gpu",
        "--account=dure-vision",
    ]


def test_what_is_not_asked_for_is_left_to_slurm() -> None:
    bare = structs.replace(SITE, partition="", account_root="")
    on_cpus = order(placements=(Placement(node="n-0000", gpus=(), milli=0),), gpu_class="")
    told = submission.arguments(on_cpus, bare, "/shared/attempts/j7.1", [])
    asked = {word.partition("=")[0] for word in told}
    assert asked.isdisjoint({"--gres", "--nodelist", "--time", "--mem", "--account", "--partition", "--cpus-per-task"})


def test_the_script_that_slurm_keeps_says_nothing_of_the_job() -> None:
    text = submission.script(SITE, "/shared/agent-1", "/shared/attempts/it's j7.1")
    assert text == ("#!/bin/sh\nexec /usr/bin/python3 -I -S /shared/agent-1 lead '/shared/attempts/it'\"'\"'s j7.1'\n")


WISE = {
    "ProctrackType": "proctrack/cgroup",
    "SchedulerParameters": "bf_interval=5,batch_sched_delay=0",
    "AccountingStorageEnforce": "associations,limits,safe",
    "AccountingStorageTRES": "cpu,mem,gres/gpu,gres/gpu:h100",
}


def test_settings_as_the_page_wants_them_are_not_complained_about() -> None:
    assert unwise_settings(WISE, SITE) == []


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("ProctrackType", "proctrack/linuxproc", "set ProctrackType=proctrack/cgroup"),
        ("SchedulerParameters", "(null)", "add bf_interval=5 to SchedulerParameters"),
        ("AccountingStorageEnforce", "associations", "set AccountingStorageEnforce=associations,limits,safe"),
        ("AccountingStorageTRES", "cpu,gres/gpu", "add gres/gpu:h100 to AccountingStorageTRES"),
        ("AccountingStoreFlags", "job_comment,job_env", "take job_env out of AccountingStoreFlags"),
    ],
)
def test_a_setting_that_costs_something_is_named_with_what_to_do(setting: str, value: str, advice: str) -> None:
    assert [each.advice for each in unwise_settings(WISE | {setting: value}, SITE)] == [advice]


def test_secrets_that_slurm_cannot_carry_are_refused() -> None:
    too_long = order(secret_env={"TOKEN": "x" * secrets.MOST_BYTES})
    assert "longer than" in submission.unsuitable(too_long, SITE)
    assert submission.unsuitable(order(), SITE) == ""


@given(secret=st.dictionaries(st.text(), st.text(), min_size=1))
def test_two_shares_make_the_secrets_whole_also_for_an_earlier_submission(
    tmp_path_factory: pytest.TempPathFactory, secret: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("attempt")
    first, again = (secrets.split(str(folder), secret)[shares.VARIABLE] for _ in range(2))
    assert first == again
    whole = shares.combine(bytes.fromhex(first), Path(folder, files.SECRETS).read_bytes())
    assert json.loads(whole) == secret
