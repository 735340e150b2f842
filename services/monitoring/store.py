"""Events in a durable file: each once, the newest of them, counted for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from engine.domain.messages import MonitoringEvent
from services.durable import DurableStore
from services.monitoring.schema import counts, events, metadata


@dataclass(frozen=True)
class Totals:
    """Counts of all events ever taken by (type, severity), and how many are stored."""

    taken: dict[tuple[str, str], int]
    stored: int


class EventStore:
    """The newest `keep` events, unique by event_id among those that are stored."""

    def __init__(self, path: Path, *, keep: int, busy_timeout_s: float) -> None:
        self._store = DurableStore(path, metadata, busy_timeout_s=busy_timeout_s)
        self._keep = keep

    def add(self, given: Sequence[MonitoringEvent]) -> tuple[MonitoringEvent, ...]:
        """Store events in one transaction; those that were new, each once."""
        # Of two with one id the first counts, as it would over two calls.
        first = {event.event_id: event for event in reversed(given)}
        unique = [event for event in given if first[event.event_id] is event]
        with self._store.write() as connection:
            stored = _insert(connection, unique)
            fresh = tuple(event for event in unique if event.event_id in stored)
            _count(connection, fresh)
            if fresh:
                self._prune(connection)
        return fresh

    def _prune(self, connection: Connection) -> None:
        newest = connection.execute(select(func.max(events.c.seq))).scalar_one()
        connection.execute(delete(events).where(events.c.seq <= newest - self._keep))

    def latest(
        self, *, type_: str | None = None, severity: str | None = None, limit: int
    ) -> tuple[MonitoringEvent, ...]:
        """Stored events, newest first."""
        query = select(events).order_by(events.c.seq.desc()).limit(limit)
        if type_ is not None:
            query = query.where(events.c.type == type_)
        if severity is not None:
            query = query.where(events.c.severity == severity)
        with self._store.read() as connection:
            return tuple(_event(row) for row in connection.execute(query).mappings())

    def totals(self) -> Totals:
        """Counts, from one state of the file."""
        with self._store.read() as connection:
            rows = connection.execute(select(counts.c.type, counts.c.severity, counts.c.total))
            taken = {(row.type, row.severity): row.total for row in rows}
            stored = connection.execute(select(func.count()).select_from(events)).scalar_one()
        return Totals(taken, stored)

    def close(self) -> None:
        """Close the file."""
        self._store.close()


def _insert(connection: Connection, given: Sequence[MonitoringEvent]) -> set[str]:
    """Insert in order what is not there; the ids of what was inserted."""
    if not given:
        return set()
    added = insert(events).on_conflict_do_nothing().returning(events.c.event_id)
    return set(connection.execute(added, [_row(event) for event in given]).scalars())


def _row(event: MonitoringEvent) -> dict[str, str]:
    return {
        "event_id": event.event_id,
        "type": event.type,
        "at": event.at.astimezone(UTC).isoformat(),
        "severity": event.severity,
        "cycle_id": event.cycle_id,
        "data": msgspec.json.encode(event.data).decode(),
    }


def _count(connection: Connection, fresh: Sequence[MonitoringEvent]) -> None:
    added = insert(counts)
    added = added.on_conflict_do_update(
        index_elements=["type", "severity"],
        set_={"total": counts.c.total + added.excluded.total},
    )
    sums = Counter((event.type, event.severity) for event in fresh)
    for (type_, severity), total in sums.items():
        connection.execute(added, {"type": type_, "severity": severity, "total": total})


def _event(row: Any) -> MonitoringEvent:
    return MonitoringEvent(
        event_id=row["event_id"],
        type=row["type"],
        at=datetime.fromisoformat(row["at"]),
        severity=row["severity"],
        cycle_id=row["cycle_id"],
        data=msgspec.json.decode(row["data"]),
    )
