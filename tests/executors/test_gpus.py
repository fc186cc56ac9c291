"""Real GPUs, through the real binding of NVIDIA's library. The library itself is a small stand-in, compiled here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dure.executors.local.gpus import Gpu, GpuDriver
from dure.executors.local.sandbox import Sandboxes
from dure.model.jobs import GpuUse
from tests.control.server import running_server

from .engines import Engine, launch

TWO_GPUS = "350000 80 1000000\n200000 20 -1\n"
LISTS = """
import json, msgspec
from dure.executors.local.gpus import GpuDriver
driver = GpuDriver()
print(json.dumps([[msgspec.to_builtins(gpu), msgspec.to_builtins(driver.read(gpu))] for gpu in driver.gpus]))
"""
METERS = """
import json, os, sys, threading, time
import msgspec
from pathlib import Path
from dure.executors.local import metering
from dure.executors.local.gpus import GpuDriver
from tests.executors.engines import launch

folder, state = sys.argv[1], Path(os.environ["DURE_TEST_GPUS"])
now = 0.0
order = launch("job.1", "true")
def life():
    return metering.Metering(GpuDriver(), clock=lambda: now)
meters = life()
meters.begin("job.1", order, folder)
now = 10.0
state.write_text("400000 80 6000000\\n200000 40 -1\\n")
meters.end("job.1")
print(json.dumps(msgspec.to_builtins(metering.gpu_use(folder))))
meters.close()
now = 60.0
state.write_text("400000 80 9000000\\n200000 40 -1\\n")
meters = life()
meters.begin("job.1", None, folder)
now = 70.0
meters.end("job.1")
meters.close()
print(json.dumps(msgspec.to_builtins(metering.gpu_use(folder))))
"""
LOOKS = """
import json, os, time
import msgspec
from dure.executors.local import metering
from dure.executors.local.gpus import GpuDriver

metering._LOOK_EVERY_S = 0.01
meters = metering.Metering(GpuDriver())
while len(meters.readings) != 2:
    time.sleep(0.01)
print(json.dumps(msgspec.to_builtins(meters.readings)))
os.truncate(os.environ["DURE_TEST_GPUS"], len("350000 80 1000000 "))
while len(meters.readings) != 1:
    time.sleep(0.01)
time.sleep(0.1)
meters.close()
"""
RUNS = """
import json, sys
from pathlib import Path
import msgspec
from tests.executors.engines import launch, local_engine

engine = local_engine(Path(sys.argv[1]))
try:
    go = Path(sys.argv[1]) / "go"
    says = f"echo $CUDA_VISIBLE_DEVICES $DURE_GPUS; while [ ! -e {go} ]; do sleep 0.01; done"
    engine.executor.start(launch("job.1", "bash", "-c", says))
    engine.started("job.1")
    go.touch()
    engine.ended("job.1")
    [node] = engine.executor.capacity()
    use = engine.executor.gpu_use("job.1")
    print(json.dumps([engine.log("job.1"), node.gpus, use is not None]))
finally:
    engine.executor.close(kill=True)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("there is no C compiler to make the library with")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(folder / "libnvidia-ml.so.1")]
    subprocess.run(["gcc", *flags, str(source)], check=True)
    return folder


def run_with(library: Path, program: str, *arguments: str, gpus: Path | None) -> subprocess.CompletedProcess[str]:
    """A Python of its own: which library is loaded is settled when a process begins."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    if gpus is not None:
        environment["DURE_TEST_GPUS"] = str(gpus)
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def gpus(tmp_path: Path) -> Path:
    file = tmp_path / "gpus"
    file.write_text(TWO_GPUS)
    return file


def test_gpus_are_found_and_read(library: Path, gpus: Path) -> None:
    (first, reading), (second, other) = json.loads(run_with(library, LISTS, gpus=gpus).stdout)
    assert first == {"index": 0, "minor": 4, "uuid": "GPU-0", "name": "NVIDIA H100 80GB HBM3", "memory_mib": 81_920}
    assert second["uuid"] == "GPU-1"
    assert reading == {"power_w": 350.0, "utilisation_percent": 80, "energy_j": 1000.0, "memory_used_mib": 30_720}
    assert other == {"power_w": 200.0, "utilisation_percent": 20, "energy_j": None, "memory_used_mib": None}


def test_without_a_driver_there_are_no_gpus_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    if os.path.exists("/proc/driver/nvidia"):
        pytest.skip("this machine has GPUs")
    assert GpuDriver().gpus == ()
    assert caplog.text == ""


def test_a_driver_that_does_not_work_is_told_and_no_error(library: Path) -> None:
    done = run_with(library, LISTS, gpus=None)
    assert (done.returncode, done.stdout) == (0, "[]\n")
    assert "the driver of this machine's GPUs does not work" in done.stderr


def test_a_gpu_that_does_not_answer_is_told_and_no_error(library: Path, tmp_path: Path) -> None:
    done = run_with(library, LISTS, gpus=tmp_path / "gone")
    assert done.returncode == 0
    assert [reading for _, reading in json.loads(done.stdout)] == [None, None]
    assert "GPU GPU-0 does not answer" in done.stderr


def test_all_gpus_are_read_now_and_then_and_one_that_falls_silent_is_told_once(library: Path, gpus: Path) -> None:
    done = run_with(library, LOOKS, gpus=gpus)
    first, second = json.loads(done.stdout)
    assert first == {
        "hostname": os.uname().nodename,
        "index": 0,
        "minor": 4,
        "uuid": "GPU-0",
        "model_name": "NVIDIA H100 80GB HBM3",
        "utilisation_percent": 80,
        "power_w": 350.0,
        "energy_mj": 1_000_000,
        "memory_used_mib": 30_720,
    }
    assert (second["index"], second["energy_mj"], second["memory_used_mib"]) == (1, None, None)
    assert done.stderr.count("GPU GPU-1 does not answer") == 1


def test_prometheus_reads_gpus_under_the_names_of_nvidias_exporter(
    library: Path, gpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("DURE_TEST_GPUS", str(gpus))
    with running_server(tmp_path / "state") as server, server.client() as http:
        answer = http.get("/metrics").raise_for_status().text
    families = [each for each in text_string_to_metric_families(answer) if each.name.startswith("DCGM_")]
    samples = {(each.name, each.labels["gpu"]): each for family in families for each in family.samples}
    assert {key: each.value for key, each in samples.items()} == {
        ("DCGM_FI_DEV_GPU_UTIL", "0"): 80,
        ("DCGM_FI_DEV_GPU_UTIL", "1"): 20,
        ("DCGM_FI_DEV_FB_USED", "0"): 30_720,
        ("DCGM_FI_DEV_POWER_USAGE", "0"): 350,
        ("DCGM_FI_DEV_POWER_USAGE", "1"): 200,
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "0"): 1_000_000,
    }
    assert samples["DCGM_FI_DEV_GPU_UTIL", "1"].labels == {
        "gpu": "1",
        "UUID": "GPU-1",
        "device": "nvidia5",
        "modelName": "NVIDIA H100 80GB HBM3",
        "Hostname": os.uname().nodename,
    }


def test_energy_is_counted_over_a_restart_and_power_added_up_where_there_is_no_counter(
    library: Path, gpus: Path, tmp_path: Path
) -> None:
    done = run_with(library, METERS, str(tmp_path), gpus=gpus)
    assert done.stderr == ""
    first, both = (GpuUse(**json.loads(line)) for line in done.stdout.splitlines())
    # The first GPU counts 5,000 J; the other has 200 W for 10 s. They are 80 % and 40 % busy.
    assert first == GpuUse(energy_j=7_000, busy_percent=60, measured_ms=10_000)
    # While no server looked the first went on counting; of the other nobody knows.
    assert both == GpuUse(energy_j=7_000 + 3_000 + 2_000, busy_percent=60, measured_ms=20_000)


def test_a_job_sees_its_gpus_by_uuid_and_is_metered(library: Path, gpus: Path, tmp_path: Path) -> None:
    done = run_with(library, RUNS, str(tmp_path / "state"), gpus=gpus)
    assert json.loads(done.stdout) == ["GPU-0,GPU-1 0,1\n", 2, True], done.stderr


def test_a_job_on_gpus_that_are_only_declared_is_not_metered(local: Engine) -> None:
    local.run(launch("job.1", "true"))
    assert local.executor.gpu_use("job.1") is None
    assert local.executor.capacity() is None or os.path.exists("/proc/driver/nvidia")


def test_a_sandbox_shows_a_rank_its_own_gpus_and_no_others() -> None:
    gpus = [Gpu(index=index, minor=4 + index, uuid=f"GPU-{index}", name="", memory_mib=1) for index in range(4)]
    options = Sandboxes(real_gpus=gpus).options(launch("job.1", "true"), 0, "/state/attempts/job.1")
    shown = [path for path in options if path.startswith("/dev/nvidia")]
    assert sorted(set(shown)) == [
        "/dev/nvidia-uvm",
        "/dev/nvidia-uvm-tools",
        "/dev/nvidia4",
        "/dev/nvidia5",
        "/dev/nvidiactl",
    ]
