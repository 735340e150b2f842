"""Heartbeats of workers and beat, and the load of the parts, through Redis."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping

from engine.bootstrap import build_vitals
from engine.settings import Settings
from launcher.child import Endpoint
from launcher.sampling import Sampler

PUBLISH_S = 2.0


class VitalSigns:
    """What the launcher reads from, and writes to, the engine's vital signs."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._vitals = build_vitals(settings)
        self._sampler = Sampler()
        self._monotonic = monotonic
        self._due = 0.0

    def worker(self, name: str) -> Callable[[], bool]:
        """Whether the worker `name` of this machine has a heartbeat."""
        node = f"{name}@{socket.gethostname()}"
        return lambda: any(worker.name == node for worker in self._vitals.workers())

    def beat(self) -> Endpoint:
        """Whether beat ticks."""
        return Endpoint("beat", "schedule in Redis", lambda: self._vitals.beat().alive)

    def publish(self, leaders: Mapping[str, int]) -> None:
        """Writes CPU and memory of the parts, every two seconds at most."""
        now = self._monotonic()
        if now < self._due:
            return
        self._due = now + PUBLISH_S
        self._vitals.write_processes(self._sampler.sample(leaders))
