"""Every change of the ledger's tables, oldest first, for SQLite and PostgreSQL alike (Alembic)."""
