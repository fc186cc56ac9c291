"""Files that are not what they should be: each is refused with file, line, column, value and what was expected."""

from __future__ import annotations

import gzip
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.sources.equal import read_equal
from dure.sources.errors import BadTrace, BadWorkload
from dure.sources.fleet import parse_fleet
from dure.sources.limits import LONGEST_RUN_S
from dure.sources.openb import read_openb
from dure.sources.philly import read_philly
from dure.sources.readers import read_trace

EQUAL = "job_id,submit,duration,num_gpus\n"
PHILLY = "timestamp,duration,num_gpus,gpu_time,cluster\n"
OPENB = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "jobs.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "line", "column", "value", "expected"),
    [
        ("1,0,10,two", 3, "num_gpus", "two", "a whole number from 1 to 100,000"),
        ("1,0,10,1.5", 3, "num_gpus", "1.5", "a whole number"),
        ("1,0,10,0", 3, "num_gpus", "0", "a whole number from 1"),
        ("1,0,10,-4", 3, "num_gpus", "-4", "a whole number from 1"),
        ("1,0,10,1e30", 3, "num_gpus", "1e30", "to 100,000"),
        ("1,0,,1", 3, "duration", "", "seconds from 1"),
        ("1,0,nan,1", 3, "duration", "nan", "seconds"),
        ("1,0,-5,1", 3, "duration", "-5", "seconds from 1"),
        ("1,-1,10,1", 3, "submit", "-1", "seconds from 0"),
        ("1,later,10,1", 3, "submit", "later", "seconds"),
        ("1,inf,10,1", 3, "submit", "inf", "seconds"),
    ],
)
def test_a_bad_number_is_named_with_its_line_and_column(
    tmp_path: Path, row: str, line: int, column: str, value: str, expected: str
) -> None:
    path = written(tmp_path, f"{EQUAL}1,0,10,1\n{row}\n1,99,10,1\n")
    with pytest.raises(BadTrace) as caught:
        read_equal(path, 8)
    error = caught.value
    assert (error.path, error.line, error.column, error.value) == (path, line, column, value)
    assert str(error).startswith(f"{path}, line {line}, column {column}: found {value!r}, expected ")
    assert expected in error.expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (EQUAL, "at least one row below the header"),
        ("job_id,submit,duration,gpus\n1,0,10,1\n", "line 1, column 4: found 'gpus', expected the columns job_id"),
        ("job_id,submit,duration\n1,0,10\n", "'num_gpus' is missing"),
        (EQUAL.strip() + ",submit\n1,0,10,1,0\n", "each once"),
        (EQUAL + "1,0,10\n", "line 2: expected 4 fields (job_id, submit, duration, num_gpus), but there are 3"),
        (EQUAL + "1,0,10,1,9\n", "but there are 5"),
        (EQUAL + '1,0,10,"1\n', "line 2"),
    ],
)
def test_a_wrong_layout_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadTrace) as caught:
        read_equal(written(tmp_path, text), 8)
    assert message in str(caught.value)


def test_columns_may_come_in_any_order_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, "num_gpus,job_id,submit,duration\n\n16,1,0,10\n\n")
    trace = read_equal(path, 8)
    assert (trace.nodes.tolist(), trace.gpus_milli.tolist(), trace.duration_ms.tolist()) == ([2], [8000], [10_000])


def test_files_that_cannot_be_opened_or_unpacked_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match="there is none of this name"):
        read_equal(tmp_path / "absent.csv", 8)
    with pytest.raises(BadTrace, match="a file that can be read"):
        read_equal(tmp_path, 8)
    plain_but_named_gz = tmp_path / "jobs.csv.gz"
    plain_but_named_gz.write_text(EQUAL)
    with pytest.raises(BadTrace, match="a complete gzip file"):
        read_equal(plain_but_named_gz, 8)
    plain_but_named_gz.write_bytes(gzip.compress((EQUAL + "1,0,10,1\n" * 5000).encode())[:-40])
    with pytest.raises(BadTrace, match="a complete gzip file"):
        read_equal(plain_but_named_gz, 8)
    packed_but_named_csv = tmp_path / "jobs.csv"
    packed_but_named_csv.write_bytes(gzip.compress(EQUAL.encode()))
    with pytest.raises(BadTrace, match=r"packed files must end in \.gz"):
        read_equal(packed_but_named_csv, 8)


def test_a_packed_file_reads_as_the_plain_one(tmp_path: Path) -> None:
    text = EQUAL + "1,0,10,1\n2,7,20,12\n"
    packed = tmp_path / "jobs.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_equal(packed, 8).fingerprint() == read_equal(written(tmp_path, text), 8).fingerprint()


@pytest.mark.parametrize("timestamp", ["2017-10-09", "2017-13-09 07:01:55", "yesterday", "", "09/10/2017 07:01:55"])
def test_a_philly_date_must_be_a_date(tmp_path: Path, timestamp: str) -> None:
    path = written(tmp_path, f"{PHILLY}2017-10-09 07:01:55,66.0,1,66.0,vc\n{timestamp},66.0,1,66.0,vc\n")
    with pytest.raises(BadTrace) as caught:
        read_philly(path, 8)
    assert (caught.value.line, caught.value.column, caught.value.value) == (3, "timestamp", timestamp)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("p,1000,64,1,0,,BE,Running,0,9,0", "gpu_milli"),
        ("p,1000,64,2,500,,BE,Running,0,9,0", "gpu_milli"),
        ("p,1000,64,1,1001,,BE,Running,0,9,0", "gpu_milli"),
        ("p,1000,64,17,1000,,BE,Running,0,9,0", "num_gpu"),
        ("p,-1,64,1,1000,,BE,Running,0,9,0", "cpu_milli"),
        ("p,1000,much,1,1000,,BE,Running,0,9,0", "memory_mib"),
        ("p,1000,64,1,1000,T4||G2,BE,Running,0,9,0", "gpu_spec"),
        ("p,1000,64,1,1000,a|b|c|d|e|f|g|h|i,BE,Running,0,9,0", "gpu_spec"),
        ("p,1000,64,1,1000,,BE,Running,10,9,10", "deletion_time"),
        ("p,1000,64,1,1000,,BE,Running,5,9,4", "scheduled_time"),
        ("p,1000,64,1,1000,,BE,Running,5,9,10", "scheduled_time"),
        ("p,1000,64,1,1000,,BE,Running,5,9,soon", "scheduled_time"),
    ],
)
def test_an_openb_pod_that_makes_no_sense_is_refused(tmp_path: Path, row: str, column: str) -> None:
    good = "p,1000,64,1,1000,,BE,Pending,5,9,\n"
    with pytest.raises(BadTrace) as caught:
        read_openb(written(tmp_path, f"{OPENB}{good}{row}\n{good}"))
    assert (caught.value.line, caught.value.column) == (3, column)


def test_a_pod_never_scheduled_lasts_from_creation_to_deletion_and_at_least_a_second(tmp_path: Path) -> None:
    rows = "a,0,0,1,500,,BE,Pending,5,9,\nb,0,0,0,0,,BE,Failed,6,6,6\nc,0,0,1,500,,BE,Running,7,20,9\n"
    trace = read_openb(written(tmp_path, OPENB + rows))
    assert trace.duration_ms.tolist() == [4_000, 1_000, 11_000]


def test_pods_without_times_arrive_one_second_apart_and_stay(tmp_path: Path) -> None:
    rows = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\nb,0,0,1,500\na,0,0,8,1000\n"
    trace = read_openb(written(tmp_path, rows))
    assert trace.submit_ms.tolist() == [0, 1_000]
    assert trace.gpus_milli.tolist() == [500, 8_000]
    assert trace.duration_ms.min() == LONGEST_RUN_S * 1000


def test_a_pod_list_with_only_some_times_is_refused(tmp_path: Path) -> None:
    rows = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time\na,0,0,1,500,7\n"
    with pytest.raises(BadTrace, match="or none; 'deletion_time' is missing"):
        read_openb(written(tmp_path, rows))


def test_a_job_that_could_never_run_is_left_out_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, f"{EQUAL}1,0,10,64\n2,5,10,1\n3,7,10,64\n")
    trace = read_trace(path, "equal", parse_fleet("4x8"))
    assert (len(trace), trace.refused, trace.submit_ms.tolist()) == (1, 2, [0])
    assert "2 of 3 jobs can never run on fleet 4x8; the first is job 1: 8 x 8 GPUs" in trace.origin
    on_a_larger_fleet = read_trace(path, "equal", parse_fleet("8x8"))
    assert (len(on_a_larger_fleet), on_a_larger_fleet.refused) == (3, 0)


def test_every_rank_of_a_gang_needs_a_node_of_its_own(tmp_path: Path) -> None:
    """Nine GPUs are 3 x 3, and two nodes have room for four such ranks, but not for a gang of three."""
    path = written(tmp_path, f"{EQUAL}1,0,10,9\n2,5,10,1\n")
    assert read_trace(path, "equal", parse_fleet("2x8")).refused == 1
    assert read_trace(path, "equal", parse_fleet("3x8")).refused == 0


def test_a_trace_of_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, OPENB + "p,900000,64,1,1000,,BE,Running,0,9,0\n")
    with pytest.raises(BadWorkload, match=r"1 of 1 jobs can never run on fleet 1x8; .* with 900 cores and 0.0625 GiB"):
        read_trace(path, "openb", parse_fleet("1x8"))


def test_a_class_the_fleet_has_not_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, OPENB + "p,1000,64,1,1000,T4,BE,Running,0,9,0\n")
    with pytest.raises(BadWorkload, match=r"asks for GPU class T4, which fleet 1x8:H100 has not \(it has H100\)"):
        read_trace(path, "openb", parse_fleet("1x8:H100"))


@given(content=st.binary(max_size=300), packed=st.booleans())
def test_no_bytes_whatever_make_a_reader_fail_in_another_way(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, packed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / ("any.csv.gz" if packed else "any.csv")
    path.write_bytes(EQUAL.encode() + content)
    # Anything but a `BadTrace` fails the test by itself.
    with suppress(BadTrace):
        assert len(read_equal(path, 8)) > 0
