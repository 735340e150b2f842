"""The schema is created and upgraded at start; errors of the database have one name."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from engine.errors import ConfigError, LedgerUnavailable
from engine.ledger.connections import ledger_url
from engine.ledger.ledger import FILE_NAME, SqlLedger, open_ledger
from engine.ledger.schema import SCHEMA_REVISION, metadata
from engine.settings import LedgerSettings, Settings, TradingEngine
from tests.factories import NOW
from tests.ledger_world import World, sqlite_settings


def test_the_migrations_make_exactly_the_schema_that_the_code_means(ledger: SqlLedger) -> None:
    with ledger.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []


def test_a_newer_schema_is_refused_with_one_line(
    ledger: SqlLedger, ledger_settings: Settings
) -> None:
    with ledger._connections.write() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    try:
        with pytest.raises(ConfigError) as refused:
            open_ledger(ledger_settings)
    finally:
        with ledger._connections.write() as connection:
            restored = text("update alembic_version set version_num = :known")
            connection.execute(restored, {"known": SCHEMA_REVISION})
    (fault,) = refused.value.faults
    assert "9999" in fault
    assert "newer" in fault
    assert "\n" not in fault


def test_a_ledger_of_another_account_is_refused(
    ledger: SqlLedger, ledger_settings: Settings
) -> None:
    other = ledger_settings.model_copy(update={"trading_engine": TradingEngine(account="other")})
    with pytest.raises(ConfigError, match="belongs to 'paper', not to 'other'"):
        open_ledger(other)


def test_many_starts_at_once_make_one_ledger(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "new"))
    barrier = threading.Barrier(4)

    def start(_: int) -> bytes:
        barrier.wait()
        opened = open_ledger(settings)
        secret = opened.state.secret()
        opened.dispose()
        return secret

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(start, range(4)))) == 1


def test_a_locked_ledger_is_unavailable_after_the_busy_timeout() -> None:
    with sqlite_settings() as settings:
        quick = LedgerSettings(busy_timeout_s=0.05)
        opened = open_ledger(settings.model_copy(update={"ledger": quick}))
        other = create_engine(f"sqlite:///{Path(settings.data_dir) / FILE_NAME}")
        with other.connect() as holder:
            holder.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnavailable, match="locked"):
                World(opened).open()
            assert opened.state.read().epoch == 0
            holder.rollback()
        assert World(opened).open().epoch == 1
        other.dispose()
        opened.dispose()


def test_a_ping_fails_once_the_file_is_no_database_any_more(tmp_path: Path) -> None:
    opened = open_ledger(Settings(data_dir=str(tmp_path)))
    opened.ping()
    opened.dispose()
    for ending in ("-wal", "-shm"):
        (tmp_path / f"{FILE_NAME}{ending}").unlink(missing_ok=True)
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerUnavailable):
        opened.ping()
    opened.dispose()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerUnavailable):
        open_ledger(Settings(data_dir=str(tmp_path)))


def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    nowhere = LedgerSettings(url="postgresql://nobody@127.0.0.1:1/none", busy_timeout_s=1)
    with pytest.raises(LedgerUnavailable):
        open_ledger(Settings(data_dir=str(tmp_path), ledger=nowhere))


def test_postgresql_is_spoken_to_by_psycopg() -> None:
    assert ledger_url("postgresql://u:p@h/d").drivername == "postgresql+psycopg"
    assert ledger_url("postgresql+psycopg://u:p@h/d").drivername == "postgresql+psycopg"


def test_orders_are_written_durably_and_outcomes_fast() -> None:
    with sqlite_settings() as settings:
        opened = open_ledger(settings)
        levels = []
        for durable in (True, False):
            with opened._connections.write(durable=durable) as connection:
                levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert levels == [2, 1]
        opened.dispose()


def test_a_forked_child_does_not_share_its_parents_connections(ledger: SqlLedger) -> None:
    ledger.state.set_operator(ledger.state.read().operator, "before", "parent", NOW)
    pools = [ledger._connections._durable.pool, ledger._connections._relaxed.pool]
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - counted in the parent only
        try:
            fresh = ledger._connections._durable.pool not in pools
            ledger.state.set_operator(ledger.state.read().operator, "child", "child", NOW)
            os.write(write_end, b"ok" if fresh else b"shared")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    assert os.read(read_end, 10) == b"ok"
    os.close(read_end)
    assert ledger.state.read().operator_reason == "child"
