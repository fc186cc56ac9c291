"""Ledgers as static files: what is written, what is refused, and that every altered file is found and named."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dure.ledger.contract import LedgerUnreadable
from dure.ledger.large import MOST_ENTRY_BYTES
from dure.ledger.memory import MemoryLedger
from dure.ledger.note import Signer, sign_checkpoint
from dure.ledger.postgres import PostgresLedger
from dure.ledger.publishing import Published, PublishingRefused, publish
from dure.ledger.sqlite import SqliteLedger
from dure.ledger.tiled import open_tiles, verify_tiles
from dure.ledger.verify import FaultCode, Verdict
from dure.model.events import JobReleased, encode
from tests.ledger.ledger_samples import NOON_MS, ORIGIN, SIGNER, entries, entry

SIZE = 600
LARGE = encode(JobReleased(at_ms=NOON_MS, job="j" * MOST_ENTRY_BYTES))


def ledger_of(all_entries: Sequence[bytes]) -> MemoryLedger:
    ledger = MemoryLedger(SIGNER)
    ledger.append(0, all_entries, [], NOON_MS)
    return ledger


def write(folder: Path, all_entries: Sequence[bytes], cosigned: str | None = None) -> Published:
    with ledger_of(all_entries).stored() as log:
        return publish(log, SIGNER.verifier, folder, cosigned)


def judge(folder: Path, held: tuple[str, ...] = ()) -> Verdict:
    return verify_tiles(open_tiles(str(folder)), SIGNER.verifier, held)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published log of 600 entries, of which the 300th is large."""
    folder = tmp_path_factory.mktemp("published") / "log"
    write(folder, [*entries(0, 300), LARGE, *entries(301, SIZE)])
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of it that may be spoilt."""
    return Path(shutil.copytree(original, tmp_path / "log"))


def test_a_log_is_written_as_the_specification_names_its_files(original: Path) -> None:
    assert files(original) == {
        "checkpoint",
        "large/300",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    }


def test_a_published_log_is_sound_and_comes_back_byte_for_byte(original: Path) -> None:
    verdict = judge(original)
    assert verdict.is_sound, verdict.faults
    assert (verdict.size, verdict.checkpoints) == (SIZE, 1)
    found = [body for batch in open_tiles(str(original)).entries() for _, body in batch]
    assert found == [*entries(0, 300), LARGE, *entries(301, SIZE)]


def test_publishing_again_writes_only_what_is_new(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    assert write(folder, entries(0, SIZE)).files == 7
    assert write(folder, entries(0, SIZE)).files == 0
    again = write(folder, entries(0, SIZE + 200))
    assert (again.size, again.files) == (SIZE + 200, 5)
    assert judge(folder).is_sound


def test_publishing_goes_on_after_it_was_cut_off(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    write(folder, entries(0, SIZE))
    (folder / "checkpoint").unlink()
    (folder / "tile/entries/001").unlink()
    assert write(folder, entries(0, SIZE)).files == 1
    assert judge(folder).is_sound


@pytest.mark.parametrize("storage", ["sqlite", "postgres"])
def test_a_durable_ledger_is_published_while_it_is_in_use(
    tmp_path: Path, request: pytest.FixtureRequest, storage: str
) -> None:
    if storage == "sqlite":
        opened: SqliteLedger | PostgresLedger = SqliteLedger.open(tmp_path / "ledger.sqlite", SIGNER)
    else:
        opened = PostgresLedger.open(request.getfixturevalue("postgres").new_schema(), SIGNER)
    with closing(opened) as ledger:
        ledger.append(0, [*entries(0, 9), LARGE], [], NOON_MS)
        with ledger.stored() as log:
            assert publish(log, SIGNER.verifier, tmp_path / "log", None).size == 10
        checkpoint = ledger.latest_checkpoint()
    assert checkpoint is not None
    assert judge(tmp_path / "log").root == checkpoint.root


def test_an_earlier_cosigned_checkpoint_is_published_before_a_newer_one(tmp_path: Path) -> None:
    cosigned = ledger_of(entries(0, 256)).latest_checkpoint()
    assert cosigned is not None
    assert write(tmp_path / "log", entries(0, SIZE), cosigned.note).size == 256
    assert files(tmp_path / "log") == {"checkpoint", "tile/0/000", "tile/1/000.p/1", "tile/entries/000"}
    assert judge(tmp_path / "log").is_sound


def test_another_history_is_not_published_over_the_first(folder: Path) -> None:
    with pytest.raises(PublishingRefused, match="holds another history"):
        write(folder, [*entries(0, 299), *entries(1_000, 1_500)])
    with pytest.raises(PublishingRefused, match="holds 600 entries already"):
        write(folder, entries(0, 5))
    assert judge(folder).is_sound


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear all")
    with pytest.raises(PublishingRefused, match="holds something else"):
        write(tmp_path, entries(0, 5))
    assert files(tmp_path) == {"letter.txt"}


def test_an_empty_ledger_is_not_published(tmp_path: Path) -> None:
    with MemoryLedger(SIGNER).stored() as log, pytest.raises(PublishingRefused, match="no entries"):
        publish(log, SIGNER.verifier, tmp_path / "log", None)


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2"])
def test_an_altered_hash_tile_is_named(folder: Path, path: str) -> None:
    flip_last_bit(folder / path)
    (fault,) = judge(folder).faults
    assert (fault.code, fault.first_position) == (FaultCode.ALTERED_TILE, None)
    assert path in fault.message


@pytest.mark.parametrize("path", ["tile/0/001", "tile/1/000.p/2"])
def test_a_missing_hash_tile_is_named(folder: Path, path: str) -> None:
    (folder / path).unlink()
    (fault,) = judge(folder).faults
    assert fault.message == f"{path} is missing"


def test_an_altered_entry_is_named_by_its_position(folder: Path) -> None:
    body = (folder / "tile/entries/001").read_bytes()
    (folder / "tile/entries/001").write_bytes(body.replace(b"job-299", b"job-999"))
    body = (folder / "tile/entries/001").read_bytes().replace(b"job-301", b"job-900")
    (folder / "tile/entries/001").write_bytes(body)
    fault = judge(folder).first_bad
    assert fault is not None
    assert (fault.code, fault.first_position, fault.last_position) == (FaultCode.ALTERED, 299, 299)


def test_an_altered_large_entry_is_named(folder: Path) -> None:
    flip_last_bit(folder / "large/300")
    assert "large/300 was altered" in judge(folder).faults[0].message
    (folder / "large/300").unlink()
    assert "large/300 is missing: the whole of entry 300" in judge(folder).faults[0].message


def test_a_log_that_was_cut_off_is_told_from_its_checkpoint(folder: Path) -> None:
    (folder / "tile/entries/002.p/88").unlink()
    fault = judge(folder).first_bad
    assert fault is not None
    assert (fault.code, fault.first_position) == (FaultCode.TRUNCATED, 512)


def test_a_forged_checkpoint_is_refused(folder: Path) -> None:
    head = open_tiles(str(folder))
    root = judge(folder).root
    (folder / "checkpoint").write_text(sign_checkpoint(Signer(ORIGIN, bytes(32)), head.size, root))
    codes = [fault.code for fault in judge(folder).faults]
    assert codes == [FaultCode.BAD_CHECKPOINT, FaultCode.UNSIGNED]


def test_a_log_that_forked_from_a_checkpoint_somebody_kept_is_refused(folder: Path) -> None:
    kept = ledger_of([*entries(0, 50), *entries(2_000, 2_050)]).latest_checkpoint()
    assert kept is not None
    (fault,) = judge(folder, (kept.note,)).faults
    assert fault.code is FaultCode.BAD_CHECKPOINT
    assert "the log never had its root" in fault.message


def test_a_full_tile_serves_for_a_partial_one_that_was_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    write(folder, entries(0, 100))
    first = (folder / "checkpoint").read_text()
    write(folder, entries(0, 300))
    shutil.rmtree(folder / "tile/0/000.p")
    shutil.rmtree(folder / "tile/entries/000.p")
    (folder / "checkpoint").write_text(first)
    assert judge(folder).is_sound


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_changed_bit_in_any_file_is_found(folder: Path, data: st.DataObject) -> None:
    path = folder / data.draw(st.sampled_from(sorted(files(folder))))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    spoilt = bytearray(before)
    spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(spoilt)
    try:
        is_sound = judge(folder).is_sound
    except LedgerUnreadable:
        is_sound = False
    finally:
        path.write_bytes(before)
    assert not is_sound


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file checkpoint"):
        open_tiles(str(tmp_path))


def test_a_position_in_a_bundle_is_read_alone(original: Path) -> None:
    log = open_tiles(str(original))
    assert [log.entry(at) for at in (0, 300, 599)] == [entry(0), LARGE, entry(599)]


def flip_last_bit(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(body)
