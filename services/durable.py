"""A service's own SQLite file: durable before the answer, one writer at a time, in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.pool import QueuePool

IDLE_CONNECTIONS = 16
PAGE_CACHE_KB = 512  # of each connection: the system's cache holds the file once anyhow
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"cache_size=-{PAGE_CACHE_KB}",
)


class DurableStore:
    """An SQLite file in WAL mode with `synchronous=FULL`: what was committed survives a crash.

    Writers of this process queue up at a lock, which is fair and costs nothing; those of other
    processes wait at SQLite's own lock, at most `busy_timeout_s`.
    """

    def __init__(self, path: Path, metadata: MetaData, *, busy_timeout_s: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writing = threading.Lock()
        self._engine = _open(path, busy_timeout_s)
        with self.write() as connection:
            metadata.create_all(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that has the write lock from its beginning."""
        with self._writing, self._engine.connect() as connection:
            connection.execute(text("BEGIN IMMEDIATE"))
            try:
                yield connection
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that sees one state of the file."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("ROLLBACK")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _open(path: Path, busy_timeout_s: float) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=IDLE_CONNECTIONS,
        max_overflow=-1,
        pool_reset_on_return=None,
        # Transactions are begun by name: the driver's own begin would not take the write lock.
        isolation_level="AUTOCOMMIT",
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").close()

    return engine
