"""From fills and equity to trades and metrics, by the formulas of `engine.domain.performance`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from engine.domain import performance
from engine.domain.amounts import EXACT, plain, text
from engine.domain.model import Value
from engine.domain.performance import Performance, Point, Trade
from replay.account import ReplayAccount
from replay.history import moment

PRICE_STEP = Decimal("1e-12")
EVERY_DAY = 365
TRADING_DAYS = 252
# Markets that close at weekends trade on fewer days than this share.
NEVER_CLOSED = 0.9


class TradeRow(Value, frozen=True, kw_only=True):
    """A round trip; times are the open times of the candles that it was filled in."""

    symbol: str
    strategy: str
    side: str
    quantity: Decimal
    entry_time: datetime
    entry_price: Decimal
    exit_time: datetime
    exit_price: Decimal
    exit_reason: str
    fees: Decimal
    profit: Decimal


class Results(Value, frozen=True, kw_only=True):
    """What a replay led to. `days_per_year` is what the annual figures count with."""

    trades: tuple[TradeRow, ...]
    points: tuple[Point, ...]
    cash: tuple[Decimal, ...]
    performance: Performance
    days_per_year: int


def results_of(account: ReplayAccount) -> Results:
    """Everything that is written and shown; annual figures are of daily points."""
    points = account.points
    days = days_per_year(points)
    daily = performance.daily_points(points)
    overall = performance.measure(daily, account.fills, periods_per_year=days)
    fine = performance.drawdown(points)
    trades = performance.closed_trades(account.fills)
    return Results(
        trades=tuple(_row(trade, account) for trade in trades),
        points=tuple(points),
        cash=tuple(account.cash),
        performance=_with_fine_drawdown(overall, points, account, fine),
        days_per_year=days,
    )


def days_per_year(points: Sequence[Point]) -> int:
    """365 for a market that never closes, else 252."""
    days = {point.time.astimezone(UTC).date() for point in points}
    span = (max(days) - min(days)).days + 1
    return EVERY_DAY if len(days) >= NEVER_CLOSED * span else TRADING_DAYS


def metrics(results: Results) -> dict[str, object]:
    """The figures by name; None where one has no meaning."""
    figures = results.performance
    named: dict[str, object] = {"final_equity": float(results.points[-1].equity)}
    names = (
        *("total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown"),
        *("trades", "win_rate", "profit_factor", "expectancy", "fees", "exposure", "turnover"),
        "longest_drawdown_s",
    )
    for name in names:
        value = getattr(figures, name)
        named[name] = float(value) if isinstance(value, Decimal) else value
    named["days_per_year"] = results.days_per_year
    named["by_strategy"] = _grouped(results.trades, "strategy")
    named["by_symbol"] = _grouped(results.trades, "symbol")
    return named


def _with_fine_drawdown(
    figures: Performance,
    points: Sequence[Point],
    account: ReplayAccount,
    fall: performance.Drawdown,
) -> Performance:
    """Depth, exposure and turnover of every point, not of days: a day's low matters."""
    fields = {name: getattr(figures, name) for name in Performance.__struct_fields__}
    fields |= {
        "total_return": float(points[-1].equity / points[0].equity) - 1.0,
        "max_drawdown": fall.depth,
        "longest_drawdown_s": fall.longest_s,
        "calmar": performance.calmar(figures.cagr, fall),
        "exposure": performance.exposure(points, account.fills),
        "turnover": performance.turnover(points, account.fills),
    }
    return Performance(**fields)


def _grouped(trades: Sequence[TradeRow], name: str) -> dict[str, dict[str, object]]:
    groups: dict[str, list[TradeRow]] = {}
    for trade in trades:
        groups.setdefault(getattr(trade, name), []).append(trade)
    return {key: _group(groups[key]) for key in sorted(groups)}


def _group(trades: Sequence[TradeRow]) -> dict[str, object]:
    profits = [trade.profit for trade in trades]
    won = sum((profit for profit in profits if profit > 0), Decimal(0))
    lost = -sum((profit for profit in profits if profit < 0), Decimal(0))
    return {
        "trades": len(trades),
        "win_rate": sum(profit > 0 for profit in profits) / len(trades),
        "profit": float(won - lost),
        "profit_factor": float(won / lost) if lost > 0 else None,
        "fees": float(sum(trade.fees for trade in trades)),
    }


def _row(trade: Trade, account: ReplayAccount) -> TradeRow:
    entry = account.memory.by_id[trade.entry_order]
    left = account.memory.by_id[trade.exit_order]
    return TradeRow(
        symbol=trade.symbol,
        strategy=trade.strategy,
        side="long",
        quantity=plain(trade.quantity),
        entry_time=moment(entry.filled_in),
        entry_price=_mean(trade.bought, trade.quantity),
        exit_time=moment(left.filled_in),
        exit_price=_mean(trade.sold, trade.quantity),
        exit_reason=left.order.exit_reason,
        fees=plain(trade.fees),
        profit=plain(trade.profit),
    )


def _mean(value: Decimal, quantity: Decimal) -> Decimal:
    price = EXACT.divide(value, quantity)
    return plain(price.quantize(PRICE_STEP, ROUND_HALF_EVEN, EXACT))


def shown(value: object) -> str:
    """A field of a table as text: decimals without exponent, times in ISO 8601."""
    if isinstance(value, Decimal):
        return text(plain(value))
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
