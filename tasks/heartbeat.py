"""Each worker tells once a second that it lives, and what its processes use."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterable
from typing import Any

import psutil
from celery.signals import celeryd_init, worker_ready, worker_shutting_down
from celery.worker import state as worker_state

from engine.bootstrap import build_vitals
from engine.telemetry import get_logger
from engine.vitals import ProcessVitals, Vitals, WorkerVitals
from engine.wall_clock import WallClock
from tasks.app import settings
from tasks.process import NODE

log = get_logger(__name__)

MEGABYTE = 1024 * 1024


class Heartbeat(threading.Thread):
    """Writes the worker's vitals until it is stopped; warns once of a process over its memory."""

    def __init__(self, name: str, queues: Iterable[str], vitals: Vitals) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._node = name
        self._queues = tuple(sorted(queues))
        self._vitals = vitals
        self._clock = WallClock()
        self._stopping = threading.Event()
        self._known: dict[int, psutil.Process] = {}
        self._warned: set[int] = set()

    def run(self) -> None:
        """One heartbeat every `workers.heartbeat_s`."""
        while not self._stopping.wait(settings.workers.heartbeat_s):
            self._vitals.write_worker(self._sample())

    def stop(self) -> None:
        """End the thread with the next beat."""
        self._stopping.set()

    def _sample(self) -> WorkerVitals:
        processes = tuple(self._processes())
        return WorkerVitals(
            name=self._node,
            identity=os.environ[NODE],
            queues=self._queues,
            processes=processes,
            last_seen_at=self._clock.now(),
            active=len(worker_state.active_requests),
            cpu_percent=round(sum(one.cpu_percent for one in processes), 1),
            memory_mb=round(sum(one.memory_mb for one in processes), 1),
        )

    def _processes(self) -> Iterable[ProcessVitals]:
        """This process and its children; CPU is that since the last look."""
        own = psutil.Process()
        living = {process.pid: process for process in (own, *own.children())}
        self._known = {pid: self._known.get(pid, process) for pid, process in living.items()}
        for pid, process in self._known.items():
            try:
                memory_mb = round(process.memory_info().rss / MEGABYTE, 1)
                cpu_percent = process.cpu_percent()
            except psutil.NoSuchProcess:
                continue
            self._check_memory(pid, memory_mb)
            yield ProcessVitals(
                name=self._node, pid=pid, cpu_percent=cpu_percent, memory_mb=memory_mb
            )

    def _check_memory(self, pid: int, memory_mb: float) -> None:
        limit = settings.workers.memory_limit_mb
        if memory_mb > limit and pid not in self._warned:
            self._warned.add(pid)
            log.warning("worker_over_memory", pid=pid, memory_mb=memory_mb, limit_mb=limit)


_running: list[Heartbeat] = []


@celeryd_init.connect
def _name_node(sender: str = "", **_: Any) -> None:
    """Name this start of the node before the children are forked: they claim batches under it.

    A worker that was killed and is back under its name must not count as the one that had claimed.
    """
    os.environ[NODE] = f"{sender}/{secrets.token_hex(3)}"


@worker_ready.connect
def _start(sender: Any, **_: Any) -> None:
    queues = [queue.name for queue in sender.task_consumer.queues]
    heartbeat = Heartbeat(str(sender.hostname), queues, build_vitals(settings))
    _running.append(heartbeat)
    heartbeat.start()


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    for heartbeat in _running:
        heartbeat.stop()
