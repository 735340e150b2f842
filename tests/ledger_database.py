"""The ledger's database of a test that runs the product: a SQLite file, or one on PostgreSQL.

`TEST_LEDGER=postgresql TEST_POSTGRES_URL=... pytest tests/integration` gives each folder a database
of its own on that server, so that the same tests prove the same promises there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url

from engine.ledger.connections import ledger_url
from engine.ledger.ledger import FILE_NAME
from engine.ledger.schema import metadata
from engine.settings import LedgerSettings, Settings


def on_postgresql() -> bool:
    """Whether the tests were asked to run there."""
    return os.environ.get("TEST_LEDGER") == "postgresql"


needs_ledger_file = pytest.mark.skipif(
    on_postgresql(), reason="this is about the ledger's file, and the ledger is on PostgreSQL"
)


def ledger_environment(folder: Path) -> dict[str, str]:
    """`DATABASE_URL` of the folder's own database, made on first use; nothing for SQLite."""
    return {"DATABASE_URL": database_of(folder)} if on_postgresql() else {}


def database_of(folder: Path) -> str:
    """The address of a folder's own database on TEST_POSTGRES_URL's server, made on first use."""
    name = _name(folder)
    with _server() as connection:
        known = text("select 1 from pg_database where datname = :name")
        if connection.execute(known, {"name": name}).one_or_none() is None:
            connection.execute(text(f'create database "{name}"'))
    return _address(name)


def ledger_settings(folder: Path) -> Settings:
    """Defaults, with the folder's data and ledger."""
    url = ledger_environment(folder).get("DATABASE_URL", "")
    return Settings(data_dir=str(folder), ledger=LedgerSettings(url=url))


def copy_ledger(folder: Path, copy: Path) -> None:
    """Give another folder a copy of a folder's ledger in the place of its own; nobody uses them."""
    drop_ledger(copy)
    if on_postgresql():
        with _server() as connection:
            command = f'create database "{_name(copy)}" template "{_name(folder)}"'
            connection.execute(text(command))
    else:
        copy.mkdir(exist_ok=True)
        shutil.copy(folder / FILE_NAME, copy / FILE_NAME)


def drop_ledger(folder: Path) -> None:
    """Lose a folder's ledger, if it has one."""
    if on_postgresql():
        with _server() as connection:
            connection.execute(text(f'drop database if exists "{_name(folder)}" with (force)'))
    for leftover in folder.glob(f"{FILE_NAME}*"):
        leftover.unlink()


@contextmanager
def ledger_rows(folder: Path) -> Iterator[Connection]:
    """A transaction on the folder's ledger, past the product."""
    if on_postgresql():
        engine = create_engine(ledger_url(_address(_name(folder))))
    else:
        engine = create_engine(f"sqlite:///{folder / FILE_NAME}")
    with _ending(engine), engine.begin() as connection:
        yield connection


@contextmanager
def unwritable_ledger(folder: Path) -> Iterator[None]:
    """Nobody else can write to the folder's ledger meanwhile; it can be read."""
    with ledger_rows(folder) as connection:
        tables = ", ".join(sorted(metadata.tables))
        lock = f"lock table {tables} in exclusive mode" if on_postgresql() else "begin immediate"
        connection.exec_driver_sql(lock)
        yield


def _name(folder: Path) -> str:
    return f"test_{hashlib.sha256(str(folder).encode()).hexdigest()[:20]}"


def _address(name: str) -> str:
    server = make_url(os.environ["TEST_POSTGRES_URL"])
    return server.set(database=name).render_as_string(hide_password=False)


@contextmanager
def _server() -> Iterator[Connection]:
    url = ledger_url(os.environ["TEST_POSTGRES_URL"])
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with _ending(engine), engine.connect() as connection:
        yield connection


@contextmanager
def _ending(engine: Engine) -> Iterator[None]:
    try:
        yield
    finally:
        engine.dispose()
