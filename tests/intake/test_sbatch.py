"""Slurm batch scripts: every option is read, warned about or refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.intake.refusals import BadInput
from dure.intake.sbatch import SbatchJob, job_from_sbatch, slurm_time_ms
from dure.model.jobs import ArrayRange, Checkpoint, GpuRequest, JobSpec
from dure.model.units import HOUR_MS, MINUTE_MS, SECOND_MS

from .conftest import lines

NAMED = {"name": "train", "project": "haneul-llm"}


def script(*options: str) -> str:
    return "\n".join(["#!/bin/bash", *(f"#SBATCH {option}" for option in options), "python train.py", ""])


def read(*options: str) -> SbatchJob:
    return job_from_sbatch(script(*options), NAMED)


def problems(*options: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read(*options)
    return lines(caught)


def test_a_script_as_people_have_it_becomes_a_job() -> None:
    text = """#!/bin/bash
# A comment, and a blank line.

#SBATCH -J "my train" --account=haneul-llm   # who pays
#SBATCH --nodes 2
#SBATCH --gpus-per-node=h100:8
#SBATCH --ntasks-per-node=8 -c4
#SBATCH --mem=512G -t 1-12
#SBATCH --array=0-9
#SBATCH --dependency=afterok:j1:j2,afterok:j3
#SBATCH --signal=B:USR1@120
#SBATCH --chdir=/data/train --export=NONE,LR=0.10
#SBATCH --no-requeue
python train.py
"""
    job = job_from_sbatch(text)
    assert job.spec == JobSpec(
        name="my train",
        project="haneul-llm",
        script=text,
        workdir="/data/train",
        env={"LR": "0.10"},
        nodes=2,
        gpus=(GpuRequest(gpu_class="h100", milli=8000),),
        cpus=32,
        memory_mib=512 * 1024,
        time_ms=36 * HOUR_MS,
        preemptible=False,
        checkpoint=Checkpoint(signal="USR1"),
        array=ArrayRange(first=0, last=9),
        depends=("j1", "j2", "j3"),
    )
    assert job.warnings == (
        "the time in --signal has no effect here: the warning time of the platform applies",
        "the script runs on each of the 2 nodes; NODE_RANK says on which",
    )


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        (["--gres=gpu:h100:8"], ("h100", 8000)),
        (["--gres=gpu:4"], ("", 4000)),
        (["--gres=gpu"], ("", 1000)),
        (["--gpus-per-node=h100"], ("h100", 1000)),
        (["-G", "8"], None),
        (["--gpus=h100:16", "-N2"], ("h100", 8000)),
        (["-G16 -N 2"], ("", 8000)),
    ],
)
def test_gpus_are_asked_for_in_all_of_slurms_ways(options: list[str], gpus: tuple[str, int] | None) -> None:
    gpus = gpus or ("", 8000)
    wanted = read(" ".join(options)).spec.gpus
    assert wanted == (GpuRequest(gpu_class=gpus[0], milli=gpus[1]),)


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("240", 240 * MINUTE_MS),
        ("4:30", 4 * MINUTE_MS + 30 * SECOND_MS),
        ("4:00:00", 4 * HOUR_MS),
        ("1-12", 36 * HOUR_MS),
        ("1-12:30", 36 * HOUR_MS + 30 * MINUTE_MS),
        ("1-12:30:15", 36 * HOUR_MS + 30 * MINUTE_MS + 15 * SECOND_MS),
        ("90:00", 90 * MINUTE_MS),
        ("UNLIMITED", None),
        ("4h", None),
        ("", None),
        ("1:2:3:4", None),
    ],
)
def test_time_is_read_as_slurm_reads_it(written: str, milliseconds: int | None) -> None:
    assert slurm_time_ms(written) == milliseconds


@given(st.integers(0, 300), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_every_full_slurm_time_is_read(days: int, hours: int, minutes: int, seconds: int) -> None:
    expected = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert slurm_time_ms(f"{days}-{hours}:{minutes:02}:{seconds:02}") == expected * SECOND_MS


@pytest.mark.parametrize(
    ("option", "memory_mib"), [("--mem=4000", 4000), ("--mem=64G", 65536), ("--mem-per-cpu=2G -c 4", 8192)]
)
def test_memory_without_a_unit_is_in_megabytes(option: str, memory_mib: int) -> None:
    assert read(option).spec.memory_mib == memory_mib


@pytest.mark.parametrize(
    ("options", "cpus"),
    [(["-c 4"], 4), (["-n 8"], 8), (["-n 8 -N 2 -c 2"], 8), (["--ntasks=8 --ntasks-per-node=4 -c 2"], 8), ([""], 1)],
)
def test_cpus_per_task_become_cpus_per_node(options: list[str], cpus: int) -> None:
    assert read(*options).spec.cpus == cpus


def test_nodes_follow_from_tasks() -> None:
    assert read("--ntasks=8 --ntasks-per-node=4").spec.nodes == 2
    assert read("--nodes=3-3").spec.nodes == 3


@pytest.mark.parametrize(
    ("option", "signal"), [("--signal=USR1", "USR1"), ("--signal=SIGUSR2@60", "USR2"), ("--signal=B:10@60", "USR1")]
)
def test_a_signal_becomes_the_checkpoint_signal(option: str, signal: str) -> None:
    assert read(option).spec.checkpoint.signal == signal


@pytest.mark.parametrize("option", ["-o out.txt", "--error=e", "--qos=high", "-p gpu", "--mail-type=ALL", "--requeue"])
def test_an_option_without_effect_is_a_warning(option: str) -> None:
    assert "has no effect here" in read(option).warnings[0]


def test_one_array_task_keeps_its_number() -> None:
    assert read("--array=5").spec.array == ArrayRange(first=5, last=5)


def test_headers_after_the_first_command_are_ignored_with_a_warning() -> None:
    job = job_from_sbatch("#!/bin/bash\necho\n#SBATCH --nodes=4\n", NAMED)
    assert job.spec.nodes == 1
    assert job.warnings == ("#SBATCH lines after the first command are ignored, as Slurm does",)


def test_srun_in_the_script_is_a_warning() -> None:
    assert "there is no srun here" in job_from_sbatch("#!/bin/bash\nsrun python x.py\n", NAMED).warnings[0]


def test_a_range_of_nodes_makes_an_elastic_job() -> None:
    script = "#!/bin/bash\n#SBATCH -J train -A haneul-llm -N 2-8 --signal=USR1 --gpus-per-node=8\npython train.py\n"
    spec = job_from_sbatch(script).spec
    assert (spec.min_nodes, spec.nodes, spec.gpus[0].milli) == (2, 8, 8_000)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--tiem=4", "--tiem: is not a known option (got 4); did you mean time?"),
        ("--exclusive", "--exclusive: is not offered; ask for all GPUs or CPUs of a node instead"),
        ("--constraint=a100", "--constraint: is not offered (got a100); name a GPU class to choose hardware"),
        ("--time=UNLIMITED", "--time: is not a time limit (got UNLIMITED)"),
        ("--time", "--time: has no value; write --time=..."),
        ("--time=0", "--time: is not a time limit (got 0)"),
        ("--mem=0", "--mem: all the memory of a node is not offered (got 0); name the amount, like 64G"),
        ("--mem=lots", "--mem: is not an amount of memory (got lots); write it like 64G"),
        ("--array=0-9%2", "--array: a throttle (%) is not offered yet (got 0-9%2)"),
        ("--array=1,3", "--array: lists and steps are not offered yet (got 1,3); write one range, like 0-9"),
        ("--array=0-9:2", "--array: lists and steps are not offered yet (got 0-9:2); write one range, like 0-9"),
        ("--dependency=after:j1", "--dependency: only afterok is offered (got after:j1)"),
        ("--dependency=afterok:12", "--dependency: only afterok is offered (got afterok:12)"),
        (
            "--nodes=2-4",
            "--nodes: a range needs a checkpoint: with another number of nodes a job goes on from what it saved "
            "(got 2-4); add a line such as #SBATCH --signal=B:USR1@120",
        ),
        ("--nodes=2-many", "--nodes: is not a range of nodes (got 2-many); write it like --nodes=2-8"),
        ("--nodes=4-2", "--nodes: is more than nodes, which is 2 (got 4); swap them"),
        (
            "--nodes=2-4 --signal=USR1 --gpus=8",
            "--gpus: counts over all nodes, and their number is a range (got 8); use --gpus-per-node",
        ),
        ("--nodes=0", "--nodes: must be a whole number of at least 1 (got 0)"),
        ("--nodes=999999", "--nodes: must lie between 1 and 100,000 (got 999999)"),
        ("--gres=gpu:h100:8,shard:1", "--gres: only GPUs are offered (got gpu:h100:8,shard:1)"),
        ("--gres=license:1", "--gres: only GPUs are offered (got license:1); write it like --gres=gpu:h100:8"),
        ("--gres=gpu:99", "--gres: no node has more than 16 GPUs (got 99); ask for more nodes instead"),
        ("--gpus=7 --nodes=2", "--gpus: does not divide evenly over 2 nodes (got 7); use --gpus-per-node"),
        ("--gpus=8 --gres=gpu:8", "--gpus: GPUs are already asked for with --gres (got 8); keep one of them"),
        ("--signal=@60", "--signal: is not a signal (got @60); write it like B:USR1@120"),
        ("--signal=KILL", "--signal: must be one of HUP, INT, QUIT, TERM, USR1, USR2 (got KILL)"),
        ("--export=LR", "--export: has no value (got LR); write --export=LR=value"),
        ("--account='My P'", "--account: must be lower-case letters, digits and '-', at most 63 (got My P)"),
        ("--chdir=data", "--chdir: must be an absolute path (got data); start it with /"),
        ("-Z 3", "#SBATCH: is not an option (got -Z); write it like --time=4:00:00"),
        ("--job-name='open", "#SBATCH: cannot be read: No closing quotation"),
    ],
)
def test_what_cannot_be_is_refused_with_the_option_as_it_was_written(option: str, message: str) -> None:
    assert problems(option)[0].startswith(message)


def test_missing_names_are_asked_for_in_slurms_words() -> None:
    with pytest.raises(BadInput) as caught:
        job_from_sbatch("#!/bin/bash\ntrue\n")
    assert lines(caught) == [
        "--job-name: is missing; add a line such as #SBATCH --job-name=my-name",
        "--account: is missing; add a line such as #SBATCH --account=my-project",
    ]


def test_all_problems_of_a_script_are_told_at_once() -> None:
    found = problems("--tiem=4 --mem=0", "--array=0-9%2 --account=A")
    assert [line.split(":")[0] for line in found] == ["--tiem", "--mem", "--account", "--array"]


@given(st.lists(st.text("-=:,%@ abNgpu0189'", max_size=12), max_size=4))
def test_any_header_is_read_or_refused(options: list[str]) -> None:
    with suppress(BadInput):
        assert read(*options).spec.script
