"""Alerts to the outside: posted by threads of their own, never while a request waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import requests

from engine.domain.messages import MonitoringEvent
from engine.service_settings import Webhook
from engine.telemetry import get_logger
from services.monitoring.contract import WebhookCounts
from services.monitoring.notices import Phases, body, is_alert

log = get_logger(__name__)

_WAITING = 500


class Post(Protocol):
    """How one alert is sent; raises requests.RequestException when it was not taken."""

    def __call__(self, url: str, body: bytes) -> None:
        """Send the bytes once."""
        ...


@dataclass(frozen=True)
class HttpPost:
    """A POST of JSON within `timeout_s`; anything but 2xx, a redirect too, is a failure."""

    timeout_s: float

    def __call__(self, url: str, body: bytes) -> None:
        """Send the bytes once."""
        headers = {"Content-Type": "application/json"}
        answer = requests.post(
            url, data=body, headers=headers, timeout=self.timeout_s, allow_redirects=False
        )
        with answer:
            if not requests.codes.ok <= answer.status_code < requests.codes.multiple_choices:
                raise requests.HTTPError(f"answered {answer.status_code}")


class Webhooks:
    """Sends news of alerts to every address, in order. What cannot wait in line is dropped.

    Each address has a line and a thread of its own: one that is slow holds up no other.
    """

    def __init__(
        self,
        hooks: Sequence[Webhook],
        post: Post,
        *,
        tries: int,
        pause_s: float,
        mode: str,
        earlier: Sequence[MonitoringEvent] = (),
    ) -> None:
        """`mode` is shown where an event does not say its own; `earlier` as Phases takes it."""
        self._post = post
        self._tries = tries
        self._pause_s = pause_s
        self._mode = mode
        self._phases = Phases(earlier)
        self._judging = threading.Lock()
        self._closing = threading.Event()
        self._counting = threading.Lock()
        self._counts = {"delivered": 0, "failed": 0, "dropped": 0}
        self._lines = [_Line(hook, queue.Queue(_WAITING)) for hook in hooks]
        for number, line in enumerate(self._lines):
            name = f"webhook-{number}"
            threading.Thread(target=self._work, args=(line,), name=name, daemon=True).start()

    def send(self, events: Sequence[MonitoringEvent]) -> None:
        """Put the news among these events in line; returns at once."""
        with self._judging:
            news = [event for event in events if is_alert(event) and self._phases.is_news(event)]
            for event in news:
                for line in self._lines:
                    self._put(line, event)

    def _put(self, line: _Line, event: MonitoringEvent) -> None:
        try:
            line.waiting.put_nowait(event)
        except queue.Full:
            self._count("dropped")
            log.warning("alert_dropped", event_id=event.event_id, to=_host(line.hook.url))

    def counts(self) -> WebhookCounts:
        """What became of alerts so far."""
        with self._counting:
            return WebhookCounts(**self._counts)

    def close(self) -> None:
        """Send nothing further."""
        self._closing.set()

    def _work(self, line: _Line) -> None:
        while not self._closing.is_set():
            try:
                event = line.waiting.get(timeout=1)
            except queue.Empty:
                continue
            self._deliver(line.hook, event)

    def _deliver(self, hook: Webhook, event: MonitoringEvent) -> None:
        sent = body(event, hook.body, self._mode)
        for attempt in range(1, self._tries + 1):
            try:
                self._post(hook.url, sent)
            except requests.RequestException as exc:
                # The error's text would show the address, whose path is a secret.
                log.warning(
                    "alert_not_delivered",
                    event_id=event.event_id,
                    to=_host(hook.url),
                    attempt=attempt,
                    reason=type(exc).__name__,
                )
                if attempt < self._tries and self._closing.wait(self._pause_s * attempt):
                    break
            else:
                self._count("delivered")
                return
        self._count("failed")

    def _count(self, what: str) -> None:
        with self._counting:
            self._counts[what] += 1


@dataclass(frozen=True)
class _Line:
    """What waits for one address."""

    hook: Webhook
    waiting: queue.Queue[MonitoringEvent]


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
