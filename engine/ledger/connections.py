"""Connections to the ledger's database, and the one place where its errors are translated."""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url

from engine.errors import LedgerUnavailable

PAGE_CACHE_KB = 512
# Of each connection. A cycle sends some 60, again and again, and others that no second batch sends,
# as a list of names has one text for each length: prepared ones of those are of no more use.
STATEMENTS = 64
IDLE_LIMITS = 2  # busy timeouts that a silent peer is waited for
DEFECTS = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError)


def ledger_url(text: str) -> URL:
    """A database address with the driver named; PostgreSQL is spoken to by psycopg."""
    url = make_url(text)
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    return url


@contextmanager
def translated() -> Iterator[None]:
    """Turn whatever says that the database did not answer into LedgerUnavailable."""
    try:
        yield
    except DEFECTS:
        raise
    except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error) as error:
        reason = getattr(error, "orig", None) or error
        raise LedgerUnavailable(f"ledger: {str(reason).strip()}") from error


class Connections:
    """Pools of one database: `durable` writes survive a power cut, others a killed process.

    SQLite: WAL for both, `synchronous` FULL against NORMAL; a later durable commit also makes
    every relaxed one before it durable, so nothing that orders depend on is ever ahead of its
    cause. PostgreSQL: one pool for both. A forked child gets pools of its own.
    """

    def __init__(self, url: URL, timeout_s: float) -> None:
        self.is_sqlite = url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._durable = _sqlite(url, timeout_s, "FULL")
            self._relaxed = _sqlite(url, timeout_s, "NORMAL")
            self._reading = self._relaxed
        else:
            self._durable = self._relaxed = _postgresql(url, timeout_s)
            self._reading = self._durable.execution_options(isolation_level="REPEATABLE READ")
        self._writing = {
            durable: engine.execution_options(ledger_begin="BEGIN IMMEDIATE")
            for durable, engine in ((True, self._durable), (False, self._relaxed))
        }
        _FORKED.add(self)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout."""
        with translated(), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """A writing transaction, committed when the block ends without an error."""
        with translated(), self._writing[durable].begin() as connection:
            yield connection

    def dispose(self, *, close: bool = True) -> None:
        """Drop every idle connection; new ones are made on demand."""
        self._durable.dispose(close=close)
        self._relaxed.dispose(close=close)


def _sqlite(url: URL, timeout_s: float, synchronous: str) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": timeout_s, "cached_statements": STATEMENTS},
        pool_size=4,
        max_overflow=28,
        pool_timeout=timeout_s,
    )

    @event.listens_for(engine, "connect")
    def prepare(raw: sqlite3.Connection, _record: Any) -> None:
        raw.isolation_level = None  # BEGIN is ours: the driver would begin late and deferred
        raw.execute(f"PRAGMA synchronous={synchronous}")
        raw.execute("PRAGMA temp_store=MEMORY")
        # The system's cache holds the file once; a connection's own would grow with the ledger.
        raw.execute(f"PRAGMA cache_size=-{PAGE_CACHE_KB}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        # To the driver itself: SQLAlchemy would make as much of it as of a statement with results.
        raw: Any = connection.connection.driver_connection
        raw.execute(str(options.get("ledger_begin", "BEGIN")))

    return engine


def _postgresql(url: URL, timeout_s: float) -> Engine:
    # A host that is cut off, or a process that is frozen, in the middle of a transaction must not
    # keep its locks: the server ends what stands idle, the client what it cannot reach any more.
    milliseconds = int(timeout_s * 1000)
    limits = {
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": IDLE_LIMITS * milliseconds,
        "tcp_user_timeout": IDLE_LIMITS * milliseconds,
        "timezone": "UTC",
    }
    return create_engine(
        url,
        connect_args={
            "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
            "connect_timeout": max(int(timeout_s), 2),
            "keepalives_idle": max(int(timeout_s), 1),
            "keepalives_interval": max(int(timeout_s), 1),
            "keepalives_count": IDLE_LIMITS,
            "tcp_user_timeout": IDLE_LIMITS * milliseconds,
        },
        pool_size=4,
        max_overflow=28,
        pool_timeout=timeout_s,
        pool_pre_ping=True,
    )


_FORKED: weakref.WeakSet[Connections] = weakref.WeakSet()


def _before_fork() -> None:
    # SQLite connections must not be carried over a fork, and a child that closed an inherited
    # PostgreSQL socket would end its parent's session.
    for connections in list(_FORKED):
        connections.dispose()


def _after_fork_in_child() -> None:
    for connections in list(_FORKED):
        connections.dispose(close=False)


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
