"""A job on restricted data that tries to take some of it along, and what the inspection of its results says."""

from __future__ import annotations

import random
import stat
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from dure.executors.contract import ExecutorError, Launch
from dure.executors.local.sandbox import Sandboxes
from dure.governance.airlock import commitment
from dure.governance.inspection.terms import InspectionTerms
from dure.model.results import FindingCode, InspectedResult, ResultKind, Verdict, worst

from .engines import Engine, eventually, launch

NO_SANDBOX = Sandboxes().problem()
pytestmark = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)
TERMS = InspectionTerms(seconds=60)

TAKES_ALONG = """
cd $DURE_OUTPUT
cp $DATA/people.csv all.csv
head -1 $DATA/people.csv > one.csv; sed -n 7p $DATA/people.csv >> one.csv
head -c 4000 $DATA/scan.bin > piece.bin
base64 $DATA/scan.bin > encoded.txt
gzip -c $DATA/people.csv > packed.gz
printf 'region,n\\nseoul,120\\nbusan,80\\njeju,3\\n' > counts.csv
printf 'the mean of all is 41.2, nothing else\\n' > summary.txt
ln -s $DATA/people.csv link.csv
ln $DATA/people.csv hard.csv 2>/dev/null || true
ln -s / root
mkfifo pipe
printf 'x' > 'a
b'
echo "printed: $(sed -n 9,90p $DATA/people.csv)"
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [
        f"{number},{30 + number % 50},{'seoul' if number % 2 else 'busan'},flu {number % 7}" for number in range(300)
    ]
    (folder / "people.csv").write_text("id,age,region,diagnosis\n" + "\n".join(rows) + "\n")
    (folder / "scan.bin").write_bytes(random.Random(3).randbytes(50_000))
    return folder


@pytest.fixture
def taken(local: Engine, data: Path) -> dict[str, InspectedResult]:
    """What the inspection says of each result, by name."""
    local.run(sandboxed(TAKES_ALONG, data))
    return {each.path: each for each in local.executor.inspect(["job.1"], [str(data)], TERMS)}


def sandboxed(script: str, data: Path) -> Launch:
    order = launch("job.1", "bash", "-c", script, env={"DATA": str(data)})
    return msgspec.structs.replace(order, sandbox=True, read_only=(str(data),))


def codes(result: InspectedResult) -> set[FindingCode]:
    return {each.code for each in result.findings}


def test_what_a_job_takes_along_is_found_whatever_it_makes_of_it(taken: dict[str, InspectedResult]) -> None:
    assert {FindingCode.VERBATIM_COPY, FindingCode.COPIED_ROWS} <= codes(taken["all.csv"])
    assert {FindingCode.COPIED_ROWS, FindingCode.RARE_ROWS} <= codes(taken["one.csv"])
    assert {FindingCode.VERBATIM_COPY, FindingCode.MEDIA_TYPE} <= codes(taken["piece.bin"])
    assert FindingCode.NOT_CHECKABLE in codes(taken["encoded.txt"])
    assert FindingCode.MEDIA_TYPE in codes(taken["packed.gz"])
    assert FindingCode.RARE_GROUPS in codes(taken["counts.csv"])
    assert FindingCode.VERBATIM_COPY in codes(taken["rank0.log"])
    assert codes(taken["summary.txt"]) == set()
    for name in ("link.csv", "root", "pipe", "a\\nb"):
        assert codes(taken[name]) == {FindingCode.NOT_A_FILE}, name
        assert taken[name].size_bytes == 0
    blocked = {name for name, each in taken.items() if worst(each.findings) is Verdict.BLOCK}
    assert blocked == taken.keys() - {"encoded.txt", "summary.txt"}


def test_the_data_cannot_be_given_another_name(taken: dict[str, InspectedResult], data: Path) -> None:
    assert "hard.csv" not in taken
    assert (data / "people.csv").stat().st_nlink == 1


def test_what_was_found_is_kept_beside_the_results_and_only_its_site_can_tell_the_names(
    local: Engine, taken: dict[str, InspectedResult]
) -> None:
    kept = local.executor.inspected("job.1")
    assert {each.path: each for each in kept} == taken
    assert len({commitment(each) for each in kept}) == len(kept)
    again = local.executor.inspect(["job.1"], [], TERMS)
    assert {commitment(each) for each in again}.isdisjoint(commitment(each) for each in kept)
    folder = local.folder / "attempts" / "job.1"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_more_than_the_budget_is_not_even_read(local: Engine, data: Path) -> None:
    local.run(sandboxed("head -c 3000000 /dev/zero > $DURE_OUTPUT/large; truncate -s 1T $DURE_OUTPUT/holes", data))
    found = local.executor.inspect(["job.1"], [str(data)], InspectionTerms(most_bytes=2_000_000))
    assert {each.path for each in found} == {"large", "holes", "rank0.log"}
    for each in found:
        assert FindingCode.OVER_BUDGET in codes(each), each
        assert worst(each.findings) is Verdict.BLOCK


def test_data_that_cannot_be_read_is_said_to_be_uncompared(local: Engine, data: Path, tmp_path: Path) -> None:
    local.run(sandboxed("echo fine > $DURE_OUTPUT/a.txt", data))
    for paths in ([str(tmp_path / "gone")], ["undeclared"], [str(data), "undeclared"]):
        for each in local.executor.inspect(["job.1"], paths, TERMS):
            assert FindingCode.NOT_COMPARED in codes(each), (paths, each)


def test_an_inspection_can_be_ended_and_begun_anew(local: Engine, data: Path) -> None:
    local.run(sandboxed("echo fine > $DURE_OUTPUT/a.txt", data))
    with open(data / "large", "wb") as file:
        file.truncate(1 << 40)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(local.executor.inspect, ["job.1"], [str(data)], TERMS)
        eventually(lambda: _is_ended(local, asked), "it is ended")
        with pytest.raises(ExecutorError, match="inspection failed"):
            asked.result()
    (data / "large").unlink()
    assert {each.path for each in local.executor.inspect(["job.1"], [str(data)], TERMS)} == {"a.txt", "rank0.log"}


def _is_ended(local: Engine, asked: Future[tuple[InspectedResult, ...]]) -> bool:
    local.executor.end_inspection()
    return asked.done()


def test_refused_results_and_checkpoints_are_deleted_and_nothing_beside_them(
    local: Engine, taken: dict[str, InspectedResult], tmp_path: Path
) -> None:
    outputs = local.folder / "attempts" / "job.1" / "outputs"
    for each in taken.values():
        if FindingCode.NOT_A_FILE not in codes(each):
            local.executor.discard("job.1", each.kind, each.path)
    assert sorted(each.name for each in outputs.iterdir() if each.is_file() and not each.is_symlink()) == ["a\nb"]
    assert local.executor.log_path("job.1", 0) is None
    for path in ("../script", "../exit", "/etc/passwd"):
        with pytest.raises(ExecutorError):
            local.executor.discard("job.1", ResultKind.OUTPUT, path)
        local.executor.discard("job.1", ResultKind.LOG, path)
    assert (local.folder / "attempts" / "job.1" / "exit").exists()
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "out").symlink_to(tmp_path / "data")
    local.executor.discard_checkpoints(str(checkpoints))
    local.executor.discard_checkpoints(str(checkpoints))
    assert not checkpoints.exists()
    assert (tmp_path / "data" / "people.csv").exists()
