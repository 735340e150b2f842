"""The monitoring service over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from engine.clients.transport import Transport
from engine.clients.wire import encode
from engine.domain.messages import MonitoringEvent

MAX_EVENTS_PER_CALL = 100


class HttpMonitoring:
    """Port Monitoring."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def publish(self, events: Sequence[MonitoringEvent]) -> None:
        """Deliver events in order, in calls of at most 100. Raises ServiceError.

        After an error any part may have arrived; sending all again is harmless.
        """
        for start in range(0, len(events), MAX_EVENTS_PER_CALL):
            part = events[start : start + MAX_EVENTS_PER_CALL]
            self._transport.send("POST", "/events", body=encode({"events": part}), idempotent=True)
