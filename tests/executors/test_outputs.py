"""Output folders as a job may leave them that wants to be handed what is not its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.executors.contract import ExecutorError
from dure.executors.local.environment import Terms
from dure.executors.outputs import DEEPEST_FOLDER, OutputFolder
from dure.model.outputs import OutputListing, OutputProblem

from .engines import Engine, eventually, local_engine, shell


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    (tmp_path / "attempt" / "outputs").mkdir(parents=True)
    (tmp_path / "secret").write_text("not the job's")
    return tmp_path / "attempt"


def listed(attempt: Path, most_bytes: int = 1_000_000, most_files: int = 100) -> OutputListing:
    found = OutputFolder(str(attempt), most_bytes, most_files).listing(is_over=True)
    assert found is not None
    return found


def problems(listing: OutputListing) -> dict[str, OutputProblem | None]:
    return {each.path: each.problem for each in listing.files}


def make_link(at: Path, secret: Path) -> None:
    at.symlink_to(secret)


def make_link_to_folder(at: Path, secret: Path) -> None:
    at.symlink_to(secret.parent, target_is_directory=True)


def make_hard_link(at: Path, secret: Path) -> None:
    os.link(secret, at)


def make_pipe(at: Path, secret: Path) -> None:
    os.mkfifo(at)


def make_socket(at: Path, secret: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(at.parent)  # a socket's address is short
        listener.bind(at.name)
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (make_link, OutputProblem.LINK),
        (make_link_to_folder, OutputProblem.LINK),
        (make_hard_link, OutputProblem.HARD_LINK),
        (make_pipe, OutputProblem.SPECIAL),
        (make_socket, OutputProblem.SPECIAL),
    ],
)
def test_what_is_no_file_of_its_own_is_named_and_never_opened(
    attempt: Path, make: Callable[[Path, Path], None], problem: OutputProblem
) -> None:
    make(attempt / "outputs" / "thing", attempt.parent / "secret")
    assert problems(listed(attempt)) == {"thing": problem}
    with pytest.raises(ExecutorError, match="no file thing"):
        b"".join(OutputFolder(str(attempt)).read("thing"))


def test_the_output_folder_itself_may_be_no_link(attempt: Path) -> None:
    (attempt / "outputs").rmdir()
    (attempt / "outputs").symlink_to(attempt.parent)
    assert OutputFolder(str(attempt)).listing(is_over=True) is None


def test_a_path_through_a_link_leads_nowhere(attempt: Path) -> None:
    (attempt / "outputs" / "up").symlink_to(attempt.parent)
    for path in ("up/secret", "../../secret", "up/../secret", "./up", str(attempt.parent / "secret"), "\0", "a\nb"):
        with pytest.raises((ExecutorError, ValueError)):
            b"".join(OutputFolder(str(attempt)).read(path))
        with pytest.raises(ExecutorError):
            OutputFolder(str(attempt)).discard(path + "/x")
    assert (attempt.parent / "secret").exists()


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "right‮tfel", "\udcff", "​"])
def test_a_name_that_is_no_plain_text_is_shown_without_its_effect(attempt: Path, name: str) -> None:
    Path(attempt, "outputs", name).write_text("x")
    [file] = listed(attempt).files
    assert file.problem is OutputProblem.NAME
    assert file.path.isascii()
    assert file.path.isprintable()


@given(st.binary(min_size=1, max_size=20))
def test_whatever_a_file_is_called_its_listing_can_be_shown_and_what_is_listed_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, name: bytes
) -> None:
    name = name.replace(b"/", b"_").replace(b"\0", b"_").strip(b".") or b"_"
    attempt = tmp_path_factory.mktemp("attempt")
    (attempt / "outputs").mkdir()
    Path(os.fsdecode(bytes(attempt / "outputs") + b"/" + name)).write_text("content")
    [file] = listed(attempt).files
    assert file.path.isprintable()
    if file.problem is None:
        assert b"".join(OutputFolder(str(attempt)).read(file.path)) == b"content"


def test_a_file_full_of_holes_counts_by_what_it_pretends_to_be(attempt: Path) -> None:
    with open(attempt / "outputs" / "holes", "wb") as file:
        file.truncate(1 << 40)
    assert problems(listed(attempt)) == {"holes": OutputProblem.TOO_LARGE}


def test_a_listing_ends_where_its_limit_is_and_says_so(attempt: Path) -> None:
    for number in range(8):
        (attempt / "outputs" / f"{number}").write_text("x")
    listing = listed(attempt, most_files=5)
    assert len(listing.files) == 5
    assert not listing.is_complete


def test_folders_are_entered_only_so_far(attempt: Path) -> None:
    folder = attempt / "outputs"
    for _ in range(DEEPEST_FOLDER + 1):
        folder = folder / "d"
        folder.mkdir()
    [(path, problem)] = problems(listed(attempt)).items()
    assert problem is OutputProblem.DEPTH
    assert path.count("/") == DEEPEST_FOLDER - 1


def test_what_is_listed_once_the_attempt_is_over_stays_as_it_was_listed(attempt: Path) -> None:
    (attempt / "outputs" / "a").write_text("one")
    before = listed(attempt)
    (attempt / "outputs" / "b").write_text("two")
    assert listed(attempt) == before


def test_wiping_follows_no_link_and_opens_what_was_closed(attempt: Path) -> None:
    (attempt / "outputs" / "up").symlink_to(attempt.parent)
    closed = attempt / "outputs" / "closed"
    closed.mkdir()
    (closed / "x").write_text("x")
    closed.chmod(0)
    OutputFolder(str(attempt)).wipe()
    assert not (attempt / "outputs").exists()
    assert (attempt.parent / "secret").read_text() == "not the job's"


@pytest.mark.parametrize(
    ("terms", "leaves", "reason"),
    [
        (Terms(output_files=3), "touch $DURE_OUTPUT/{1..9}", "its outputs are 9 files, and the limit is 3"),
        (Terms(output_bytes=1_000_000), "head -c 2000000 /dev/zero > $DURE_OUTPUT/a", "and the limit is 1,000,000"),
    ],
)
def test_a_job_that_leaves_too_much_is_ended_and_told_why(
    tmp_path: Path, terms: Terms, leaves: str, reason: str
) -> None:
    engine: Engine = local_engine(tmp_path / "state", terms)
    try:
        assert engine.run(shell("job.1", f"{leaves}; sleep 60")).exit_code == -15
        eventually(lambda: reason in engine.log("job.1"), "it is told")
    finally:
        engine.executor.close(kill=True)
