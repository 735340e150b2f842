"""Events in a durable file: each once, the newest of them, counted for ever."""

from __future__ import annotations

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
        """Store events in one transaction; those that were new."""
        with self._store.write() as connection:
            fresh = tuple(event for event in given if _insert(connection, event))
            for event in fresh:
                _count(connection, event)
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


def _insert(connection: Connection, event: MonitoringEvent) -> bool:
    row = {
        "event_id": event.event_id,
        "type": event.type,
        "at": event.at.astimezone(UTC).isoformat(),
        "severity": event.severity,
        "cycle_id": event.cycle_id,
        "data": msgspec.json.encode(event.data).decode(),
    }
    done = connection.execute(insert(events).values(row).on_conflict_do_nothing())
    return done.rowcount == 1


def _count(connection: Connection, event: MonitoringEvent) -> None:
    added = insert(counts).values(type=event.type, severity=event.severity, total=1)
    connection.execute(
        added.on_conflict_do_update(
            index_elements=["type", "severity"], set_={"total": counts.c.total + 1}
        )
    )


def _event(row: Any) -> MonitoringEvent:
    return MonitoringEvent(
        event_id=row["event_id"],
        type=row["type"],
        at=datetime.fromisoformat(row["at"]),
        severity=row["severity"],
        cycle_id=row["cycle_id"],
        data=msgspec.json.decode(row["data"]),
    )
