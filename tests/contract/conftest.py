"""Every ledger test runs on a SQLite file and, where TEST_POSTGRES_URL names one, PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from engine.ledger.connections import ledger_url
from engine.ledger.ledger import SqlLedger, open_ledger
from engine.ledger.migration import migrate
from engine.ledger.schema import metadata
from engine.settings import LedgerSettings, Settings
from tests.ledger_world import World, sqlite_settings


@pytest.fixture(scope="session")
def postgresql_url() -> str:
    """An address whose database has the schema; skips where none is named."""
    url = os.environ.get("TEST_POSTGRES_URL", "")
    if not url:
        pytest.skip("TEST_POSTGRES_URL names no PostgreSQL database")
    engine = create_engine(ledger_url(url))
    with engine.begin() as connection:
        connection.execute(text("drop schema public cascade"))
        connection.execute(text("create schema public"))
    engine.dispose()
    migrate(url)
    return url


def _emptied(url: str) -> str:
    engine = create_engine(ledger_url(url))
    names = ", ".join(f'"{name}"' for name in metadata.tables)
    with engine.begin() as connection:
        connection.execute(text(f"truncate {names} restart identity"))
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    if request.param == "sqlite":
        with sqlite_settings() as settings:
            yield settings
    else:
        url = _emptied(request.getfixturevalue("postgresql_url"))
        yield Settings(data_dir=str(tmp_path), ledger=LedgerSettings(url=url, busy_timeout_s=2))


@pytest.fixture
def ledger(ledger_settings: Settings) -> Iterator[SqlLedger]:
    opened = open_ledger(ledger_settings)
    yield opened
    opened.dispose()


@pytest.fixture
def world(ledger: SqlLedger) -> World:
    return World(ledger)
