"""The monitoring service over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from engine.settings import Settings
from services.monitoring.contract import (
    EventList,
    EventsBody,
    EventsQuery,
    EventsTaken,
    Summary,
)
from services.monitoring.store import EventStore
from services.monitoring.webhooks import HttpPost, Post, Webhooks
from web import Answer, KeyRing, metrics_registry, route
from web import create_app as create_web_app

FILE_NAME = "monitoring.sqlite"
# A thousand events with a report each.
MAX_BODY_BYTES = 4 * 1024 * 1024
LAST_ALERTS = 5
KNOWN_ALERTS = 500


@dataclass(frozen=True)
class Parts:
    """What an app holds open; kept in `app.extensions`."""

    store: EventStore
    webhooks: Webhooks

    def close(self) -> None:
        """Send no further alert and close the file."""
        self.webhooks.close()
        self.store.close()


def create_app(settings: Settings, *, post: Post | None = None) -> Flask:
    """The service on `data_dir/monitoring.sqlite`; `post` stands in for HTTP to webhooks."""
    section = settings.services.monitoring
    store = EventStore(
        Path(settings.data_dir) / FILE_NAME,
        keep=section.keep_events,
        busy_timeout_s=settings.ledger.busy_timeout_s,
    )
    webhooks = Webhooks(
        section.webhooks,
        post if post is not None else HttpPost(section.webhook_timeout_s),
        tries=section.webhook_tries,
        pause_s=section.webhook_pause_s,
        mode=settings.trading_engine.mode.upper(),
        earlier=store.latest(type_="alert", limit=KNOWN_ALERTS),
    )
    app = create_web_app(
        name="monitoring",
        title="Monitoring",
        version="1.0",
        description="Events of the trading engine, counted and kept; alerts go to webhooks.",
        keys=KeyRing.single(section.key.get_secret_value()),
        host=section.host,
        max_body_bytes=MAX_BODY_BYTES,
        health=lambda: _health(store),
    )
    app.extensions["monitoring"] = Parts(store, webhooks)
    metrics_registry(app).register(_EventCollector(store, webhooks))
    _add_routes(app, store, webhooks)
    return app


def _health(store: EventStore) -> dict[str, Any]:
    try:
        stored = store.totals().stored
    except SQLAlchemyError:
        detail = "the file cannot be read"
        return {"status": "down", "checks": {"store": {"status": "down", "detail": detail}}}
    return {"status": "ok", "checks": {"store": {"status": "ok", "detail": f"{stored} events"}}}


def _add_routes(app: Flask, store: EventStore, webhooks: Webhooks) -> None:
    @route(
        app,
        "POST",
        "/events",
        summary="Take events, each once",
        body=EventsBody,
        answers={200: EventsTaken},
        scope="control",
    )
    def take(body: EventsBody) -> Answer:
        fresh = store.add([each.event() for each in body.events])
        webhooks.send(fresh)
        return Answer(EventsTaken(accepted=len(fresh), duplicates=len(body.events) - len(fresh)))

    @route(
        app,
        "GET",
        "/events",
        summary="Stored events, newest first",
        query=EventsQuery,
        answers={200: EventList},
    )
    def listed(query: EventsQuery) -> EventList:
        found = store.latest(type_=query.type, severity=query.severity, limit=query.limit)
        return EventList(events=found)

    @route(app, "GET", "/summary", summary="Counts and the latest", answers={200: Summary})
    def summary() -> Summary:
        return _summary(store, webhooks)


def _summary(store: EventStore, webhooks: Webhooks) -> Summary:
    totals = store.totals()
    by_type: Counter[str] = Counter()
    by_severity: Counter[str] = Counter()
    for (type_, severity), count in totals.taken.items():
        by_type[type_] += count
        by_severity[severity] += count
    newest = store.latest(limit=1)
    cycles = store.latest(type_="cycle", limit=1)
    return Summary(
        events=sum(totals.taken.values()),
        stored=totals.stored,
        by_type=dict(by_type),
        by_severity=dict(by_severity),
        last_event_at=newest[0].at if newest else None,
        last_cycle=cycles[0] if cycles else None,
        last_alerts=store.latest(type_="alert", limit=LAST_ALERTS),
        webhooks=webhooks.counts(),
    )


class _EventCollector(Collector):
    """Counts as they stand in the file, so that they survive a restart."""

    def __init__(self, store: EventStore, webhooks: Webhooks) -> None:
        self._store = store
        self._webhooks = webhooks

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read the file."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Counts by type and severity, events stored, alerts by outcome."""
        totals = self._store.totals()
        taken = CounterMetricFamily(
            "monitoring_events", "Events taken.", labels=["type", "severity"]
        )
        for labels, count in sorted(totals.taken.items()):
            taken.add_metric(labels, count)
        yield taken
        yield GaugeMetricFamily("monitoring_events_stored", "Events kept.", value=totals.stored)
        alerts = CounterMetricFamily(
            "monitoring_alerts", "Alerts sent to webhooks.", labels=["outcome"]
        )
        counts = self._webhooks.counts()
        for outcome in counts.__struct_fields__:
            alerts.add_metric([outcome], getattr(counts, outcome))
        yield alerts
