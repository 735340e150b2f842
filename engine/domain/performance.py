"""Equity curve and fills -> return, risk, and how trades went.

Statistics are floats, money is Decimal. A figure that has no meaning for the input (no
volatility, no closed trade, less than two points) is None, never 0 or infinity. Returns are
those from point to point; annual figures take `periods_per_year` of them. The caller chooses the
spacing: points as they are (`periods_per_year(timeframe_s)`), or one a day
(`daily_points`, 365 for markets that never close, 252 for exchanges).

Sources: W. F. Sharpe, "The Sharpe Ratio" (Journal of Portfolio Management, 1994); F. A. Sortino
and L. N. Price, "Performance Measurement in a Downside Risk Framework" (Journal of Investing,
1994); T. W. Young, "Calmar Ratio: A Smoother Tool" (Futures, 1991). The risk-free rate is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain.amounts import EXACT
from engine.domain.model import Fill, Side, Value

SECONDS_PER_YEAR = 365 * 86400
Floats = NDArray[np.float64]


class Point(NamedTuple):
    """Equity at one instant of market time."""

    time: datetime
    equity: Decimal


class Trade(Value, frozen=True, kw_only=True):
    """A round trip of one symbol, from flat to flat. `profit` is net of its fees.

    `quantity` is all that was bought; `entry_order` and `exit_order` are the first and last fill's.
    """

    symbol: str
    strategy: str
    opened_at: datetime
    closed_at: datetime
    bought: Decimal
    sold: Decimal
    fees: Decimal
    quantity: Decimal = Decimal(0)
    entry_order: str = ""
    exit_order: str = ""

    @property
    def profit(self) -> Decimal:
        """What the round trip earned, in account currency."""
        return EXACT.subtract(EXACT.subtract(self.sold, self.bought), self.fees)


class Drawdown(NamedTuple):
    """The deepest fall from a peak (a negative fraction) and the longest time under a peak."""

    depth: float
    longest_s: float


class Performance(Value, frozen=True, kw_only=True):
    """Figures of one span. Fractions are of equity, `max_drawdown` is negative or 0."""

    total_return: float | None
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float | None
    longest_drawdown_s: float | None
    trades: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: Decimal | None
    exposure: float | None
    turnover: float | None
    fees: Decimal


def measure(
    points: Sequence[Point], fills: Sequence[Fill], *, periods_per_year: float
) -> Performance:
    """All figures of an equity curve (ascending times, positive equity) and its fills."""
    equity = np.asarray([float(point.equity) for point in points], dtype=np.float64)
    returns = equity[1:] / equity[:-1] - 1.0
    growth = cagr(equity, periods_per_year)
    fall = drawdown(points) if len(points) > 1 else None
    trades = closed_trades(fills)
    return Performance(
        total_return=float(equity[-1] / equity[0] - 1.0) if len(points) > 1 else None,
        cagr=growth,
        volatility=volatility(returns, periods_per_year),
        sharpe=sharpe(returns, periods_per_year),
        sortino=sortino(returns, periods_per_year),
        calmar=calmar(growth, fall),
        max_drawdown=None if fall is None else fall.depth,
        longest_drawdown_s=None if fall is None else fall.longest_s,
        trades=len(trades),
        win_rate=win_rate(trades),
        profit_factor=profit_factor(trades),
        expectancy=expectancy(trades),
        exposure=exposure(points, fills),
        turnover=turnover(points, fills),
        fees=sum((fill.fee for fill in fills), Decimal(0)),
    )


def periods_per_year(timeframe_s: int) -> float:
    """How many candles of `timeframe_s` seconds a year of a market that never closes has."""
    return SECONDS_PER_YEAR / timeframe_s


def daily_points(points: Iterable[Point]) -> list[Point]:
    """The last point of each UTC day, ascending."""
    days = {point.time.astimezone(UTC).date(): point for point in points}
    return [days[day] for day in sorted(days)]


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


def drawdown(points: Sequence[Point]) -> Drawdown:
    """Depth: least equity / highest equity before it - 1. Length: longest time below a peak.

    A fall that has not recovered lasts until the last point.
    """
    peak, peak_at = points[0].equity, points[0].time
    depth, longest_s = 0.0, 0.0
    below = False
    for time, equity in points:
        if below:
            longest_s = max(longest_s, (time - peak_at).total_seconds())
        if equity >= peak:
            peak, peak_at, below = equity, time, False
        else:
            depth, below = min(depth, float(equity / peak) - 1.0), True
            longest_s = max(longest_s, (time - peak_at).total_seconds())
    return Drawdown(depth, longest_s)


def calmar(growth: float | None, fall: Drawdown | None) -> float | None:
    """Compound annual growth rate / |max drawdown| (Young 1991)."""
    if growth is None or fall is None or fall.depth == 0.0:
        return None
    return growth / -fall.depth


def closed_trades(fills: Iterable[Fill]) -> list[Trade]:
    """Round trips from flat to flat per symbol, in the order they closed; fills by seq.

    Sells of what these fills never bought (a span that begins with a holding) are left out.
    """
    open_fills: dict[str, list[Fill]] = {}
    held: dict[str, Decimal] = {}
    trades: list[Trade] = []
    for fill in sorted(fills, key=lambda each: each.seq):
        before = held.get(fill.symbol, Decimal(0))
        after = EXACT.add(before, _signed(fill))
        if after < 0:
            continue
        held[fill.symbol] = after
        open_fills.setdefault(fill.symbol, []).append(fill)
        if after == 0:
            trades.append(_trade(open_fills.pop(fill.symbol)))
    return trades


def win_rate(trades: Sequence[Trade]) -> float | None:
    """Closed trades with a profit / closed trades."""
    if not trades:
        return None
    return sum(trade.profit > 0 for trade in trades) / len(trades)


def profit_factor(trades: Sequence[Trade]) -> float | None:
    """Sum of profits / sum of losses of closed trades; None without a loss."""
    lost = -sum(min(trade.profit, Decimal(0)) for trade in trades)
    won = sum(max(trade.profit, Decimal(0)) for trade in trades)
    return float(won / lost) if lost > 0 else None


def expectancy(trades: Sequence[Trade]) -> Decimal | None:
    """Mean profit of a closed trade, in account currency."""
    if not trades:
        return None
    return sum((trade.profit for trade in trades), Decimal(0)) / len(trades)


def exposure(points: Sequence[Point], fills: Sequence[Fill]) -> float | None:
    """Share of the span, in time, in which anything was held."""
    if len(points) <= 1:
        return None
    first, last = points[0].time, points[-1].time
    held: dict[str, Decimal] = {}
    exposed_s, since = 0.0, None
    for fill in sorted(fills, key=lambda each: each.seq):
        held[fill.symbol] = EXACT.add(held.get(fill.symbol, Decimal(0)), _signed(fill))
        at = min(max(fill.filled_at, first), last)
        holds = any(quantity > 0 for quantity in held.values())
        if since is not None and not holds:
            exposed_s, since = exposed_s + (at - since).total_seconds(), None
        elif since is None and holds:
            since = at
    if since is not None:
        exposed_s += (last - since).total_seconds()
    return exposed_s / (last - first).total_seconds()


def turnover(points: Sequence[Point], fills: Sequence[Fill]) -> float | None:
    """Traded value, bought and sold, / mean equity of the points."""
    if not points:
        return None
    mean = sum((point.equity for point in points), Decimal(0)) / len(points)
    traded = sum((fill.value for fill in fills), Decimal(0))
    return float(traded / mean) if mean > 0 else None


def _signed(fill: Fill) -> Decimal:
    return fill.quantity if fill.side is Side.BUY else -fill.quantity


def _trade(fills: Sequence[Fill]) -> Trade:
    def total(side: Side) -> Decimal:
        values = (EXACT.multiply(each.quantity, each.price) for each in fills if each.side is side)
        return sum(values, Decimal(0))

    return Trade(
        symbol=fills[0].symbol,
        strategy=fills[0].strategy,
        opened_at=fills[0].filled_at,
        closed_at=fills[-1].filled_at,
        bought=total(Side.BUY),
        sold=total(Side.SELL),
        fees=sum((each.fee for each in fills), Decimal(0)),
        quantity=sum((each.quantity for each in fills if each.side is Side.BUY), Decimal(0)),
        entry_order=fills[0].client_order_id,
        exit_order=fills[-1].client_order_id,
    )


def _ratio(mean: float, deviation: float, periods_per_year: float) -> float | None:
    # Equal returns leave a deviation of rounding errors, which is none.
    if deviation <= abs(mean) * 1e-12:
        return None
    return mean / deviation * float(np.sqrt(periods_per_year))


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
