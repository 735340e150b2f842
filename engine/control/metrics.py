"""`GET /metrics`: derived at scrape time, so that every API process shows the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from engine.control import figures
from engine.control.desk import RECENT, Desk
from engine.control.signs import Signs, read_signs
from engine.domain.ledger_values import LedgerState
from engine.domain.model import TradingState
from engine.domain.views import Rates
from engine.errors import LedgerUnavailable
from engine.version import VERSION

PREFIX = "trading_engine_"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
QUANTILES = (0.5, 0.95, 0.99)
BREAKER_STATES = ("closed", "open", "half-open")
MEGABYTE = 1024 * 1024
Labels = tuple[str, ...]
PERCENT = 100


def register(registry: CollectorRegistry, desk: Desk) -> None:
    """Show the engine's metrics in this registry."""
    registry.register(EngineCollector(desk))


class EngineCollector(Collector):
    """Reads ledger and vital signs at each scrape. A part that does not answer is left out."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: registering must not ask the ledger."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric, as of now."""
        settings = self._desk.engine.settings.trading_engine
        yield _gauges(
            "info",
            "Version, account and mode.",
            ("version", "account", "mode"),
            {(VERSION, settings.account, settings.mode): 1.0},
        )
        yield from _of_signs(read_signs(self._desk))
        try:
            yield from self._of_ledger()
        except LedgerUnavailable:
            yield _gauge("ledger_up", "Whether the ledger answers.", 0.0)

    def _of_ledger(self) -> list[Metric]:
        queries, now = self._desk.queries, self._desk.engine.clock.now()
        state = self._desk.engine.ledger.state.read()
        return [
            _gauge("ledger_up", "Whether the ledger answers.", 1.0),
            *_of_state(state),
            *_of_all_time(queries.rates(BEGINNING)),
            *_of_recent(queries.rates(now - RECENT)),
            *_of_account(self._desk),
        ]


def _of_state(state: LedgerState) -> Iterator[Metric]:
    yield _gauges(
        "trading_state",
        "1 for the effective trading state, 0 for the others.",
        ("state",),
        {(each.value,): float(state.effective is each) for each in TradingState},
    )
    running = float(state.schedule_running)
    yield _gauge("schedule_running", "Whether cycles are wanted on schedule.", running)


def _of_all_time(rates: Rates) -> Iterator[Metric]:
    yield _counter("cycles", "Cycles by status.", "status", rates.cycles_by_status)
    yield _gauges(
        "orders",
        "Orders of all time by their present status.",
        ("status",),
        {(status,): float(count) for status, count in rates.orders_by_status.items()},
    )
    submitted, filled = rates.orders_submitted, rates.orders_filled
    yield CounterMetricFamily(f"{PREFIX}orders_submitted", "Orders sent.", value=submitted)
    yield CounterMetricFamily(f"{PREFIX}orders_filled", "Orders with a fill.", value=filled)
    yield _gauge("alerts_open", "Alerts that are open.", float(rates.alerts_open))


def _of_recent(rates: Rates) -> Iterator[Metric]:
    quantiles: dict[Labels, float | None] = {
        (f"{share:g}",): figures.quantile(rates.durations_s, share) for share in QUANTILES
    }
    yield _gauges(
        "cycle_duration_seconds",
        "Seconds of a cycle, over the latest 500 of 24 h.",
        ("quantile",),
        quantiles,
    )
    yield _gauges(
        "step_duration_seconds",
        "Seconds of each step of the last closed cycle.",
        ("step",),
        {(step,): seconds for step, seconds in rates.step_seconds.items()},
    )
    figures_of_day = {
        "last_cycle_duration_seconds": (
            "Seconds of the last cycle that ran.",
            rates.durations_s[0] if rates.durations_s else None,
        ),
        "symbols_per_cycle": ("Symbols of a cycle, mean of 24 h.", rates.symbols_per_cycle),
        "cycle_success_ratio": (
            "COMPLETED cycles by all that ended, 24 h.",
            figures.cycle_success_rate(rates.cycles_by_status),
        ),
        "trade_success_ratio": (
            "Orders with a fill by orders sent, 24 h.",
            figures.ratio(rates.orders_filled, rates.orders_submitted),
        ),
    }
    for name, (text, value) in figures_of_day.items():
        if value is not None:
            yield _gauge(name, text, value)


def _of_account(desk: Desk) -> Iterator[Metric]:
    snapshot = desk.engine.ledger.state.last_snapshot()
    if snapshot is None:
        return
    held = sum(position.quantity > 0 for position in snapshot.positions)
    yield _gauge("positions_open", "Positions held.", float(held))
    for name, amount in (("equity", snapshot.equity), ("cash", snapshot.cash)):
        labels: dict[Labels, float | None] = {(snapshot.currency,): float(amount)}
        yield _gauges(f"account_{name}", f"The account's {name}.", ("currency",), labels)


def _of_signs(signs: Signs) -> Iterator[Metric]:
    yield _gauge("redis_up", "Whether Redis answers.", float(signs.checks["redis"].status == "ok"))
    yield _gauge("beat_up", "Whether beat ticks.", float(signs.beat.alive))
    yield _gauges(
        "queue_messages",
        "Messages that wait.",
        ("queue",),
        {(name,): float(depth) for name, depth in signs.queues.items()},
    )
    yield from _of_processes(signs)
    services = signs.services.items()
    yield _gauges(
        "service_error_ratio",
        "Failed calls by calls of a service, 5 minutes.",
        ("service",),
        {(name,): service.error_rate for name, service in services},
    )
    yield _gauges(
        "service_latency_seconds",
        "Seconds of a service's latest calls.",
        ("service",),
        {
            (name,): None if service.latency_ms is None else service.latency_ms / 1000
            for name, service in services
        },
    )
    yield _gauges(
        "service_breaker_state",
        "1 for the state of a service's circuit, 0 for the others.",
        ("service", "state"),
        {
            (name, state): float(service.breaker == state)
            for name, service in services
            for state in BREAKER_STATES
        },
    )


def _of_processes(signs: Signs) -> Iterator[Metric]:
    labels = ("worker", "process", "pid")
    yield _gauges(
        "process_cpu_ratio",
        "CPU of a process, 1 is one core.",
        labels,
        {
            (each.worker, each.name, str(each.pid)): each.cpu_percent / PERCENT
            for each in signs.processes
        },
    )
    yield _gauges(
        "process_memory_bytes",
        "Resident memory of a process.",
        labels,
        {
            (each.worker, each.name, str(each.pid)): each.memory_mb * MEGABYTE
            for each in signs.processes
        },
    )
    yield _gauges(
        "worker_active_tasks",
        "Tasks that a worker works on.",
        ("worker",),
        {(worker.name,): float(worker.active) for worker in signs.workers},
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", text, value=value)


def _gauges(
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Mapping[Labels, float | None] | Mapping[Labels, float],
) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=labels)
    for names, value in values.items():
        if value is not None:
            family.add_metric(names, value)
    return family


def _counter(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}{name}", text, labels=(label,))
    for value, count in values.items():
        family.add_metric((value,), count)
    return family
