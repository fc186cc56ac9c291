"""A term is one server's time as the only writer. An append says its term, so that an earlier writer is fenced off."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Count terms from 0."""
    op.add_column("log", Column("term", BigInteger, nullable=False, server_default=text("0")))
