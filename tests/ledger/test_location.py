"""Where a platform's ledger is: said once, remembered without its password, and never left behind by mistake."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from dure.ledger.contract import LedgerUnreadable
from dure.ledger.location import LEDGER_FILE, has_password, locate, remember, without_password
from dure.ledger.opening import open_ledger
from tests.postgres import PostgresServer

URL = "postgresql://dure@db.example/dure?sslmode=verify-full"


def test_without_a_database_the_ledger_is_a_file_in_the_state_folder(tmp_path: Path) -> None:
    assert locate(tmp_path, None).file == tmp_path / LEDGER_FILE
    assert locate(tmp_path, "").database == ""


@pytest.mark.parametrize(
    "secret",
    [
        "postgresql://dure:geheim@db.example/dure?sslmode=verify-full",
        "postgresql://dure@db.example/dure?sslmode=verify-full&password=geheim",
        "postgresql://dure@db.example/dure?password=geheim&sslmode=verify-full",
    ],
)
def test_a_password_is_seen_and_never_kept(tmp_path: Path, secret: str) -> None:
    assert has_password(secret)
    assert not has_password(URL)
    assert without_password(secret) == URL
    remember(tmp_path, locate(tmp_path, secret))
    assert [path.read_text() for path in tmp_path.iterdir()] == [f"{URL}\n"]
    assert locate(tmp_path, None).url() == URL


def test_a_url_may_be_in_a_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"{URL}\n")
    file.chmod(0o644)
    with pytest.raises(LedgerUnreadable, match="Run: chmod 600"):
        locate(tmp_path, f"@{file}")
    file.chmod(0o600)
    assert locate(tmp_path, f"@{file}").url() == URL
    with pytest.raises(LedgerUnreadable, match="cannot be read from it"):
        locate(tmp_path, "@/nowhere")


@pytest.mark.parametrize("nonsense", ["mysql://dure@db/dure", "dure", "/var/lib/dure.sqlite"])
def test_what_is_no_postgresql_url_is_refused(tmp_path: Path, nonsense: str) -> None:
    with pytest.raises(LedgerUnreadable, match="postgresql://USER@HOST/DATABASE"):
        locate(tmp_path, nonsense)


def test_a_database_is_not_begun_beside_a_ledger_in_a_file(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).touch()
    with pytest.raises(LedgerUnreadable, match="Move it into a database with `dure backup`"):
        locate(tmp_path, URL)


def test_an_empty_database_is_not_taken_for_the_one_that_the_folder_remembers(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    first, other = postgres.new_database(), postgres.new_database()
    with closing(open_ledger(tmp_path, locate(tmp_path, first), "dure.example/one")):
        (tmp_path / "secrets.key").touch()
    with pytest.raises(LedgerUnreadable, match=r"This platform's ledger is in .* is empty"):
        open_ledger(tmp_path, locate(tmp_path, other), "dure.example/one")
    open_ledger(tmp_path, locate(tmp_path, None), "dure.example/one").close()


def test_a_database_with_a_ledger_is_not_opened_with_a_new_key(tmp_path: Path, postgres: PostgresServer) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    url = postgres.new_database()
    open_ledger(one, locate(one, url), "dure.example/one").close()
    with pytest.raises(LedgerUnreadable, match=r"Copy ledger\.key and secrets\.key there"):
        open_ledger(two, locate(two, url), "dure.example/two")
    assert list(two.iterdir()) == []
