"""The market's now: replayed and durable, or the wall clock.

A replay clock moves in whole candles and only when it is told, once for each cycle.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from engine.domain.model import MarketClock
from engine.errors import ConfigError, Refused, ServiceUnavailable
from services.market_data.feeds.feed import ReplayFeed

SCHEMA = """
CREATE TABLE IF NOT EXISTS clocks (feed TEXT PRIMARY KEY, now_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS moves (
    feed TEXT NOT NULL, cycle_id TEXT NOT NULL, now_ms INTEGER NOT NULL,
    PRIMARY KEY (feed, cycle_id)
) WITHOUT ROWID;
"""


class MarketNow(Protocol):
    """What tells and moves the market's now, in epoch milliseconds."""

    @property
    def kind(self) -> MarketClock:
        """Live or replay."""
        ...

    @property
    def has_ended(self) -> bool:
        """True when no further candle will ever close."""
        ...

    def now_ms(self) -> int:
        """The market's now."""
        ...

    def advance(self, cycle_id: str, candles: int) -> int:
        """Move by whole candles, once for each `cycle_id`; the market's now afterwards."""
        ...

    def move_to(self, moment_ms: int) -> int:
        """Move to the newest whole candle at `moment_ms`; Refused when that lies in the past."""
        ...


class LiveClock:
    """The wall clock: nobody moves it."""

    kind = MarketClock.LIVE
    has_ended = False

    def __init__(self, wall: Callable[[], datetime]) -> None:
        self._wall = wall

    def now_ms(self) -> int:
        """The wall clock's now."""
        return to_ms(self._wall())

    def advance(self, cycle_id: str, candles: int) -> int:  # noqa: ARG002 - the port's signature
        """Nothing moves; the wall clock's now."""
        return self.now_ms()

    def move_to(self, moment_ms: int) -> int:  # noqa: ARG002 - the port's signature
        """Refused: a live clock is not moved."""
        raise Refused("the clock is live: it cannot be moved")


class ReplayClock:
    """The replayed now of one feed, kept in an SQLite file so that it survives a restart.

    `identity` names the feed with everything that its candles depend on; each identity has its
    own now in the file. A cycle's move is stored with its id for ever, in the transaction that
    moves: a repeat, however late, moves nothing.
    """

    kind = MarketClock.REPLAY

    def __init__(self, path: Path, identity: str, feed: ReplayFeed) -> None:
        self._path = path
        self._feed = feed
        self._identity = identity
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as database:
                database.executescript(SCHEMA)
                stored = _stored_now(database, identity)
        except (OSError, sqlite3.Error) as exc:
            raise ConfigError([f"data_dir: the market clock {path} cannot be used: {exc}"]) from exc
        self._now_ms = feed.start_ms if stored is None else stored

    @property
    def has_ended(self) -> bool:
        """True when the feed has no further candle."""
        return self._feed.end_ms is not None and self.now_ms() >= self._feed.end_ms

    def now_ms(self) -> int:
        """The close of the newest closed candle."""
        with self._lock:
            return self._now_ms

    def advance(self, cycle_id: str, candles: int) -> int:
        """See MarketNow.advance; stands still at the end of the feed."""
        with self._lock, self._opened() as database:
            database.execute("BEGIN IMMEDIATE")
            if not _has_moved(database, self._identity, cycle_id):
                moved = self._feed.later(self._now_ms, candles)
                _store_now(database, self._identity, moved)
                database.execute(
                    "INSERT INTO moves (feed, cycle_id, now_ms) VALUES (?, ?, ?)",
                    (self._identity, cycle_id, moved),
                )
                database.execute("COMMIT")
                self._now_ms = moved
            return self._now_ms

    def move_to(self, moment_ms: int) -> int:
        """See MarketNow.move_to."""
        target = self._feed.at_or_before(moment_ms)
        with self._lock, self._opened() as database:
            if moment_ms < self._now_ms:
                raise Refused(
                    f"the clock stands at {to_text(self._now_ms)} and never goes back: "
                    f"{to_text(moment_ms)} is earlier"
                )
            moved = max(target, self._now_ms)
            _store_now(database, self._identity, moved)
            self._now_ms = moved
            return moved

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection for one move. Raises ServiceUnavailable when the file fails."""
        try:
            with closing(self._connect()) as database:
                yield database
        except sqlite3.Error as exc:
            raise ServiceUnavailable("market_data", f"the clock cannot be stored: {exc}") from exc

    def _connect(self) -> sqlite3.Connection:
        """A connection that commits each statement, and whose commits survive a power cut."""
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA synchronous = FULL")
        return database


def _stored_now(database: sqlite3.Connection, identity: str) -> int | None:
    row = database.execute("SELECT now_ms FROM clocks WHERE feed = ?", (identity,)).fetchone()
    return None if row is None else int(row[0])


def _has_moved(database: sqlite3.Connection, identity: str, cycle_id: str) -> bool:
    query = "SELECT 1 FROM moves WHERE feed = ? AND cycle_id = ?"
    return database.execute(query, (identity, cycle_id)).fetchone() is not None


def _store_now(database: sqlite3.Connection, identity: str, now_ms: int) -> None:
    database.execute(
        "INSERT INTO clocks (feed, now_ms) VALUES (?, ?) "
        "ON CONFLICT (feed) DO UPDATE SET now_ms = excluded.now_ms",
        (identity, now_ms),
    )


def to_ms(moment: datetime) -> int:
    """Epoch milliseconds of an aware time."""
    return round(moment.timestamp() * 1000)


def to_time(moment_ms: int) -> datetime:
    """The aware UTC time of epoch milliseconds."""
    return datetime.fromtimestamp(moment_ms / 1000, tz=UTC)


def to_text(moment_ms: int) -> str:
    """ISO 8601 with Z."""
    return to_time(moment_ms).isoformat().replace("+00:00", "Z")
