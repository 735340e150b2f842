"""The ledger's database of a test that runs the product: a SQLite file, or one on PostgreSQL.

`TEST_LEDGER=postgresql TEST_POSTGRES_URL=... pytest tests/integration` gives each folder a database
of its own on that server, so that the same tests prove the same promises there.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from engine.ledger.connections import ledger_url


def on_postgresql() -> bool:
    """Whether the tests were asked to run there."""
    return os.environ.get("TEST_LEDGER") == "postgresql"


def ledger_environment(folder: Path) -> dict[str, str]:
    """`DATABASE_URL` of the folder's own database, made on first use; nothing for SQLite."""
    if not on_postgresql():
        return {}
    address = os.environ["TEST_POSTGRES_URL"]
    name = f"test_{hashlib.sha256(str(folder).encode()).hexdigest()[:20]}"
    engine = create_engine(
        ledger_url(os.environ["TEST_POSTGRES_URL"]), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        known = text("select 1 from pg_database where datname = :name")
        if connection.execute(known, {"name": name}).one_or_none() is None:
            connection.execute(text(f'create database "{name}"'))
    engine.dispose()
    server = make_url(address)
    return {"DATABASE_URL": server.set(database=name).render_as_string(hide_password=False)}
