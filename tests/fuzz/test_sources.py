"""Traces, node lists and files of faults: read, or refused with file, line and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from dure.intake.refusals import BadInput
from dure.sources.errors import BadSource
from dure.sources.faults import read_faults
from dure.sources.fleet import parse_fleet, read_fleet
from dure.sources.readers import FORMATS, read_trace
from tests.fuzz.spoiling import EXAMPLES, no_hang, spoilt_bytes, spoilt_texts

TRACES = {
    "equal": "job_id,submit,duration,num_gpus\n1,0,10,2\n2,5,100,8\n3,6.5,1,1\n",
    "philly": "timestamp,duration,num_gpus,gpu_time,cluster\n0,10,1,10,a\n60,3600,8,28800,b\n",
    "openb": "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
    "creation_time,deletion_time,scheduled_time\n"
    "p-0,12000,16384,1,1000,,LS,Running,0,12537496,0\np-1,6000,12288,1,460,V100M16|V100M32,LS,Running,427061,12902960,427061\n",
}
NODES = "sn,cpu_milli,memory_mib,gpu,model\nn-0,64000,262144,2,P100\nn-1,96000,786432,8,V100M32\nn-2,32000,131072,0,\n"
FAULTS = "node,down_s,up_s\n0,100,200\n1,50.5,70\n0,300,301\n"
FLEET = parse_fleet("4x8")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "data.csv"


def read_or_refused(file: Path, body: bytes, read: Callable[[Path], object]) -> None:
    file.write_bytes(body)
    with no_hang(lambda: repr(body)):
        message = "read"
        try:
            read(file)
        except (BadSource, BadInput) as bad:
            message = str(bad)
        assert message.encode("utf-8", "replace")


@pytest.mark.parametrize("trace_format", FORMATS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(body=spoilt_bytes(list(TRACES.values())))
def test_a_trace_is_read_or_refused(file: Path, trace_format: str, body: bytes) -> None:
    read_or_refused(file, body, lambda path: read_trace(path, trace_format, FLEET))


@settings(max_examples=EXAMPLES, deadline=None)
@given(body=spoilt_bytes([NODES]))
def test_a_node_list_is_read_or_refused(file: Path, body: bytes) -> None:
    read_or_refused(file, body, lambda path: read_fleet(str(path)))


@settings(max_examples=EXAMPLES, deadline=None)
@given(body=spoilt_bytes([FAULTS]))
def test_a_file_of_faults_is_read_or_refused(file: Path, body: bytes) -> None:
    read_or_refused(file, body, lambda path: read_faults(path, FLEET))


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_texts(["72x8", "4x18x4:GB200", "2x8:H100,3x4:B200"]))
def test_a_fleet_is_read_or_refused(text: str) -> None:
    with no_hang(lambda: text):
        message = "read"
        try:
            parse_fleet(text)
        except BadSource as bad:
            message = str(bad)
        assert message.encode("utf-8", "replace")
