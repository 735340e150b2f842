"""From fills and equity to trades and metrics, by the formulas of `engine.domain.performance`."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np

from engine.domain import performance, trades
from engine.domain.amounts import EXACT, plain, text
from engine.domain.model import Value
from engine.domain.performance import Curve, Performance
from engine.domain.trades import Trade, TradeFigures
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
    curve: Curve
    cash: tuple[Decimal, ...]
    start_equity: Decimal
    final_equity: Decimal
    performance: Performance
    days_per_year: int


def results_of(account: ReplayAccount) -> Results:
    """Everything that is written and shown; annual figures are of daily points."""
    curve = account.curve
    days = days_per_year(curve)
    closed = trades.closed_trades(account.fills)
    figures = performance.measure(
        performance.daily(curve), account.fills, periods_per_year=days, fine=curve, closed=closed
    )
    return Results(
        trades=tuple(_row(trade, account) for trade in closed),
        curve=curve,
        cash=tuple(account.cash),
        start_equity=account.start,
        final_equity=account.account.equity,
        performance=figures,
        days_per_year=days,
    )


def days_per_year(curve: Curve) -> int:
    """365 for a market that never closes, else 252."""
    days = np.unique(curve.time // performance.DAY_S)
    span = int(days[-1] - days[0]) + 1
    return EVERY_DAY if len(days) >= NEVER_CLOSED * span else TRADING_DAYS


def metrics(results: Results) -> dict[str, object]:
    """The figures by name; None where one has no meaning."""
    figures = results.performance
    named: dict[str, object] = {"final_equity": float(results.final_equity)}
    names = (
        *("total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown"),
        *("trades", "win_rate", "profit_factor", "expectancy", "fees", "exposure", "turnover"),
        *("max_drawdown_s", "longest_drawdown_s"),
    )
    named |= {name: _plain(getattr(figures, name)) for name in names}
    named["days_per_year"] = results.days_per_year
    for name in ("by_strategy", "by_symbol"):
        groups: dict[str, TradeFigures] = getattr(figures, name)
        named[name] = {key: _figures(group) for key, group in groups.items()}
    return named


def _figures(group: TradeFigures) -> dict[str, object]:
    return {name: _plain(getattr(group, name)) for name in TradeFigures.__struct_fields__}


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


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
