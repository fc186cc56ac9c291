"""Alembic runs this to run revisions, within the transaction that `dure.ledger.migrating` has begun."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
