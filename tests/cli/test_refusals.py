"""Whatever a user types or hands in, the answer is one message and an exit code, never a traceback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from dure.cli.errors import problem_text
from dure.cli.main import main


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An address at which certainly nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("DURE_URL", url)
    monkeypatch.setenv("DURE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("DURE_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    return url


def dure(*arguments: str, given: bytes = b"") -> Result:
    return CliRunner().invoke(main, arguments, input=given)


def assert_refused(result: Result, code: int, *said: str) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    for each in said:
        assert each in result.output


COMMANDS = [
    ("queue",),
    ("queue", "--all", "--json"),
    ("why", "j1"),
    ("logs", "j1"),
    ("logs", "-f", "j1"),
    ("cancel", "j1", "j2"),
    ("nodes",),
    ("nodes", "drain", "n1"),
    ("shares",),
    ("token", "list"),
    ("token", "revoke", "t1"),
    ("token", "link"),
    ("ledger", "show"),
    ("run", "--project", "p", "--", "true"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_dead_server_is_named_with_what_to_do(nowhere: str, command: tuple[str, ...]) -> None:
    assert_refused(dure(*command), 1, f"no Dure server answers at {nowhere}", "dure up", "DURE_URL")


def test_an_address_that_is_none_is_bad_input(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_URL", "localhost:7474")
    assert_refused(dure("queue"), 2, "DURE_URL = localhost:7474", "http://")


@pytest.mark.parametrize("url", ["http://[::1", "http://host:port", "http://", "http://a b/"])
def test_an_address_that_cannot_be_read_is_bad_input(nowhere: str, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DURE_URL", url)
    result = dure("queue")
    assert result.exit_code in (1, 2)
    assert_refused(result, result.exit_code, "DURE_URL")


@pytest.mark.parametrize("token", ["two words", "né", "tab\there", "line\nbreak"])
def test_a_token_that_cannot_be_one_is_refused_and_not_shown(
    nowhere: str, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("DURE_TOKEN", token)
    result = dure("queue")
    assert_refused(result, 2, "DURE_TOKEN")
    assert token not in result.output


def test_a_token_file_that_is_a_folder_is_bad_input(nowhere: str, tmp_path: Path) -> None:
    (tmp_path / "state" / "operator.token").mkdir(parents=True)
    assert_refused(dure("queue"), 2, "token", "DURE_TOKEN")


FILES = {
    "missing": None,
    "empty": b"",
    "blank": b" \n\n",
    "binary": b"\x00\xff\xfe" * 100,
    "latin1": "name: caf\xe9".encode("latin-1"),
    "huge": b"#" * (2 << 20),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("command", [("submit",), ("plan",), ("apply", "-f")], ids=" ".join)
def test_a_file_that_is_no_document_is_refused_before_any_request(
    nowhere: str, tmp_path: Path, kind: str, command: tuple[str, ...]
) -> None:
    path = tmp_path / f"{kind}.yaml"
    if (body := FILES[kind]) is not None:
        path.write_bytes(body)
    assert_refused(dure(*command, str(path)), 2, f"{kind}.yaml")


def test_a_folder_is_no_document(nowhere: str, tmp_path: Path) -> None:
    assert_refused(dure("submit", str(tmp_path)), 2, "folder")


def test_an_endless_device_is_not_read_to_its_end(nowhere: str) -> None:
    assert_refused(dure("submit", "/dev/zero"), 2, "/dev/zero", "larger than")


@pytest.mark.parametrize(("suffix", "most_mib"), [("yaml", 1), ("ndjson", 16)])
def test_many_jobs_may_take_more_room_than_one(nowhere: str, tmp_path: Path, suffix: str, most_mib: int) -> None:
    path = tmp_path / f"jobs.{suffix}"
    path.write_bytes(b"{}\n" * ((most_mib << 20) // 3 + 1))
    assert_refused(dure("submit", str(path)), 2, f"jobs.{suffix}", f"larger than {most_mib} MiB")


def test_standard_input_is_named_when_it_is_empty(nowhere: str) -> None:
    assert_refused(dure("submit", "-"), 2, "standard input", "empty")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("submit",),
        ("run",),
        ("run", "--gpsu", "8", "--", "true"),
        ("queue", "--limit", "0"),
        ("queue", "--limit", "many"),
        ("logs", "j1", "--rank", "-1"),
        ("token", "create", "--role", "king"),
        ("twin", "run", "--policy", "lifo"),
        ("up", "--port", "70000"),
        ("ledger", "show", "--start", "-5"),
    ],
    ids=" ".join,
)
def test_an_option_that_cannot_be_is_a_usage_error(nowhere: str, arguments: tuple[str, ...]) -> None:
    assert_refused(dure(*arguments), 2, "Error")


def test_verify_without_a_key_says_where_it_looked(nowhere: str, tmp_path: Path) -> None:
    assert_refused(dure("ledger", "verify", "--state", str(tmp_path)), 2, "ledger.pub", "--key")


def test_verify_with_a_key_that_is_none_names_the_file(nowhere: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.pub").write_text("not a key")
    assert_refused(dure("ledger", "verify", "--state", str(tmp_path)), 2, "ledger.pub")


def test_a_secret_without_a_value_is_refused(nowhere: str) -> None:
    assert_refused(dure("secret", "set", "p", "KEY"), 2, "KEY", "empty")


PROBLEM = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@given(st.dictionaries(st.sampled_from(["title", "detail", "code", "problems"]), PROBLEM))
def test_any_problem_document_can_be_worded(problem: dict[str, object]) -> None:
    assert problem_text(problem)


def test_a_problem_names_field_value_and_hint() -> None:
    wrong = {"field": "gpus", "value": "H100:x", "message": "is not a number", "hint": "write it like H100:8"}
    text = problem_text({"detail": "The job cannot be used.", "problems": [wrong]})
    assert text == "The job cannot be used.\n  gpus = H100:x: is not a number; write it like H100:8"


def test_a_refusal_about_one_field_is_said_once() -> None:
    wrong = {"field": "project", "value": "", "message": "there is no project x", "hint": ""}
    assert problem_text({"detail": "there is no project x", "problems": [wrong]}) == "project: there is no project x"


def test_a_server_that_cannot_listen_leaves_no_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = dure("up", "--state", "mine", "--port", str(taken.getsockname()[1]))
    assert_refused(result, 1, "Address already in use", "--port")
    assert not (tmp_path / "mine").exists()


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert_refused(dure("up", "--state", "file/state", "--port", "0"), 1, "file/state", "choose another")
