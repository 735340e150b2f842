"""The engine's own SqlLedger over one SQLite database in memory, made anew in microseconds.

One connection serves every simulated process: a transaction is one step of the schedule, so that
no two of them overlap, which is what SQLite's one writer and its snapshots come to.
"""

from __future__ import annotations

import functools
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import StaticPool

from engine.ledger.connections import Connections
from engine.ledger.ledger import FILE_NAME, SqlLedger, open_ledger
from engine.settings import LedgerSettings, Settings
from tests.faults.simulation.quick_statements import QuickConnection


class MemoryConnections(Connections):
    """A database in memory; `write` and `read` are the real boundaries of a transaction."""

    def __init__(self) -> None:
        self.is_sqlite = True
        self.raw = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=512
        )
        engine = create_engine(
            make_url("sqlite://"),
            creator=lambda: self.raw,
            poolclass=StaticPool,
            isolation_level="AUTOCOMMIT",
        )
        self._connection = cast("Connection", QuickConnection(engine.connect(), self.raw))
        self.transactions = 0

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One step of the schedule is one state of the database."""
        self.transactions += 1
        yield self._connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Committed when the block ends without an error, undone otherwise."""
        del durable
        self.transactions += 1
        self.raw.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self.raw.execute("ROLLBACK")
            raise
        self.raw.execute("COMMIT")

    def restore(self, image: bytes) -> None:
        """The database as it was when `image` was taken."""
        self.raw.deserialize(image)
        self.raw.execute("PRAGMA journal_mode=MEMORY")
        self.raw.execute("PRAGMA synchronous=OFF")
        self.raw.execute("PRAGMA temp_store=MEMORY")


@functools.cache
def empty_image() -> bytes:
    """A migrated ledger that holds nothing but its account."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=folder, ledger=LedgerSettings(busy_timeout_s=2))
        open_ledger(settings).dispose()
        source = sqlite3.connect(Path(folder) / FILE_NAME)
        target = sqlite3.connect(":memory:")
        source.execute("PRAGMA journal_mode=DELETE")  # a copy in memory knows no WAL
        source.backup(target)
        source.close()
        image = target.serialize()
        target.close()
    return image


@functools.cache
def shared_connections() -> MemoryConnections:
    """The one database of this process; each run restores it first."""
    return MemoryConnections()


def fresh_ledger(settings: Settings) -> SqlLedger:
    """An empty ledger. The one before it is gone."""
    connections = shared_connections()
    connections.restore(empty_image())
    return SqlLedger(connections, settings)
