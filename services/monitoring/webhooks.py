"""Alerts to the outside: posted by threads of their own, never while a request waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
import requests

from engine.domain.messages import MonitoringEvent
from engine.telemetry import get_logger
from services.monitoring.contract import WebhookCounts

log = get_logger(__name__)

_THREADS = 2
_WAITING = 1000


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


def is_alert(event: MonitoringEvent) -> bool:
    """Whether somebody should be told: an alert that is more than news, or any critical event."""
    return event.severity == "critical" or (event.type == "alert" and event.severity != "info")


class Webhooks:
    """Sends alerts to every address. What cannot wait in line is dropped and counted."""

    def __init__(
        self, urls: Sequence[str], post: Post, *, tries: int, pause_s: float, account: str
    ) -> None:
        self._urls = tuple(urls)
        self._post = post
        self._tries = tries
        self._pause_s = pause_s
        self._account = account
        self._waiting: queue.Queue[tuple[str, MonitoringEvent]] = queue.Queue(_WAITING)
        self._closing = threading.Event()
        self._counting = threading.Lock()
        self._counts = {"delivered": 0, "failed": 0, "dropped": 0}
        for number in range(_THREADS if self._urls else 0):
            threading.Thread(target=self._work, name=f"webhook-{number}", daemon=True).start()

    def send(self, events: Sequence[MonitoringEvent]) -> None:
        """Put the alerts among these events in line; returns at once."""
        for event in events:
            for url in self._urls if is_alert(event) else ():
                try:
                    self._waiting.put_nowait((url, event))
                except queue.Full:
                    self._count("dropped")
                    log.warning("alert_dropped", event_id=event.event_id, to=_host(url))

    def counts(self) -> WebhookCounts:
        """What became of alerts so far."""
        with self._counting:
            return WebhookCounts(**self._counts)

    def close(self) -> None:
        """Send nothing further."""
        self._closing.set()

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                url, event = self._waiting.get(timeout=1)
            except queue.Empty:
                continue
            self._deliver(url, event)

    def _deliver(self, url: str, event: MonitoringEvent) -> None:
        body = self._body(event)
        for attempt in range(1, self._tries + 1):
            try:
                self._post(url, body)
            except requests.RequestException as exc:
                # The error's text would show the address, whose path is a secret.
                log.warning(
                    "alert_not_delivered",
                    event_id=event.event_id,
                    to=_host(url),
                    attempt=attempt,
                    reason=type(exc).__name__,
                )
                if attempt < self._tries and self._closing.wait(self._pause_s * attempt):
                    break
            else:
                self._count("delivered")
                return
        self._count("failed")

    def _body(self, event: MonitoringEvent) -> bytes:
        """The event, with a line that a chat shows as it stands."""
        title = str(event.data.get("name") or event.type)
        words = [f"[{self._account}] {event.severity.upper()} {title}"]
        words += [str(event.data["detail"])] if event.data.get("detail") else []
        words += [f"cycle {event.cycle_id}"] if event.cycle_id else []
        plain = msgspec.to_builtins(event)
        return msgspec.json.encode({"text": " | ".join(words), **plain})

    def _count(self, what: str) -> None:
        with self._counting:
            self._counts[what] += 1


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
