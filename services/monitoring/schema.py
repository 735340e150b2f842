"""Tables of the monitoring service: the newest events, and counts of all there ever were."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, Table, Text

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("cycle_id", Text, nullable=False),
    Column("data", Text, nullable=False),
    Index("events_type", "type", "seq"),
    Index("events_severity", "severity", "seq"),
    sqlite_autoincrement=True,
)

counts = Table(
    "counts",
    metadata,
    Column("type", Text, primary_key=True),
    Column("severity", Text, primary_key=True),
    Column("total", Integer, nullable=False),
)
