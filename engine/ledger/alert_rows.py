"""Alerts as they stand in the ledger."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, or_, select

from engine.domain.alerts import AlertRecord
from engine.ledger.schema import alerts


def alerts_since(connection: Connection, since: datetime) -> tuple[AlertRecord, ...]:
    """Alerts that are open, and those resolved after `since`; the oldest first."""
    wanted = or_(alerts.c.resolved_at.is_(None), alerts.c.resolved_at > since)
    columns = [alerts.c[name] for name in AlertRecord.__struct_fields__]
    found = connection.execute(select(*columns).where(wanted).order_by(alerts.c.number))
    return tuple(AlertRecord(**row) for row in found.mappings())
