"""Metrics of Redis, workers, queues and services, as heartbeats and calls tell of them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from engine.control.metric_families import gauge, gauges
from engine.control.signs import QUEUES, Signs

BREAKER_STATES = ("closed", "open", "half-open")
MEGABYTE = 1024 * 1024
PERCENT = 100
MILLISECONDS = 1000


def of_signs(signs: Signs) -> Iterator[Metric]:
    """Every metric that needs no ledger."""
    redis = signs.checks["redis"]
    yield gauge("redis_up", "Whether Redis answers.", float(redis.status == "ok"))
    if redis.latency_ms is not None:
        seconds = redis.latency_ms / MILLISECONDS
        yield gauge("redis_latency_seconds", "Seconds of Redis's answer.", seconds)
    yield gauge("beat_up", "Whether beat ticks.", float(signs.beat.alive))
    yield gauges(
        "queue_messages",
        "Messages that wait.",
        ("queue",),
        {(name,): float(depth) for name, depth in signs.queues.items()},
    )
    yield gauges(
        "workers",
        "Workers with a heartbeat that serve a queue.",
        ("queue",),
        {
            (queue,): float(sum(queue in worker.queues for worker in signs.workers))
            for queue in QUEUES
        },
    )
    yield gauges(
        "worker_active_tasks",
        "Tasks that a worker works on.",
        ("worker",),
        {(worker.name,): float(worker.active) for worker in signs.workers},
    )
    yield from _of_processes(signs)
    yield from _of_services(signs)


def _of_processes(signs: Signs) -> Iterator[Metric]:
    labels = ("worker", "process", "pid")
    named = {(each.worker, each.name, str(each.pid)): each for each in signs.processes}
    yield gauges(
        "process_cpu_ratio",
        "CPU of a process, 1 is one core.",
        labels,
        {names: each.cpu_percent / PERCENT for names, each in named.items()},
    )
    yield gauges(
        "process_memory_bytes",
        "Resident memory of a process.",
        labels,
        {names: each.memory_mb * MEGABYTE for names, each in named.items()},
    )


def _of_services(signs: Signs) -> Iterator[Metric]:
    """`service_up` is known through Redis: without it nothing is said of services."""
    services = signs.services.items()
    if signs.checks["redis"].status == "ok":
        yield gauges(
            "service_up",
            "0 for a service whose last check failed or whose circuit is open, else 1.",
            ("service",),
            {(name,): float(signs.checks[name].status != "down") for name, _ in services},
        )
    yield gauges(
        "service_error_ratio",
        "Failed calls by calls of a service, 5 minutes.",
        ("service",),
        {(name,): service.error_rate for name, service in services},
    )
    yield gauges(
        "service_latency_seconds",
        "Seconds of a service's latest calls.",
        ("service",),
        {
            (name,): None if service.latency_ms is None else service.latency_ms / MILLISECONDS
            for name, service in services
        },
    )
    yield gauges(
        "service_breaker_state",
        "1 for the state of a service's circuit, 0 for the others.",
        ("service", "state"),
        {
            (name, state): float(service.breaker == state)
            for name, service in services
            for state in BREAKER_STATES
        },
    )
