"""`GET /performance`: how the account and the cycles did over a span."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from engine.control import figures
from engine.control.desk import Desk
from engine.domain import performance as measures
from engine.domain.account_history import EquityAt
from engine.domain.model import Value
from engine.domain.performance import Performance, Point

MAX_CURVE = 1000
HOURS = {"h": 1, "d": 24}
EVERY_CYCLE = timedelta(days=1)


class CycleSeconds(Value, frozen=True, kw_only=True):
    """Seconds of the latest cycles."""

    p50: float | None
    p95: float | None
    p99: float | None


class PerformanceAnswer(Performance, frozen=True, kw_only=True):
    """`GET /performance`. Account figures span market time, cycles and calls wall time."""

    window: str
    since: datetime | None
    currency: str
    equity_curve: tuple[EquityAt, ...]
    cycles: int
    cycle_success_rate: float | None
    trade_success_rate: float | None
    error_rates: dict[str, float | None]
    cycle_seconds: CycleSeconds
    symbols_per_cycle: float | None


def performance(desk: Desk, window: str) -> PerformanceAnswer:
    """The figures of `24h`, `30d` or `all`, back from now. Raises LedgerUnavailable."""
    engine = desk.engine.settings.trading_engine
    span = length(window)
    market_now = desk.account.market_now()
    since = None if span is None or market_now is None else market_now - span
    # Figures are those of the last cycle in each candle; a day's curve shows every cycle.
    is_short = span is not None and span <= EVERY_CYCLE
    each = None if is_short else timedelta(seconds=engine.timeframe_s)
    curve = desk.account.equity_points(since, each)
    points = (Point(point.time, point.equity) for point in curve if point.equity > 0)
    measured = measures.measure(
        measures.last_of_each(measures.curve_of(points), engine.timeframe_s),
        desk.account.fills_since(since),
        periods_per_year=measures.periods_per_year(engine.timeframe_s),
    )
    now = desk.engine.clock.now()
    rates = desk.queries.rates(now - (span or now - datetime.min.replace(tzinfo=now.tzinfo)))
    return PerformanceAnswer(
        **msgspec.structs.asdict(measured),
        window=window,
        since=since,
        currency=engine.account_currency,
        equity_curve=thinned(curve),
        cycles=figures.cycles_ended(rates.cycles_by_status),
        cycle_success_rate=figures.cycle_success_rate(rates.cycles_by_status),
        trade_success_rate=figures.ratio(rates.orders_filled, rates.orders_submitted),
        error_rates={
            name: rates_of.error_rate for name, rates_of in desk.vitals.call_rates().items()
        },
        cycle_seconds=CycleSeconds(
            p50=figures.quantile(rates.durations_s, 0.5),
            p95=figures.quantile(rates.durations_s, 0.95),
            p99=figures.quantile(rates.durations_s, 0.99),
        ),
        symbols_per_cycle=rates.symbols_per_cycle,
    )


def length(window: str) -> timedelta | None:
    """`24h` or `30d` as a duration; None for `all`."""
    if window == "all":
        return None
    return timedelta(hours=int(window[:-1]) * HOURS[window[-1]])


def thinned(curve: Sequence[EquityAt]) -> tuple[EquityAt, ...]:
    """At most 1,000 points, evenly chosen, the last one always among them."""
    if len(curve) <= MAX_CURVE:
        return tuple(curve)
    step = (len(curve) - 1) / (MAX_CURVE - 1)
    return tuple(curve[round(index * step)] for index in range(MAX_CURVE))
