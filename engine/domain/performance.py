"""Equity curve and fills -> return, risk, and how trades went.

Statistics are floats, money is Decimal. A figure that has no meaning for the input (no
volatility, no closed trade, less than two points) is None, never 0 or infinity. Returns are
those from point to point; annual figures take `periods_per_year` of them. The caller chooses the
spacing: points as they are (`periods_per_year(timeframe_s)`), or one a day (`daily`, 365 for
markets that never close, 252 for exchanges).

Sources: W. F. Sharpe, "The Sharpe Ratio" (Journal of Portfolio Management, 1994); F. A. Sortino
and L. N. Price, "Performance Measurement in a Downside Risk Framework" (Journal of Investing,
1994); T. W. Young, "Calmar Ratio: A Smoother Tool" (Futures, 1991); drawdown and its length as in
M. Magdon-Ismail and A. Atiya, "Maximum Drawdown" (Risk, 2004). The risk-free rate is 0. Figures of
trades: `engine.domain.trades`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain import trades as round_trips
from engine.domain.model import Fill, Value
from engine.domain.trades import Trade, TradeFigures, signed, total

SECONDS_PER_YEAR = 365 * 86400
DAY_S = 86400
Floats = NDArray[np.float64]


class Point(NamedTuple):
    """Equity at one instant of market time."""

    time: datetime
    equity: Decimal


class Curve(NamedTuple):
    """Equity over market time: columns of one length, times (epoch seconds) ascending."""

    time: Floats
    equity: Floats

    @property
    def span_s(self) -> float:
        """Seconds from the first to the last point."""
        return float(self.time[-1] - self.time[0])


class Drawdown(NamedTuple):
    """Falls from a peak: the deepest (a negative fraction), how long it and the longest took."""

    depth: float
    depth_s: float
    longest_s: float


class Performance(Value, frozen=True, kw_only=True):
    """Figures of one span. Fractions are of equity, `max_drawdown` is negative or 0.

    `max_drawdown_s` is the length of that drawdown, from its peak to its recovery or the end;
    `longest_drawdown_s` that of the one that lasted longest, however deep.
    """

    total_return: float | None
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float | None
    max_drawdown_s: float | None
    longest_drawdown_s: float | None
    trades: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: Decimal | None
    exposure: float | None
    turnover: float | None
    fees: Decimal
    by_strategy: dict[str, TradeFigures] = {}
    by_symbol: dict[str, TradeFigures] = {}


def curve_of(points: Iterable[Point]) -> Curve:
    """The points (ascending times) as columns."""
    rows = [(point.time.timestamp(), float(point.equity)) for point in points]
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 2)
    return Curve(table[:, 0], table[:, 1])


def measure(
    curve: Curve,
    fills: Sequence[Fill],
    *,
    periods_per_year: float,
    fine: Curve | None = None,
    closed: Sequence[Trade] | None = None,
) -> Performance:
    """All figures of an equity curve (positive equity) and its fills.

    `fine` is the same curve with every point, where `curve` has only some of them (one a day):
    return, drawdown, exposure and turnover are of it, since a day's low matters. `closed` are the
    trades of the fills, where they are known already.
    """
    whole = curve if fine is None else fine
    equity = curve.equity
    returns = equity[1:] / equity[:-1] - 1.0
    growth = cagr(equity, periods_per_year)
    fall = drawdown(whole) if len(whole.equity) > 1 else None
    if closed is None:
        closed = round_trips.closed_trades(fills)
    figures = round_trips.figures_of(closed)
    return Performance(
        total_return=total_return(whole),
        cagr=growth,
        volatility=volatility(returns, periods_per_year),
        sharpe=sharpe(returns, periods_per_year),
        sortino=sortino(returns, periods_per_year),
        calmar=calmar(growth, fall),
        max_drawdown=None if fall is None else fall.depth,
        max_drawdown_s=None if fall is None else fall.depth_s,
        longest_drawdown_s=None if fall is None else fall.longest_s,
        trades=figures.trades,
        win_rate=figures.win_rate,
        profit_factor=figures.profit_factor,
        expectancy=figures.expectancy,
        exposure=exposure(whole, fills),
        turnover=turnover(whole, fills),
        fees=total(fill.fee for fill in fills),
        by_strategy=round_trips.by_strategy(closed),
        by_symbol=round_trips.by_symbol(closed),
    )


def periods_per_year(timeframe_s: int) -> float:
    """How many candles of `timeframe_s` seconds a year of a market that never closes has."""
    return SECONDS_PER_YEAR / timeframe_s


def last_of_each(curve: Curve, span_s: int) -> Curve:
    """The last point of each span of so many seconds since 1970."""
    spans = curve.time // span_s
    last = np.ones(len(spans), dtype=np.bool_)
    last[:-1] = spans[1:] != spans[:-1]
    return Curve(curve.time[last], curve.equity[last])


def daily(curve: Curve) -> Curve:
    """The last point of each UTC day."""
    return last_of_each(curve, DAY_S)


def total_return(curve: Curve) -> float | None:
    """Last / first - 1."""
    if len(curve.equity) <= 1:
        return None
    return float(curve.equity[-1] / curve.equity[0] - 1.0)


def cagr(equity: Floats, periods_per_year: float) -> float | None:
    """(last / first) ** (periods a year / periods) - 1: the compound annual growth rate."""
    if len(equity) <= 1:
        return None
    years = (len(equity) - 1) / periods_per_year
    return _number(np.power(equity[-1] / equity[0], 1.0 / years) - 1.0)


def volatility(returns: Floats, periods_per_year: float) -> float | None:
    """Sample standard deviation (n - 1) of the returns x sqrt(periods a year)."""
    if len(returns) <= 1:
        return None
    return float(np.std(returns, ddof=1) * np.sqrt(periods_per_year))


def sharpe(returns: Floats, periods_per_year: float) -> float | None:
    """Mean / sample standard deviation of the returns x sqrt(periods a year) (Sharpe 1994)."""
    if len(returns) <= 1:
        return None
    return _ratio(float(np.mean(returns)), float(np.std(returns, ddof=1)), periods_per_year)


def sortino(returns: Floats, periods_per_year: float) -> float | None:
    """Mean / downside deviation x sqrt(periods a year) (Sortino and Price 1994).

    The downside deviation is the root mean square of min(return, 0) over all periods.
    """
    if len(returns) <= 1:
        return None
    downside = float(np.sqrt(np.mean(np.square(np.minimum(returns, 0.0)))))
    return _ratio(float(np.mean(returns)), downside, periods_per_year)


def drawdown(curve: Curve) -> Drawdown:
    """Depth: least equity / highest equity before it - 1. Length: time from peak to recovery.

    Recovered is a fall at the first point that is no lower than its peak; one that has not
    recovered lasts until the last point.
    """
    time, equity = curve
    peaks = np.maximum.accumulate(equity)
    at_peak = np.flatnonzero(equity == peaks)
    if len(at_peak) == len(equity):
        return Drawdown(0.0, 0.0, 0.0)
    ends = np.append(at_peak[1:], len(equity) - 1)
    has_fallen = (ends - at_peak > 1) | ((ends > at_peak) & (equity[ends] < equity[at_peak]))
    lengths = np.where(has_fallen, time[ends] - time[at_peak], 0.0)
    falls = equity / peaks - 1.0
    deepest = int(np.argmin(falls))
    of_deepest = int(np.searchsorted(at_peak, deepest, side="right")) - 1
    return Drawdown(float(falls[deepest]), float(lengths[of_deepest]), float(lengths.max()))


def calmar(growth: float | None, fall: Drawdown | None) -> float | None:
    """Compound annual growth rate / |max drawdown| (Young 1991)."""
    if growth is None or fall is None or fall.depth == 0.0:
        return None
    return growth / -fall.depth


def exposure(curve: Curve, fills: Sequence[Fill]) -> float | None:
    """Share of the span, in time, in which anything was held."""
    if len(curve.time) <= 1:
        return None
    first, last = float(curve.time[0]), float(curve.time[-1])
    held: dict[str, Decimal] = {}
    exposed_s, since = 0.0, None
    for fill in sorted(fills, key=lambda each: each.seq):
        quantity = held.pop(fill.symbol, Decimal(0)) + signed(fill)
        if quantity > 0:
            held[fill.symbol] = quantity
        at = min(max(fill.filled_at.timestamp(), first), last)
        if since is not None and not held:
            exposed_s, since = exposed_s + at - since, None
        elif since is None and held:
            since = at
    if since is not None:
        exposed_s += last - since
    return exposed_s / curve.span_s


def turnover(curve: Curve, fills: Sequence[Fill]) -> float | None:
    """Traded value, bought and sold, / mean equity of the points."""
    if len(curve.equity) == 0:
        return None
    mean = float(np.mean(curve.equity))
    traded = total(fill.value for fill in fills)
    return float(traded) / mean if mean > 0 else None


def _ratio(mean: float, deviation: float, periods_per_year: float) -> float | None:
    # Equal returns leave a deviation of rounding errors, which is none.
    if deviation <= abs(mean) * 1e-12:
        return None
    return mean / deviation * float(np.sqrt(periods_per_year))


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
