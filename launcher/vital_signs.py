"""Heartbeats of workers and beat, and the load of the parts, through Redis."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from engine.connections import redis_client
from engine.redis_link import RedisLink
from engine.settings import Settings
from engine.vitals import Vitals
from launcher.sampling import Sampler

OWNER = "launcher"
PUBLISH_S = 1.0


class VitalSigns:
    """What the launcher reads from, and writes to, the engine's vital signs."""

    def __init__(
        self,
        settings: Settings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        link = RedisLink(redis_client(settings))
        self._vitals = Vitals(link, ttl_s=settings.workers.heartbeat_ttl_s)
        self._heartbeat_ttl = timedelta(seconds=settings.workers.heartbeat_ttl_s)
        self._now = now
        self._made_at = now()
        self._sampler = Sampler()
        self._monotonic = monotonic
        self._due = monotonic()

    def has_worker(self, name: str) -> bool:
        """Whether the worker `name` of this machine lives."""
        node = f"{name}@{socket.gethostname()}"
        return any(worker.name == node for worker in self._vitals.workers())

    def has_new_worker(self, name: str) -> bool:
        """The same, by a heartbeat later than the making of this object."""
        node = f"{name}@{socket.gethostname()}"
        return any(
            worker.name == node and worker.last_seen_at >= self._made_at
            for worker in self._vitals.workers()
        )

    def has_beat(self) -> bool:
        """Whether a beat ticked within the time in which a worker counts as alive."""
        tick = self._vitals.last_beat_tick()
        return tick is not None and tick >= self._now() - self._heartbeat_ttl

    def has_new_beat(self) -> bool:
        """Whether a beat ticked since the making of this object."""
        tick = self._vitals.last_beat_tick()
        return tick is not None and tick >= self._made_at

    def publish(self, leaders: Mapping[str, int]) -> None:
        """Writes CPU and memory of every process of the parts, once a second at most."""
        now = self._monotonic()
        if now >= self._due:
            self._due = now + PUBLISH_S
            self._vitals.write_processes(OWNER, self._sampler.sample(leaders))
