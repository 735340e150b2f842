"""What the monitoring service takes and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from engine.domain.messages import MonitoringEvent

Severity = Literal["info", "warning", "error", "critical"]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Type = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_.-]{1,64}$")]
MAX_EVENTS = 1000


class EventBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event. `at` is wall time; `data` is any JSON object."""

    event_id: Identifier
    type: Type
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    severity: Severity
    cycle_id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    data: dict[str, Any] = {}

    def event(self) -> MonitoringEvent:
        """The same as the engine's value."""
        return MonitoringEvent(
            event_id=self.event_id,
            type=self.type,
            at=self.at,
            severity=self.severity,
            cycle_id=self.cycle_id,
            data=self.data,
        )


class EventsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /events`: at most a thousand at once."""

    events: Annotated[tuple[EventBody, ...], msgspec.Meta(max_length=MAX_EVENTS)]


class EventsTaken(msgspec.Struct, frozen=True, kw_only=True):
    """How many events were new, and how many had been stored before."""

    accepted: int
    duplicates: int


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /events`: newest first."""

    type: Type | None = None
    severity: Severity | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


class EventList(msgspec.Struct, frozen=True, kw_only=True):
    """Stored events, newest first."""

    events: tuple[MonitoringEvent, ...]


class WebhookCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of alerts since the service started, over all addresses."""

    delivered: int = 0
    failed: int = 0
    dropped: int = 0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /summary`: all events ever taken, and what is still stored of them."""

    events: int
    stored: int
    by_type: dict[str, int]
    by_severity: dict[str, int]
    last_event_at: datetime | None
    last_cycle: MonitoringEvent | None
    last_alerts: tuple[MonitoringEvent, ...]
    webhooks: WebhookCounts
