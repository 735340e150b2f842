"""Fills -> round trips, and how they went: of all, of one strategy, of one symbol.

Money is Decimal and exact, ratios are floats. A figure without a meaning for the trades is None.

Sources: win rate, profit factor (gross profit / gross loss), average and largest win and loss as in
J. Schwager, "Getting Started in Technical Analysis" (Wiley, 1999); expectancy, the mean result of a
trade, as in V. K. Tharp, "Trade Your Way to Financial Freedom" (McGraw-Hill, 1999).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from engine.domain.amounts import EXACT, ZERO
from engine.domain.model import Fill, Side, Value


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

    @property
    def held_s(self) -> float:
        """Seconds from its first to its last fill."""
        return (self.closed_at - self.opened_at).total_seconds()


class TradeFigures(Value, frozen=True, kw_only=True):
    """How closed trades went, in account currency and net of fees.

    `won` and `lost` are the sums of the profits and of the losses (positive), `best` and `worst`
    single trades, `held_s` the mean time from first to last fill.
    """

    trades: int
    win_rate: float | None
    profit: Decimal
    won: Decimal
    lost: Decimal
    profit_factor: float | None
    expectancy: Decimal | None
    best: Decimal | None
    worst: Decimal | None
    fees: Decimal
    held_s: float | None


def closed_trades(fills: Iterable[Fill]) -> list[Trade]:
    """Round trips from flat to flat per symbol, in the order they closed; fills by seq.

    Sells of what these fills never bought (a span that begins with a holding) are left out.
    """
    open_fills: dict[str, list[Fill]] = {}
    held: dict[str, Decimal] = {}
    trades: list[Trade] = []
    for fill in sorted(fills, key=lambda each: each.seq):
        after = EXACT.add(held.get(fill.symbol, ZERO), signed(fill))
        if after < 0:
            continue
        held[fill.symbol] = after
        open_fills.setdefault(fill.symbol, []).append(fill)
        if after == 0:
            trades.append(_trade(open_fills.pop(fill.symbol)))
    return trades


def figures_of(trades: Sequence[Trade]) -> TradeFigures:
    """All figures of closed trades."""
    profits = [trade.profit for trade in trades]
    won = total(profit for profit in profits if profit > 0)
    lost = -total(profit for profit in profits if profit < 0)
    count = len(trades)
    return TradeFigures(
        trades=count,
        win_rate=win_rate(profits),
        profit=won - lost,
        won=won,
        lost=lost,
        profit_factor=profit_factor(won, lost),
        expectancy=expectancy(profits),
        best=max(profits, default=None),
        worst=min(profits, default=None),
        fees=total(trade.fees for trade in trades),
        held_s=sum(trade.held_s for trade in trades) / count if count else None,
    )


def by_strategy(trades: Iterable[Trade]) -> dict[str, TradeFigures]:
    """The figures of each strategy that closed a trade, by its id."""
    return _grouped(trades, lambda trade: trade.strategy)


def by_symbol(trades: Iterable[Trade]) -> dict[str, TradeFigures]:
    """The figures of each symbol that a trade was closed in."""
    return _grouped(trades, lambda trade: trade.symbol)


def win_rate(profits: Sequence[Decimal]) -> float | None:
    """Closed trades with a profit / closed trades."""
    return sum(profit > 0 for profit in profits) / len(profits) if profits else None


def profit_factor(won: Decimal, lost: Decimal) -> float | None:
    """Sum of profits / sum of losses of closed trades; None without a loss."""
    return float(won / lost) if lost > 0 else None


def expectancy(profits: Sequence[Decimal]) -> Decimal | None:
    """Mean profit of a closed trade, in account currency."""
    return total(profits) / len(profits) if profits else None


def signed(fill: Fill) -> Decimal:
    """What the fill adds to the holding."""
    return fill.quantity if fill.side is Side.BUY else -fill.quantity


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    found = ZERO
    for amount in amounts:
        found = EXACT.add(found, amount)
    return found


def _grouped(trades: Iterable[Trade], name: Callable[[Trade], str]) -> dict[str, TradeFigures]:
    groups: dict[str, list[Trade]] = {}
    for trade in trades:
        groups.setdefault(name(trade), []).append(trade)
    return {key: figures_of(groups[key]) for key in sorted(groups)}


def _trade(fills: Sequence[Fill]) -> Trade:
    values = dict.fromkeys(Side, ZERO)
    bought, fees = ZERO, ZERO
    for fill in fills:
        value = EXACT.multiply(fill.quantity, fill.price)
        values[fill.side] = EXACT.add(values[fill.side], value)
        fees = EXACT.add(fees, fill.fee)
        if fill.side is Side.BUY:
            bought = EXACT.add(bought, fill.quantity)
    return Trade(
        symbol=fills[0].symbol,
        strategy=fills[0].strategy,
        opened_at=fills[0].filled_at,
        closed_at=fills[-1].filled_at,
        bought=values[Side.BUY],
        sold=values[Side.SELL],
        fees=fees,
        quantity=bought,
        entry_order=fills[0].client_order_id,
        exit_order=fills[-1].client_order_id,
    )
