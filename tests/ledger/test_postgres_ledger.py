"""What only the ledger in a database does: leading, being replaced, and saying plainly what is wrong with a server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest

from dure.ledger.contract import (
    LedgerFenced,
    LedgerInUse,
    LedgerUnreachable,
    LedgerUnreadable,
    LedgerWriteFailed,
    Row,
)
from dure.ledger.leadership import lock_key
from dure.ledger.note import Signer
from dure.ledger.postgres import Candidate, PostgresLedger
from dure.ledger.postgres_reading import read_stored
from dure.ledger.verify import verify
from tests.ledger.cutting_proxy import CuttingProxy
from tests.ledger.ledger_samples import NOON_MS, ORIGIN, SIGNER, entries, entry, row
from tests.postgres import PostgresServer, running_postgres


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that tests may kill."""
    with running_postgres() as server:
        yield server


def filled(url: str, size: int = 10) -> None:
    """A closed ledger of `size` entries."""
    with closing(PostgresLedger.open(url, SIGNER)) as ledger:
        ledger.append(0, entries(0, size), [row("job-0", "queued")], NOON_MS)


def change(url: str, statement: str) -> None:
    """What somebody with a database tool would do."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def end_sessions(url: str) -> None:
    """Cut every connection of a database, as an administrator may."""
    change(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()",
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_a_reopened_ledger_has_everything_and_goes_on(url: str) -> None:
    filled(url)
    with closing(PostgresLedger.open(url, SIGNER)) as ledger:
        assert list(ledger.entries()) == entries(0, 10)
        assert ledger.row("jobs", "job-0") == b"queued"
        ledger.append(10, entries(10, 13), [], NOON_MS)
    with read_stored(url) as log:
        verdict = verify(log, SIGNER.verifier)
    assert verdict.is_sound
    assert verdict.size == 13


def test_a_second_server_is_told_who_leads(url: str) -> None:
    with (
        closing(PostgresLedger.open(url, SIGNER)),
        pytest.raises(LedgerInUse, match=r"led by another server \(dure \S+ \d+\)"),
    ):
        PostgresLedger.open(url, SIGNER)
    PostgresLedger.open(url, SIGNER).close()


def test_two_logs_with_different_names_do_not_keep_each_other_out() -> None:
    assert lock_key("dure/a") != lock_key("dure/b")


def test_whoever_lost_its_session_to_another_server_cannot_append_and_is_told_to_go(url: str) -> None:
    with closing(PostgresLedger.open(url, SIGNER)) as first, closing(Candidate(url, SIGNER)) as candidate:
        first.append(0, entries(0, 3), [], NOON_MS)
        told: list[str] = []
        first.on_deposed = told.append
        assert candidate.try_to_lead() is None
        with closing(taken_over(url, candidate)) as second:
            with pytest.raises((LedgerWriteFailed, LedgerFenced)):
                first.append(3, [entry(99)], [row("job-9", "stolen")], NOON_MS)
            wait_until(lambda: bool(told))
            assert not first.is_leading
            assert "is led by another server now" in told[0]
            with pytest.raises(LedgerInUse):
                first.resume()
            second.append(3, entries(3, 6), [], NOON_MS)
            assert list(second.entries()) == entries(0, 6)
            assert second.row("jobs", "job-9") is None


def taken_over(url: str, candidate: Candidate) -> PostgresLedger:
    """Cut all connections until it is the candidate that leads, and not whoever led before."""
    while True:
        end_sessions(url)
        with suppress(LedgerUnreachable):
            if (ledger := candidate.try_to_lead()) is not None:
                return ledger


def test_an_append_of_an_earlier_term_is_refused_even_if_the_log_is_as_long_as_it_believes(url: str) -> None:
    with closing(PostgresLedger.open(url, SIGNER)) as ledger:
        ledger.append(0, entries(0, 3), [], NOON_MS)
        change(url, "UPDATE log SET term = term + 1")
        with pytest.raises(LedgerFenced):
            ledger.append(3, [], [row("job-9", "stolen")], NOON_MS)
        assert ledger.row("jobs", "job-9") is None
        with pytest.raises(LedgerInUse):
            ledger.resume()


def test_a_lost_session_is_found_again_without_anybody_asking(url: str) -> None:
    with closing(PostgresLedger.open(url, SIGNER)) as ledger:
        ledger.append(0, entries(0, 3), [], NOON_MS)
        end_sessions(url)
        wait_until(lambda: not ledger.is_leading)
        wait_until(lambda: ledger.is_leading)
        ledger.append(3, entries(3, 6), [], NOON_MS)
        assert list(ledger.entries()) == entries(0, 6)


def test_a_killed_server_loses_nothing_and_is_gone_on_with_when_it_is_back(own_server: PostgresServer) -> None:
    url = own_server.new_database()
    with closing(PostgresLedger.open(url, SIGNER)) as ledger:
        ledger.append(0, entries(0, 500), [row("job-0", "queued")], NOON_MS)
        own_server.kill()
        with pytest.raises(LedgerWriteFailed, match=r"was lost|is not connected"):
            ledger.append(500, entries(500, 501), [], NOON_MS)
        with pytest.raises(LedgerUnreachable, match="see that PostgreSQL runs there"):
            ledger.resume()
        with pytest.raises(LedgerUnreachable):
            ledger.row("jobs", "job-0")
        own_server.start()
        ledger.resume()
        assert list(ledger.entries()) == entries(0, ledger.size)
        ledger.append(ledger.size, entries(ledger.size, 600), [], NOON_MS)
        with ledger.stored() as log:
            assert verify(log, SIGNER.verifier).size == 600


def test_a_commit_whose_answer_was_lost_is_found_in_the_log(postgres: PostgresServer) -> None:
    name = postgres.new_database().partition("@/")[2].partition("?")[0]
    proxy = CuttingProxy(postgres.port)
    url = postgres.network_url(name).replace(str(postgres.port), str(proxy.port)) + "?sslmode=disable"
    with closing(PostgresLedger.open(url, SIGNER)) as ledger, closing(proxy):
        ledger.append(0, entries(0, 3), [], NOON_MS)
        proxy.arm()
        with pytest.raises(LedgerWriteFailed, match="What was recorded is seen when it answers again"):
            ledger.append(3, entries(3, 6), [row("job-3", "queued")], NOON_MS)
        assert proxy.has_cut.is_set()
        wait_until(lambda: ledger.is_leading)
        with pytest.raises(LedgerFenced):
            ledger.append(3, entries(3, 6), [], NOON_MS)
        ledger.resume()
        assert list(ledger.entries()) == entries(0, 6)
        assert ledger.row("jobs", "job-3") == b"queued"
        ledger.append(6, entries(6, 9), [], NOON_MS)


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_what_it_acknowledged_is_refused(own_server: PostgresServer, setting: str) -> None:
    url = own_server.new_database()
    own_server.stop()
    own_server.start(**{setting: "off"})
    try:
        with pytest.raises(LedgerUnreadable, match=f"runs with {setting} off"):
            PostgresLedger.open(url, SIGNER)
        PostgresLedger.open(url, SIGNER, may_be_unsafe=True).close()
    finally:
        own_server.stop()
        own_server.start()


def test_a_commit_is_never_asynchronous(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    change(url, "ALTER ROLE dure SET synchronous_commit = off")
    try:
        with closing(PostgresLedger.open(url, SIGNER)) as ledger:
            assert ledger._connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    finally:
        change(url, "ALTER ROLE dure RESET synchronous_commit")


def test_what_is_wrong_with_an_address_is_said_plainly_and_without_the_password(postgres: PostgresServer) -> None:
    url = postgres.network_url("postgres", "wrong-password")
    nobody = f"postgresql://dure:wrong-password@127.0.0.1:1/{'postgres'}"
    for address, said in [
        (url, "password authentication failed.*password file"),
        (postgres.network_url("nowhere"), 'database "nowhere" does not exist; create it first'),
        (nobody, "Connection refused; see that PostgreSQL runs there"),
        (postgres.network_url("postgres") + "?sslmode=require", "server does not support SSL.*check sslmode"),
        (postgres.network_url("postgres") + "?nonsense=1", "address cannot be read"),
    ]:
        with pytest.raises((LedgerUnreachable, LedgerUnreadable), match=said) as caught:
            PostgresLedger.open(address, SIGNER)
        assert "wrong-password" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_certificate_that_cannot_be_checked_is_refused(tmp_path: Path, own_server: PostgresServer) -> None:
    own_server.stop()
    own_server.start(**own_server.certificate())
    try:
        other = tmp_path / "other.pem"
        other.write_bytes((own_server.folder / "server.crt").read_bytes())
        url = own_server.network_url("postgres") + f"?sslmode=verify-full&sslrootcert={other}"
        with pytest.raises(LedgerUnreachable, match=r"127\.0\.0\.1.*check sslmode and sslrootcert"):
            PostgresLedger.open(url, SIGNER)
        PostgresLedger.open(
            own_server.network_url(own_server.new_database().partition("@/")[2].partition("?")[0])
            + f"?sslmode=verify-ca&sslrootcert={other}",
            SIGNER,
        ).close()
    finally:
        own_server.stop()
        own_server.start()


def test_somebody_elses_database_is_refused_and_left_alone(url: str) -> None:
    change(url, "CREATE TABLE recipes (name TEXT)")
    with pytest.raises(LedgerUnreadable, match="tables that are not Dure's"):
        PostgresLedger.open(url, SIGNER)
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert found == (1,)


def test_a_ledger_of_a_newer_program_is_refused(url: str) -> None:
    filled(url)
    change(url, "UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(LedgerUnreadable, match="newer Dure"):
        PostgresLedger.open(url, SIGNER)
    with pytest.raises(LedgerUnreadable, match="newer Dure"), read_stored(url):
        pass


def test_a_ledger_of_another_origin_is_refused_also_by_who_stands_by(url: str) -> None:
    filled(url)
    other = Signer("dure.example/other", bytes(range(32)))
    with pytest.raises(LedgerUnreadable, match=r"holds the ledger 'dure\.example/ledger'"):
        PostgresLedger.open(url, other)


def test_a_ledger_signed_by_another_key_is_not_continued(url: str) -> None:
    filled(url)
    with pytest.raises(LedgerUnreadable, match=r"signed by .*, not by"):
        PostgresLedger.open(url, Signer(ORIGIN, bytes(32)))


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM entries WHERE position = 9",
        "DELETE FROM checkpoints",
        "UPDATE log SET frontier = decode(repeat('00', 32), 'hex')",
        "UPDATE checkpoints SET note = replace(note, 'dure', 'pure')",
        "INSERT INTO entries VALUES (10, 'x')",
    ],
)
def test_a_ledger_that_does_not_fit_its_checkpoint_is_not_continued(url: str, tampering: str) -> None:
    filled(url)
    change(url, tampering)
    with pytest.raises(LedgerUnreadable, match="dure ledger verify"):
        PostgresLedger.open(url, SIGNER)


def test_an_altered_entry_is_found(url: str) -> None:
    filled(url)
    change(url, "UPDATE entries SET entry = (SELECT entry FROM entries WHERE position = 5) WHERE position = 4")
    with read_stored(url) as log:
        verdict = verify(log, SIGNER.verifier)
    assert verdict.first_bad is not None
    assert verdict.first_bad.first_position == verdict.first_bad.last_position == 4


def test_reading_a_database_without_a_ledger_makes_none(url: str) -> None:
    with pytest.raises(FileNotFoundError, match="there is no ledger"), read_stored(url):
        pass


def test_a_checkpoint_a_minute_is_kept_and_always_the_last(url: str) -> None:
    with closing(PostgresLedger.open(url, SIGNER)) as ledger:
        for number, at_s in enumerate([0, 1, 59, 61, 62, 200]):
            ledger.append(number, [entry(number)], [], 60_000 * 1_000_000 + at_s * 1_000)
        with ledger.stored() as log:
            assert len(log.checkpoints()) == 3


def test_a_full_disk_refuses_the_append_whole_and_the_ledger_goes_on(own_server: PostgresServer) -> None:
    with own_server.small_database(32) as url, closing(PostgresLedger.open(url, SIGNER)) as ledger:
        ledger.append(0, entries(0, 10), [row("job-0", "queued")], NOON_MS)
        large = [Row("specs", f"job-{number}", random.Random(number).randbytes(2_000_000)) for number in range(20)]
        with pytest.raises(LedgerWriteFailed, match=r"No space left on device.*Nothing was recorded"):
            ledger.append(10, entries(10, 20), large, NOON_MS)
        assert (ledger.size, ledger.rows("specs")) == (10, [])
        ledger.append(10, entries(10, 20), [], NOON_MS)
        with ledger.stored() as log:
            assert verify(log, SIGNER.verifier).size == 20
