"""What is known of Redis, workers, beat and services without asking any of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.control.desk import Circuit, Desk
from engine.control.documents import (
    BeatState,
    Check,
    CheckStatus,
    ProcessState,
    ServiceState,
    WorkerState,
)
from engine.service_settings import SERVICES
from engine.vitals import CallRates, ProcessVitals, ServiceCheck, WorkerVitals

QUEUES = ("cycle", "batch", "execute", "upkeep")
BEAT_GONE = timedelta(seconds=10)
CHECK_STALE = timedelta(seconds=60)


@dataclass(frozen=True)
class Signs:
    """One look at the vital signs."""

    workers: tuple[WorkerState, ...]
    processes: tuple[ProcessState, ...]
    beat: BeatState
    queues: dict[str, int]
    services: dict[str, ServiceState]
    circuits: dict[str, Circuit]
    checks: dict[str, Check]


def read_signs(desk: Desk) -> Signs:
    """Everything that heartbeats, checks, calls and circuits say. Never raises, calls nobody.

    While Redis is away the rest is empty, and only the first look costs its timeout.
    """
    now = desk.engine.clock.now()
    ping_ms = desk.vitals.ping()
    workers = desk.vitals.workers()
    tick = desk.vitals.last_beat_tick()
    beat = BeatState(alive=tick is not None and now - tick <= BEAT_GONE, last_tick_at=tick)
    looks = desk.vitals.checks()
    circuits = desk.circuits(now)
    services = _services(desk, circuits, looks)
    return Signs(
        workers=tuple(
            WorkerState(
                name=worker.name,
                queues=worker.queues,
                processes=len(worker.processes),
                last_seen_at=worker.last_seen_at,
                active=worker.active,
                cpu_percent=worker.cpu_percent,
                memory_mb=worker.memory_mb,
            )
            for worker in workers
        ),
        processes=_processes(workers, desk.vitals.processes()),
        beat=beat,
        queues=desk.vitals.queue_depths(QUEUES),
        services=services,
        circuits=circuits,
        checks={
            "redis": _redis(ping_ms, now),
            "workers": _workers([worker.name for worker in workers], now),
            "beat": _beat(beat, now),
            **{name: _service(services[name], looks.get(name), now) for name in SERVICES},
        },
    )


def _processes(
    workers: tuple[WorkerVitals, ...], others: tuple[ProcessVitals, ...]
) -> tuple[ProcessState, ...]:
    found = [(worker.name, one) for worker in workers for one in worker.processes]
    found += [("", one) for one in others]
    return tuple(
        ProcessState(
            worker=worker,
            name=one.name,
            pid=one.pid,
            cpu_percent=one.cpu_percent,
            memory_mb=one.memory_mb,
        )
        for worker, one in found
    )


def _services(
    desk: Desk, circuits: dict[str, Circuit], looks: dict[str, ServiceCheck]
) -> dict[str, ServiceState]:
    rates = desk.vitals.call_rates()
    unknown = CallRates(calls=0, failures=0, error_rate=None, latency_ms=None)
    states: dict[str, ServiceState] = {}
    for name in SERVICES:
        look, calls = looks.get(name), rates.get(name, unknown)
        checked_ms = None if look is None else look.latency_ms
        states[name] = ServiceState(
            url=desk.engine.settings.services.named(name).base_url,
            breaker=circuits[name].state,
            last_ok_at=None if look is None else look.last_ok_at,
            latency_ms=checked_ms if calls.latency_ms is None else calls.latency_ms,
            error_rate=calls.error_rate,
        )
    return states


def _redis(ping_ms: float | None, now: datetime) -> Check:
    if ping_ms is None:
        return _seen("down", "no answer", now)
    return Check(status="ok", latency_ms=round(ping_ms, 3), detail="", checked_at=now)


def _workers(names: list[str], now: datetime) -> Check:
    if not names:
        return _seen("down", "no worker has sent a heartbeat", now)
    return _seen("ok", f"{len(names)} live: {', '.join(names)}", now)


def _beat(beat: BeatState, now: datetime) -> Check:
    if beat.alive:
        return _seen("ok", "", now)
    if beat.last_tick_at is None:
        return _seen("down", "beat has not ticked", now)
    return _seen("down", f"no tick for {(now - beat.last_tick_at).total_seconds():.0f} s", now)


def _service(state: ServiceState, look: ServiceCheck | None, now: datetime) -> Check:
    """The upkeep worker's last look, unless the circuit says otherwise."""
    if state.breaker != "closed":
        return _seen("down", f"circuit {state.breaker}", now)
    if look is None:
        return _seen("degraded", "not checked yet", None)
    status: CheckStatus = "down"
    if look.status == "ok":
        status = "ok"
    elif look.status == "degraded":
        status = "degraded"
    detail = look.detail
    if now - look.checked_at > CHECK_STALE:
        age = (now - look.checked_at).total_seconds()
        status, detail = "degraded", f"not checked for {age:.0f} s"
    latency = None if look.latency_ms is None else round(look.latency_ms, 3)
    return Check(status=status, latency_ms=latency, detail=detail, checked_at=look.checked_at)


def _seen(status: CheckStatus, detail: str, at: datetime | None) -> Check:
    return Check(status=status, latency_ms=None, detail=detail, checked_at=at)
