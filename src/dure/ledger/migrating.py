"""Brings an older ledger to today's layout, in one transaction: it succeeds, or everything is as it was.

Only imported when there is something to do, because Alembic and SQLAlchemy take long to import.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event, inspect
from sqlalchemy.exc import SQLAlchemyError

from dure.ledger.contract import LedgerUnreadable
from dure.ledger.schema import SCHEMA_VERSION, revision

log = logging.getLogger(__name__)
MIGRATIONS = Path(__file__).with_name("migrations")


def migrate_file(path: Path, version: int) -> None:
    """Migrate an SQLite ledger. Raises `LedgerUnreadable` when it cannot be done."""
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path, isolation_level=None))
    # The driver would begin a transaction only before some statements, and not before those that change tables.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with _told(str(path), version), engine.begin() as connection:
        if not inspect(connection).has_table("alembic_version"):
            # Version 1 was written before there were revisions.
            command.stamp(_config(connection), revision(version))
        command.upgrade(_config(connection), "head")
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def migrate_database(connect: Callable[[], Any], where: str, version: int) -> None:
    """Migrate a PostgreSQL ledger over a connection of its own. Raises `LedgerUnreadable` when it cannot be done."""
    engine = create_engine("postgresql+psycopg://", creator=connect)
    with _told(where, version), engine.begin() as connection:
        command.upgrade(_config(connection), "head")


@contextmanager
def _told(where: str, version: int) -> Iterator[None]:
    """Say what is done, and word what goes wrong."""
    what = f"from ledger format {version} to {SCHEMA_VERSION}"
    log.warning("bringing %s %s", where, what)
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        raise LedgerUnreadable(
            f"{where} could not be brought {what} ({reason}). It is as it was; open it with the Dure that wrote it, "
            "and report this."
        ) from error


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config
