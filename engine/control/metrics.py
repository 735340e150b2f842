"""`GET /metrics`: derived at scrape time, so that every API process shows the same."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from engine.control import figures
from engine.control.desk import RECENT, Desk
from engine.control.limits import limits_used
from engine.control.metric_families import (
    Labels,
    counter,
    counters,
    gauge,
    gauges,
    summary,
)
from engine.control.metrics_of_signs import of_signs
from engine.control.signs import read_signs
from engine.control.status import is_simulated, market_time, portfolio_state
from engine.domain.alerts import KINDS
from engine.domain.cycle import CycleStatus
from engine.domain.ledger_values import LedgerState
from engine.domain.model import OrderStatus, PortfolioSnapshot, TradingState
from engine.domain.quality import FAULT_WORDS
from engine.domain.views import Rates
from engine.errors import LedgerUnavailable
from engine.version import VERSION

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
QUANTILES = (0.5, 0.95, 0.99)
NEVER = 0.0


def register(registry: CollectorRegistry, desk: Desk) -> None:
    """Show the engine's metrics in this registry."""
    registry.register(EngineCollector(desk))


class EngineCollector(Collector):
    """Reads ledger and vital signs at each scrape. A part that does not answer is left out."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._decisions: Counter[Labels] = Counter()
        self._read_up_to = 0
        self._counting = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: registering must not ask the ledger."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric, as of now."""
        settings = self._desk.engine.settings.trading_engine
        yield gauges(
            "info",
            "Version, account and mode.",
            ("version", "account", "mode"),
            {(VERSION, settings.account, settings.mode): 1.0},
        )
        interval = "Seconds from cycle to cycle, as configured."
        yield gauge("cycle_interval_seconds", interval, settings.cycle_interval)
        yield from of_signs(read_signs(self._desk))
        began = time.perf_counter()
        try:
            self._desk.engine.ledger.ping()
            seconds = time.perf_counter() - began
            yield from self._of_ledger(seconds)
        except LedgerUnavailable:
            yield gauge("ledger_up", "Whether the ledger answers.", 0.0)

    def _of_ledger(self, seconds: float) -> list[Metric]:
        desk, now = self._desk, self._desk.engine.clock.now()
        state = desk.engine.ledger.state.read()
        return [
            gauge("ledger_up", "Whether the ledger answers.", 1.0),
            gauge("ledger_latency_seconds", "Seconds of the ledger's answer.", seconds),
            *_of_state(state),
            *_of_all_time(desk.queries.rates(BEGINNING), desk.queries.orders_by_status()),
            *_of_recent(desk.queries.rates(now - RECENT)),
            *_of_cycles(desk, state),
            *_of_account(desk),
            _alerts(desk, now),
            self._of_decisions(),
        ]

    def _of_decisions(self) -> Metric:
        """Counted on from the last scrape: what was decided is never changed."""
        with self._counting:
            fresh = self._desk.queries.decisions_after(self._read_up_to)
            self._decisions.update(fresh.counts)
            self._read_up_to = fresh.number
            counts = dict(self._decisions)
        text = "Candidates of closed cycles by verdict and the rule that bound."
        return counters("decisions", text, ("verdict", "rule"), counts)


def _of_state(state: LedgerState) -> Iterator[Metric]:
    yield gauges(
        "trading_state",
        "1 for the effective trading state, 0 for the others.",
        ("state",),
        {(each.value,): float(state.effective is each) for each in TradingState},
    )
    yield gauges(
        "latched_cause",
        "1 for each cause that only a resume releases.",
        ("cause",),
        {(latch.cause,): 1.0 for latch in state.latched},
    )
    running = float(state.schedule_running)
    yield gauge("schedule_running", "Whether cycles are wanted on schedule.", running)


def _of_all_time(rates: Rates, orders: dict[str, int]) -> Iterator[Metric]:
    ended = [(each.value,) for each in CycleStatus if each is not CycleStatus.RUNNING]
    known = {(status,): count for status, count in rates.cycles_by_status.items()}
    counts: dict[Labels, int] = {labels: known.get(labels, 0) for labels in ended}
    yield counters("cycles", "Cycles that ended, by status.", ("status",), counts)
    yield gauges(
        "orders",
        "Orders of all time by their present status.",
        ("status",),
        {(each.value,): float(orders.get(each.value, 0)) for each in OrderStatus},
    )
    yield counter("orders_submitted", "Orders sent.", rates.orders_submitted)
    yield counter("orders_filled", "Orders with a fill.", rates.orders_filled)


def _of_recent(rates: Rates) -> Iterator[Metric]:
    yield summary(
        "cycle_duration_seconds",
        "Seconds of a cycle, over the latest 500 of 24 h.",
        {share: figures.quantile(rates.durations_s, share) for share in QUANTILES},
    )
    yield gauges(
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
            yield gauge(name, text, value)


def _of_cycles(desk: Desk, state: LedgerState) -> Iterator[Metric]:
    """When cycles were last wanted and begun; 0 stands for never."""
    last, current = desk.queries.last_cycle(), desk.queries.current_cycle()
    begun = [report.started_at for report in (last, current and current.report) if report]
    yield gauge(
        "last_cycle_start_timestamp_seconds",
        "When the newest cycle began, Unix time.",
        max((at.timestamp() for at in begun), default=NEVER),
    )
    yield gauge(
        "schedule_set_timestamp_seconds",
        "When the schedule was last started or stopped, Unix time.",
        NEVER if state.schedule_set_at is None else state.schedule_set_at.timestamp(),
    )
    yield gauges(
        "last_cycle_status",
        "1 for the status of the last cycle that ran.",
        ("status",),
        {
            (each.value,): float(last is not None and last.status is each)
            for each in CycleStatus
            if each is not CycleStatus.RUNNING
        },
    )
    skips = {} if last is None else last.skips
    yield gauges(
        "symbols_skipped",
        "Symbols that the last cycle skipped, by the kind of fault.",
        ("reason",),
        {(word,): float(skips.get(word, 0)) for word in FAULT_WORDS},
    )
    simulated = is_simulated(desk.engine.settings, last)
    yield gauge("simulated", "Whether prices are replayed or made up.", float(simulated))


def _of_account(desk: Desk) -> Iterator[Metric]:
    snapshot = desk.engine.ledger.state.last_snapshot()
    if snapshot is None:
        return
    known = portfolio_state(snapshot)
    yield gauge("positions_open", "Positions held.", float(known.positions))
    amounts = {"equity": known.equity, "cash": known.cash, "day_pnl": known.day_pnl}
    texts = {"day_pnl": "Profit and loss since the market day began, unrealised included."}
    for name, amount in amounts.items():
        labels: dict[Labels, float | None] = {(snapshot.currency,): float(amount)}
        text = texts.get(name, f"The account's {name}.")
        yield gauges(f"account_{name}", text, ("currency",), labels)
    drawdown = float(known.drawdown)
    yield gauge("account_drawdown_ratio", "Below the highest equity, as a fraction.", drawdown)
    age = (desk.engine.clock.now() - snapshot.as_of).total_seconds()
    yield gauge("account_age_seconds", "Age of the account as last read.", max(age, 0.0))
    yield from _of_limits(desk, snapshot)


def _of_limits(desk: Desk, snapshot: PortfolioSnapshot) -> Iterator[Metric]:
    at = market_time(desk.queries.current_cycle(), desk.queries.last_cycle())
    known = limits_used(desk, snapshot, at)
    used = {(each.name,): float(each.used) for each in known}
    most = {(each.name,): float(each.limit) for each in known}
    yield gauges("limit_used", "How much of each limit is used, in its unit.", ("limit",), used)
    yield gauges("limit_allowed", "The limits of the account.", ("limit",), most)


def _alerts(desk: Desk, now: datetime) -> Metric:
    """Open alerts by name; those that the engine knows are shown as 0 too."""
    counts: dict[Labels, float] = {(kind.name, kind.severity): 0.0 for kind in KINDS.values()}
    for alert in desk.queries.alerts_since(now + timedelta(days=1)):
        labels = (alert.name, alert.severity)
        counts[labels] = counts.get(labels, 0.0) + 1
    return gauges("alerts_open", "Alerts that are open.", ("alert", "severity"), counts)
