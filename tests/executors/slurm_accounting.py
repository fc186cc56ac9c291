"""The same Slurm with accounting: a private MariaDB and slurmdbd beside it, and limits that Slurm enforces."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from pathlib import Path

from . import slurm_cluster
from .slurm_cluster import SlurmCluster, free_ports

_PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb", "slurmdbd", "sacctmgr", "sacct")
_DATABASE_USER = "slurm"

_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={port}
AccountingStoragePass={folder}/run/munge.sock
AccountingStorageEnforce=associations,limits,qos,safe
AccountingStorageTRES=gres/gpu,gres/gpu:h100
"""
_SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock
DbdHost=localhost
DbdPort={port}
SlurmUser={user}
PidFile={folder}/run/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser={database_user}
StoragePass={database_user}
StorageLoc=slurm_acct_db
"""


def missing() -> str:
    """Why no Slurm with accounting can be started here; empty when one can."""
    absent = [name for name in _PROGRAMS if shutil.which(name, path=slurm_cluster.SEARCHED) is None]
    if absent:
        return f"needs slurmdbd and MariaDB (Debian: slurmdbd mariadb-server); not found: {', '.join(absent)}"
    return slurm_cluster.missing()


class AccountedCluster(SlurmCluster):
    """A Slurm whose jobs need accounts and are kept in a database."""

    def __init__(self) -> None:
        self._port, self._database_port = free_ports(2)
        super().__init__(_ACCOUNTING.replace("{port}", str(self._port)))

    def start(self) -> None:
        self._start_database()
        self._start_slurmdbd()
        self.run("sacctmgr", "--immediate", "add", "cluster", "dure")
        super().start()

    def _start_database(self) -> None:
        data = self.folder / "database"
        user = f"--user={getpass.getuser()}"
        install = [
            "mariadb-install-db",
            "--no-defaults",
            user,
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
        ]
        said = subprocess.run(install, env=self.environment, capture_output=True, text=True, check=False)
        assert said.returncode == 0, f"no database could be made: {said.stdout}{said.stderr}"
        places = [f"--datadir={data}", f"--socket={self._socket}", f"--pid-file={self.folder}/run/mariadbd.pid"]
        wire = [f"--port={self._database_port}", "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"]
        self._start("mariadbd", "mariadbd", "--no-defaults", user, *places, *wire)
        self.wait_until(lambda: "1" in self._sql("select 1"), "the database")
        grant = f"grant all on slurm_acct_db.* to '{_DATABASE_USER}'@'localhost' identified by '{_DATABASE_USER}'"
        self._sql(f"create database slurm_acct_db; {grant}")

    def _start_slurmdbd(self) -> None:
        conf = self.conf.with_name("slurmdbd.conf")
        text = _SLURMDBD_CONF.format(
            folder=self.folder,
            port=self._port,
            user=getpass.getuser(),
            database_port=self._database_port,
            database_user=_DATABASE_USER,
        )
        conf.write_text(text)
        conf.chmod(0o600)
        self._start("slurmdbd", "slurmdbd", "-D")
        self.wait_until(lambda: "Cluster" in self.run("sacctmgr", "list", "cluster"), "slurmdbd")

    @property
    def _socket(self) -> Path:
        return self.folder / "run" / "mariadb.sock"

    def _sql(self, text: str) -> str:
        return self.run("mariadb", "--no-defaults", f"--socket={self._socket}", "--user=root", "--execute", text)
