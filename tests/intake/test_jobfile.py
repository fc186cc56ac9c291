"""Job files: what each field accepts, and what is said when it does not."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.intake.jobfile import FIELDS, job_from_document, job_from_json, job_from_yaml
from dure.intake.refusals import BadInput
from dure.model.datasets import Purpose
from dure.model.jobs import ArrayRange, Checkpoint, GpuRequest, JobSpec, Retry, Within

from .conftest import lines

SMALLEST = {"name": "train", "project": "haneul-llm", "command": ["python", "train.py"]}


def job(**fields: object) -> JobSpec:
    return job_from_document({**SMALLEST, **fields})


def problems(**fields: object) -> list[str]:
    with pytest.raises(BadInput) as caught:
        job(**fields)
    return lines(caught)


def gpus(*wanted: tuple[str, int]) -> tuple[GpuRequest, ...]:
    return tuple(GpuRequest(gpu_class=gpu_class, milli=milli) for gpu_class, milli in wanted)


def test_dates_are_read_with_their_time_zone() -> None:
    dates = {
        "not_before": "2027-03-02T09:00:00+09:00",
        "not_after": "2027-03-02T00:00Z",
        "deadline": "2027-03-02T01:00Z",
    }
    read = job(**dates)
    assert read.not_before_ms == read.not_after_ms == 1_803_945_600_000
    assert read.deadline_ms == 1_803_949_200_000


def test_an_elastic_job_says_the_least_and_the_most_nodes() -> None:
    read = job(nodes=8, min_nodes=2, checkpoint={"every": "30m", "signal": "USR1"})
    assert (read.min_nodes, read.nodes) == (2, 8)


def test_a_least_that_is_also_the_most_makes_no_elastic_job() -> None:
    assert job(nodes=8, min_nodes=8) == job(nodes=8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nodes": 2, "min_nodes": 4, "checkpoint": "1h"}, "min_nodes: is more than nodes, which is 2 (got 4); swap"),
        ({"min_nodes": 2, "checkpoint": "1h"}, "min_nodes: is more than nodes, which is 1 (got 2)"),
        ({"nodes": 4, "min_nodes": 0, "checkpoint": "1h"}, "min_nodes: must lie between 1 and 100,000"),
        ({"nodes": 4, "min_nodes": 2, "checkpoint": "1h", "array": "0-9"}, "min_nodes: is not for an array"),
        ({"nodes": 4, "min_nodes": 2, "replicas": 3}, "min_nodes: is not for a job with replicas"),
        ({"nodes": 4, "min_nodes": 2}, "min_nodes: needs a checkpoint"),
        ({"nodes": 4, "min_nodes": 2, "checkpoint": "1h", "gpus": 0.5}, "gpus: part of a GPU cannot be asked for"),
        ({"nodes": "2-8"}, "nodes: is a range (got 2-8); write nodes: 8 and min_nodes: 2"),
        ({"nodes": "2:8"}, "nodes: is a range (got 2:8); write nodes: 8 and min_nodes: 2"),
    ],
)
def test_what_no_elastic_job_can_be_is_refused(fields: dict[str, object], message: str) -> None:
    assert any(each.startswith(message) for each in problems(**fields)), problems(**fields)


def test_the_smallest_job_takes_one_cpu_for_an_hour() -> None:
    assert job() == JobSpec(name="train", project="haneul-llm", command=("python", "train.py"), cpus=1)


def test_a_full_job_file_is_read() -> None:
    spec = job_from_yaml(
        """
        name: 학습 1
        project: haneul-llm
        purpose: public-interest
        command: python train.py --rank $NODE_RANK && echo done
        setup: pip install -r requirements.txt
        workdir: /data/train
        env: {VERSION: 1.10, DEBUG: no, EMPTY: ""}
        secrets: [HF_TOKEN]
        nodes: 2
        gpus: [H200:8, H100:8]
        cpus: 32
        memory: 512GB
        time: 1-12:00:00
        within: site
        priority: 10
        preemptible: false
        checkpoint: {every: 30m, signal: SIGUSR1}
        retry: {limit: 3, backoff: 1m}
        array: 0-9
        depends: [j12, j13_0]
        data: corpus
        """
    )
    assert spec == JobSpec(
        name="학습 1",
        project="haneul-llm",
        purpose=Purpose.PUBLIC_INTEREST,
        command=("bash", "-c", "python train.py --rank $NODE_RANK && echo done"),
        setup="pip install -r requirements.txt",
        workdir="/data/train",
        env={"VERSION": "1.10", "DEBUG": "no", "EMPTY": ""},
        secrets=("HF_TOKEN",),
        nodes=2,
        gpus=gpus(("H200", 8000), ("H100", 8000)),
        cpus=32,
        memory_mib=512 * 1024,
        time_ms=36 * 3_600_000,
        within=Within.SITE,
        priority=10,
        preemptible=False,
        checkpoint=Checkpoint(every_ms=1_800_000, signal="USR1"),
        retry=Retry(limit=3, backoff_ms=60_000),
        array=ArrayRange(first=0, last=9),
        depends=("j12", "j13_0"),
        data=("corpus",),
    )


def test_yaml_and_json_mean_the_same() -> None:
    fields: dict[str, Any] = {**SMALLEST, "nodes": 2, "gpus": "H100:8", "preemptible": False, "retry": 3, "array": 5}
    as_yaml = "\n".join(f"{name}: {json.dumps(value)}" for name, value in fields.items())
    assert job_from_json(json.dumps(fields).encode()) == job_from_yaml(as_yaml)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("H100:8", gpus(("H100", 8000))),
        ("H100", gpus(("H100", 1000))),
        ("rtx-6000.ada_x:0.25", gpus(("rtx-6000.ada_x", 250))),
        ("8", gpus(("", 8000))),
        (2, gpus(("", 2000))),
        (0.5, gpus(("", 500))),
        ("0.125", gpus(("", 125))),
        (["H200:8", 8], gpus(("H200", 8000), ("", 8000))),
        (0, ()),
        ("0", ()),
    ],
)
def test_gpus_are_written_in_several_ways(written: object, meant: tuple[GpuRequest, ...]) -> None:
    assert job(gpus=written, cpus=1).gpus == meant


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("H100:-8", "gpus: must not be negative (got H100:-8)"),
        (-1, "gpus: must not be negative (got -1)"),
        (17, "gpus: no node has more than 16 GPUs (got 17); ask for more nodes instead"),
        ("H100:1.5", "gpus: more than one GPU must be a whole number (got H100:1.5)"),
        ("0.0001", "gpus: is not a number of GPUs (got 0.0001)"),
        (9_999_999, "gpus: must be at most 1,000,000 GPUs (got 9999999)"),
        ("H100:999999999", "gpus: must be at most 1,000,000 GPUs (got H100:999999999)"),
        (1e30, "gpus: is not a number of GPUs (got 1e+30)"),
        ("8:H100", "gpus: is not a number of GPUs (got 8:H100)"),
        (True, "gpus: is not a number of GPUs (got True)"),
        ({"H100": 8}, "gpus: is not a number of GPUs (got a mapping)"),
        (["H100:8", "H100:8"], "gpus[1]: appears twice (got H100:8); keep one"),
        (["H100:8", 0], "gpus[1]: asks for no GPUs (got 0); remove it"),
        ([f"C{n}:1" for n in range(9)], "gpus: has more than 8 items (got 9 items)"),
        (["H100:8", ["B200:8"]], "gpus[1]: is not a number of GPUs (got a list)"),
    ],
)
def test_gpus_that_cannot_be_are_refused(written: object, message: str) -> None:
    found = problems(gpus=written)
    assert found[0].startswith(message)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nodes": -3}, "nodes: must lie between 1 and 100,000 (got -3)"),
        ({"nodes": 0}, "nodes: must lie between 1 and 100,000 (got 0)"),
        ({"nodes": "two"}, "nodes: must be a whole number (got two); write one between 1 and 100,000"),
        ({"nodes": True}, "nodes: must be a whole number (got True); write one between 1 and 100,000"),
        ({"nodes": 1.5}, "nodes: must be a whole number (got 1.5); write one between 1 and 100,000"),
        ({"nodes": "9" * 40}, f"nodes: must be a whole number (got {'9' * 40}); write one between 1 and 100,000"),
        ({"cpus": 0}, "cpus: must lie between 1 and 4,096 (got 0)"),
        (
            {"memory": "lots"},
            "memory: is not an amount of memory (got lots); write it like 256GB or 512MB, at most 1024TB",
        ),
        ({"memory": 64}, "memory: is not an amount of memory (got 64); write it like 256GB or 512MB, at most 1024TB"),
        ({"memory": "9000TB"}, "memory: is out of range (got 9000TB); write it like 256GB or 512MB, at most 1024TB"),
        ({"memory": "0GB"}, "memory: must be at least 1MB (got 0GB)"),
        ({"time": "30"}, "time: has no unit (got 30); write 30s for seconds or 30m for minutes"),
        ({"time": 30}, "time: has no unit (got 30); write 30s for seconds or 30m for minutes"),
        ({"time": "0s"}, "time: must be between one second and ten years (got 0s)"),
        ({"time": "9999w"}, "time: is not a duration (got 9999w); write it like 4h, 90s, 1h30m or 04:00:00"),
        ({"time": "-4h"}, "time: is not a duration (got -4h); write it like 4h, 90s, 1h30m or 04:00:00"),
        (
            {"not_before": "2027-03-02T09:00:00"},
            "not_before: has no time zone (got 2027-03-02T09:00:00); write it like 2027-03-02T09:00:00+09:00",
        ),
        ({"deadline": "friday"}, "deadline: is not a date and time (got friday); write it like 2027-03-02T09:00:00"),
        ({"deadline": 1_803_945_600}, "deadline: is not a date and time (got 1803945600)"),
        (
            {"not_before": "2027-03-02T09:00:00Z", "not_after": "2027-03-02T09:00:00+09:00"},
            "not_after: is before not_before (got 2027-03-02T09:00:00+09:00); swap them, or remove one",
        ),
        (
            {"not_before": "2027-03-02T09:00:00Z", "deadline": "2027-03-02T09:59:59Z"},
            "deadline: leaves less than the time limit of 1h after not_before (got 2027-03-02T09:59:59Z)",
        ),
        ({"within": "sit"}, "within: must be one of node, domain, rack, block, site (got sit); did you mean site?"),
        ({"within": ["node"]}, "within: must be one of node, domain, rack, block, site (got a list)"),
        (
            {"gpus": "0.5", "nodes": 2},
            "gpus: part of a GPU cannot be asked for on more than one node (got 0.5); use nodes: 1",
        ),
        ({"within": "node", "nodes": 2}, "within: 2 nodes cannot be within one node (got node); write within: site"),
        ({"priority": 101}, "priority: must lie between 0 and 100 (got 101)"),
        ({"preemptible": "yes"}, "preemptible: must be true or false (got yes)"),
        ({"purpose": "reserch"}, "did you mean research?"),
        ({"project": "Haneul LLM"}, "project: must be lower-case letters, digits and '-', at most 63 (got Haneul LLM)"),
        ({"name": "a\nb"}, "name: must be one printable line without spaces around it (got 'a\\nb')"),
        ({"name": " "}, "name: must be one printable line without spaces around it (got ' ')"),
        ({"name": "x" * 101}, "name: is longer than 100 characters (got 101 characters)"),
        ({"name": ""}, "name: must be text (got '')"),
        ({"env": {"1A": "x"}}, "env.1A: is not a name of a variable (got 1A)"),
        ({"env": {"DURE_JOB": "x"}}, "env.DURE_JOB: is set by the platform (got DURE_JOB)"),
        ({"env": {"A": True}}, "env.A: must be text or a number"),
        ({"env": {"A": "a\0b"}}, "env.A: must be at most 131000 characters and have no NUL character"),
        ({"env": "A=1"}, "env: must be a mapping of names to values (got A=1)"),
        ({"env": {"HF": "x"}, "secrets": "HF"}, "secrets: is also in env (got HF); keep it in one of the two"),
        ({"secrets": ["my-token"]}, "secrets[0]: is not a name of a variable (got my-token)"),
        ({"workdir": "data"}, "workdir: must be an absolute path (got data); start it with /"),
        ({"setup": "a\0b"}, "setup: has a NUL character (got 'a\\x00b'); remove it"),
        (
            {"checkpoint": {"signal": "KILL"}},
            "checkpoint.signal: must be one of HUP, INT, QUIT, TERM, USR1, USR2 (got KILL)",
        ),
        ({"checkpoint": {"evry": "3m"}}, "checkpoint.evry: is not a known field; did you mean every?"),
        ({"checkpoint": "0s"}, "checkpoint: must be at least a second (got 0s)"),
        ({"retry": -1}, "retry: must lie between 0 and 100 (got -1)"),
        ({"retry": {"backoff": "1m"}}, "retry.limit: is missing; add how often the job is tried again"),
        ({"retry": {"limit": 3, "backoff": "2d"}}, "retry.backoff: must be at most a day (got 2d)"),
        ({"array": "0-9%2"}, "array: a throttle (%) is not offered yet (got 0-9%2)"),
        ({"array": "9-0"}, "array: has no tasks (got 9-0)"),
        ({"array": 0}, "array: has no tasks (got 0)"),
        ({"array": 100_001}, "array: has more than 100,000 tasks (got 100001); split it into several jobs"),
        ({"array": "9999999-9999999"}, "array: the last task must be at most 999,999 (got 9999999-9999999)"),
        ({"replicas": 0}, "replicas: must lie between 1 and 10,000 (got 0)"),
        ({"replicas": True}, "replicas: must be a whole number (got True); write one between 1 and 10,000"),
        (
            {"replicas": {"timezone": "UTC"}},
            'replicas.profile: is missing; add the times of the day, like {"00:00": 2, "08:00": 12}',
        ),
        ({"replicas": {"profile": {"00:00": 1}}}, "replicas.timezone: is missing; add one, like +09:00 or Asia/Seoul"),
        (
            {"replicas": {"profile": {"24:00": 1}, "timezone": "UTC"}},
            "replicas.profile.24:00: is not a time of the day (got 24:00); write it like 08:00, from 00:00 to 23:59",
        ),
        (
            {"replicas": {"profile": {"08:00": 1}, "timezone": "Europe/Paris"}},
            "replicas.timezone: is not a fixed distance from UTC (got Europe/Paris); "
            "write +09:00, or Asia/Seoul or UTC",
        ),
        (
            {"replicas": {"min": 2, "max": 16, "profile": {"00:00": 17}, "timezone": "UTC"}},
            "replicas.profile.00:00: must lie between min, which is 2, and max, which is 16 (got 17)",
        ),
        (
            {"replicas": {"min": 5, "max": 4, "profile": {"00:00": 4}, "timezone": "UTC"}},
            "replicas.min: is more than max, which is 4 (got 5)",
        ),
        (
            {"replicas": {"profile": {"00:00": 0, "12:00": 0}, "timezone": "UTC"}},
            "replicas.profile: wants no replicas at any time; give one time some",
        ),
        (
            {"replicas": {"profile": {}, "timezone": "UTC"}},
            "replicas.profile: must have 1 to 96 times of the day (got 0 times)",
        ),
        (
            {"replicas": 2, "time": "4h"},
            "time: is not for a job with replicas (got 4h); a service has no time limit; remove it",
        ),
        (
            {"replicas": 2, "checkpoint": "30m"},
            "checkpoint: is not for a job with replicas (got 30m); a replica begins anew each time; remove it",
        ),
        (
            {"replicas": 2, "retry": 3},
            "retry: is not for a job with replicas (got 3); a replica that ends is always started again; remove it",
        ),
        (
            {"replicas": 2, "array": 3},
            "array: is not for a job with replicas (got 3); a job is an array or a service; remove one of the two",
        ),
        ({"array": "1,2"}, "array: is not a range of tasks (got 1,2)"),
        ({"depends": "12"}, "depends: must be the id of a job, like j12 or j12_0 (got 12)"),
        ({"depends": ["j1", "j1"]}, "depends[1]: appears twice (got j1); keep one"),
        ({"data": ["../etc"]}, "data[0]: must be lower-case letters, digits and '-', at most 63 (got ../etc)"),
        ({"outputs": ["x"]}, "outputs: is not needed"),
        ({"gpu": "H100:8"}, "gpu: is not a known field; did you mean gpus?"),
        ({"xyzzy": 1}, f"xyzzy: is not a known field; known fields: {', '.join(FIELDS)}"),
        ({"gpus": None}, "gpus: has no value (got nothing); give it one or remove the line"),
        ({"script": "echo"}, "script: a job has either a command or a script, not both; remove one of the two"),
        ({"command": []}, "command: names no program (got a list); write it like [python, train.py]"),
        ({"command": [""]}, "command: names no program (got a list); write it like [python, train.py]"),
        ({"command": "  "}, "command: is empty (got '  ')"),
        ({"command": ["a", {"b": "c"}]}, "command[1]: must be text or a number"),
        ({"command": 5}, "command: must be a list (got 5)"),
    ],
)
def test_a_field_that_cannot_be_is_refused_with_its_name_its_value_and_what_to_do(
    fields: dict[str, object], message: str
) -> None:
    found = problems(**fields)
    assert message in found[0]
    assert len(found) == 1


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        job_from_yaml("name: x\nnodes: -1\ntiem: 4h\ngpus: [H100:99, 8]\nwithin: room")
    assert [problem.field for problem in caught.value.problems] == [
        "nodes",
        "tiem",
        "gpus[0]",
        "within",
        "project",
        "command",
    ]


def test_defaults_fill_what_the_document_leaves_out_and_nothing_else() -> None:
    document = {"name": "train", "command": "true"}
    assert job_from_document(document, {"project": "haneul-llm"}).project == "haneul-llm"
    assert job_from_document({**document, "project": "mine"}, {"project": "haneul-llm"}).project == "mine"
    assert document == {"name": "train", "command": "true"}


@pytest.mark.parametrize("document", [None, [], "name: x", 3])
def test_a_document_that_is_no_mapping_is_refused(document: object) -> None:
    with pytest.raises(BadInput, match="a job is a mapping of fields"):
        job_from_document(document)


def test_a_value_that_may_be_private_is_not_shown_back() -> None:
    assert "hunter2" not in str(problems(env={"PASSWORD": ["hunter2"]}, command=["x", ["hunter2"]]))


def test_a_long_or_unprintable_value_is_shown_short_and_safely() -> None:
    shown = problems(project="\x1b[31m" + "x" * 500)[0]
    assert "\x1b" not in shown
    assert len(shown) < 250


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*FIELDS, "outputs", "unknown"]), JSON_VALUES))
def test_any_document_is_a_job_or_is_refused_with_reasons(document: dict[str, object]) -> None:
    with suppress(BadInput):
        spec = job_from_document({**SMALLEST, **document})
        assert spec.nodes >= 1
        assert bool(spec.command) != bool(spec.script)
        assert spec.gpus or spec.cpus >= 1


def test_a_document_full_of_mistakes_is_given_up_on_quickly() -> None:
    with pytest.raises(BadInput) as caught:
        job_from_document({f"field{number}": 1 for number in range(200_000)})
    assert len(caught.value.problems) == 100
    with pytest.raises(BadInput, match="is not a known field"):
        job_from_document({"x" * 3_000_000: 1})


def test_reading_a_simple_json_job_takes_microseconds() -> None:
    """A server takes thousands of these each second. The bound is generous: it is to notice a change of kind."""
    body = json.dumps({**SMALLEST, "nodes": 2, "gpus": "H100:8", "memory": "256GB", "time": "4h", "retry": 3}).encode()
    best_s = min(_seconds_per_job(body) for _ in range(5))
    assert best_s < 100e-6


def _seconds_per_job(body: bytes) -> float:
    start = time.perf_counter()
    for _ in range(500):
        job_from_json(body)
    return (time.perf_counter() - start) / 500
