"""Brings a database to the schema of this program: one process works, the others wait."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, event, exc, text
from sqlalchemy.engine import URL

from engine.errors import ConfigError
from engine.ledger.connections import ledger_url, translated
from engine.ledger.schema import SCHEMA_REVISION

SCRIPTS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x7261646572
PATIENCE_S = 60.0


def migrate(url: str | URL, revision: str = SCHEMA_REVISION) -> None:
    """Create or upgrade the schema. Raises ConfigError when it is newer than this program."""
    target = ledger_url(url) if isinstance(url, str) else url
    with translated():
        if target.get_backend_name() == "sqlite":
            _migrate_sqlite(target, revision)
        else:
            _migrate_postgresql(target, revision)


def _migrate_sqlite(url: URL, revision: str) -> None:
    path = Path(url.database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _file_lock(path.with_name(path.name + ".migration")):
        engine = create_engine(url, connect_args={"timeout": PATIENCE_S})

        @event.listens_for(engine, "connect")
        def prepare(raw: object, _record: object) -> None:
            raw.isolation_level = None  # type: ignore[attr-defined]
            raw.execute("PRAGMA journal_mode=WAL")  # type: ignore[attr-defined]

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        try:
            with engine.begin() as connection:
                _upgrade(connection, revision)
        finally:
            engine.dispose()


def _migrate_postgresql(url: URL, revision: str) -> None:
    engine = create_engine(url, connect_args={"connect_timeout": 5})
    try:
        with engine.begin() as connection:
            connection.execute(
                text("select pg_advisory_xact_lock(:key)").bindparams(key=ADVISORY_LOCK)
            )
            _upgrade(connection, revision)
    finally:
        engine.dispose()


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _upgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    current = current_revision(connection)
    if current == revision:
        return
    if current is not None and not _knows(config, current):
        fault = f"ledger: its schema {current} is newer than {SCHEMA_REVISION}, the last one known"
        raise ConfigError([f"{fault}: start the newer program, or restore an older backup"])
    command.upgrade(config, revision)


def _knows(config: Config, revision: str) -> bool:
    try:
        return ScriptDirectory.from_config(config).get_revision(revision) is not None
    except CommandError:
        return False


def current_revision(connection: Connection) -> str | None:
    """The revision that the database says it has; None for an empty one."""
    try:
        with connection.begin_nested():
            found = connection.execute(text("select version_num from alembic_version"))
            return found.scalar_one_or_none()
    except (exc.OperationalError, exc.ProgrammingError):
        return None
