"""A real PostgreSQL server for the tests: private, on a free port, gone with the process that started it.

Every test gets a database of its own in it. Where PostgreSQL is not installed, or this user may not run it, tests that
ask for it are skipped by name.
"""

from __future__ import annotations

import grp
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

START_TIMEOUT_S = 60
SETTINGS = {
    "shared_buffers": "32MB",
    "max_connections": "60",
    "logging_collector": "off",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "autovacuum_naptime": "10s",
    "recovery_init_sync_method": "syncfs",
}


class PostgresServer:
    """A cluster in `folder`; it can be stopped, killed and started again on the same port."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        password = folder / "password"
        password.write_text("correct horse")
        shutil.chown(password, *_owner())
        initdb = ["-D", str(self.data), "--username=dure", "--encoding=UTF8", "--locale=C", "--no-sync"]
        initdb += ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}"]
        subprocess.run([*_as_owner(), str(programs / "initdb"), *initdb], check=True, capture_output=True, cwd=folder)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, **settings: str) -> None:
        """Run the server, with these settings besides the usual; returns once it answers."""
        options = SETTINGS | settings | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        command = [str(self._programs / "postgres"), "-D", str(self.data), "-c", "listen_addresses=127.0.0.1"]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [*_as_owner(), *command], stdout=output, stderr=output, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            said = (self.folder / "log").read_text()
            assert time.monotonic() < deadline, said
            assert self._process.poll() is None, said
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a power cut would: every process of it at once."""
        self._end(signal.SIGKILL)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def new_schema(self) -> str:
        """The URL of an empty corner of a shared database: cheaper, for tests with one server and one log at a time."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return f"{self.url('postgres')}&options=-csearch_path%3D{name}"

    def url(self, database: str) -> str:
        """A database, over the socket that lets this user in without a password."""
        return f"postgresql://dure@/{database}?host={self.folder}&port={self.port}"

    def network_url(self, database: str, password: str = "correct%20horse") -> str:
        """A database, over TCP and with a password."""
        return f"postgresql://dure:{password}@127.0.0.1:{self.port}/{database}"

    def certificate(self) -> dict[str, str]:
        """Settings for TLS with a certificate, made now, that names `database.example`."""
        key, certificate = self.folder / "server.key", self.folder / "server.crt"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj"]
        command += ["/CN=database.example", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)
        for path in (key, certificate):
            shutil.chown(path, *_owner())
        key.chmod(0o600)
        return {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}

    @contextmanager
    def small_database(self, mebibytes: int) -> Iterator[str]:
        """The URL of a database on a disk of its own that is soon full."""
        disk = self.folder / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(disk)], capture_output=True, check=False
        )
        if mounted.returncode:
            disk.rmdir()
            pytest.skip("only root may mount a disk")
        try:
            shutil.chown(disk, *_owner())
            self.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
            self.execute("CREATE DATABASE small TABLESPACE small")
            yield self.url("small")
        finally:
            self.execute("DROP DATABASE IF EXISTS small WITH (FORCE)")
            self.execute("DROP TABLESPACE IF EXISTS small")
            subprocess.run(["umount", str(disk)], check=True)
            disk.rmdir()

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """What an administrator would do."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if how is signal.SIGKILL:
            sessions = _sessions_of(self._process.pid)
            for process in (self._process.pid, *sessions):
                with suppress(ProcessLookupError):
                    os.kill(process, how)
        else:
            self._process.send_signal(how)
        self._process.wait()
        self._process = None


def programs() -> Path | None:
    """Where the server's programs lie, the newest version first."""
    if found := shutil.which("postgres"):
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


def why_not() -> str:
    """Why there can be no server here; empty when there can."""
    if programs() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and not (shutil.which("setpriv") and _has_user("postgres")):
        return "PostgreSQL does not run as root, and there is no user postgres to run it as"
    return ""


@contextmanager
def running_postgres(**settings: str) -> Iterator[PostgresServer]:
    """A server of one's own, for as long as the block runs. Skips the test where there can be none."""
    found = programs()
    if found is None or why_not():
        pytest.skip(why_not())
    # Not under pytest's own folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="dure-postgres-"))
    shutil.chown(folder, *_owner())
    server = PostgresServer(folder, found)
    try:
        server.start(**settings)
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


def _sessions_of(postmaster: int) -> list[int]:
    """The server's other processes: each is in a session of its own."""
    found = subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def _owner() -> tuple[str, str]:
    name = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    return name, grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name


def _as_owner() -> list[str]:
    """Run what follows as a user that PostgreSQL accepts, and have it end with the tests, however they end."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=INT", "--"]


def _has_user(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port
