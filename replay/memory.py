"""What was ordered and filled so far, as the ledger would tell it to the rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from engine.domain.cycle import AllocationFacts, Attempt, SymbolFacts
from engine.domain.limits import Limits
from engine.domain.model import Fill, Order, OrderIntent, Side, TradingState

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Placed(NamedTuple):
    """An order after its end; `filled_in` is the open time (ms) of the candle it met."""

    order: Order
    fills: tuple[Fill, ...]
    filled_in: int


@dataclass
class _Past:
    """One symbol; `stop` and `target` are the tightest among the entries of what is held."""

    orders: list[Placed] = field(default_factory=list)
    entries: list[Order] = field(default_factory=list)
    stop: Decimal | None = None
    target: Decimal | None = None
    last_fill_id: str = ""
    last_exit_at: datetime | None = None
    disabled: set[str] = field(default_factory=set)


class Memory:
    """Every order of the replay: immediate-or-cancel, so that each has ended at once."""

    def __init__(self, limits: Limits) -> None:
        self.placed: list[Placed] = []
        self.by_id: dict[str, Placed] = {}
        self._limits = limits
        self._past: dict[str, _Past] = {}
        self._attempts: dict[str, Attempt] = {}
        self._stops: dict[str, Decimal] = {}
        guard = limits.risk.stoploss_guard
        self._guarded = timedelta(
            seconds=(guard.window_candles + guard.lock_candles) * limits.timeframe_s
        )

    def add(self, placed: Placed, *, is_flat: bool) -> None:
        """Take in an order with its fills; `is_flat`: nothing of the symbol is held after it."""
        order = placed.order
        self.placed.append(placed)
        self.by_id[order.client_order_id] = placed
        past = self._past.setdefault(order.symbol, _Past())
        past.orders.append(placed)
        self._attempts[order.decision_key] = Attempt(
            count=order.attempt + 1, last_terminal=True, last_filled=bool(placed.fills)
        )
        for fill in placed.fills:
            past.last_fill_id = fill.fill_id
            if fill.side is Side.SELL:
                past.last_exit_at = fill.filled_at
            else:
                past.entries.append(order)
        if is_flat:
            past.entries.clear()
        if placed.fills:
            self._tighten(past, order.symbol)
            if self._limits.risk.is_enforced:
                self._throttle(past, order)

    def levels(self, symbol: str) -> SymbolFacts:
        """Only the stop and the target of what is held."""
        past = self._past.get(symbol)
        if past is None:
            return SymbolFacts(symbol=symbol)
        return SymbolFacts(symbol=symbol, stop_price=past.stop, target_price=past.target)

    def symbol_facts(self, symbols: Iterable[str], now: datetime) -> dict[str, SymbolFacts]:
        """What the per-symbol rules need to know."""
        return {symbol: self._facts(symbol, now) for symbol in symbols}

    def allocation_facts(
        self,
        candidates: tuple[OrderIntent, ...],
        state: TradingState,
        now: datetime,
    ) -> AllocationFacts:
        """What the barrier needs to know."""
        keys = {intent.decision_key for intent in candidates}
        return AllocationFacts(
            trading_state=state,
            candidates=candidates,
            open_orders=(),
            late_orders=(),
            unapplied={},
            orders_last_minute=_count_since(self.placed, now - MINUTE),
            attempts={key: self._attempts[key] for key in keys if key in self._attempts},
            entry_stops=dict(self._stops),
        )

    def _facts(self, symbol: str, now: datetime) -> SymbolFacts:
        past = self._past.get(symbol)
        if not self._limits.risk.is_enforced:
            return self._of_holding(symbol, past)
        own = [] if past is None else past.orders
        counted = self.placed if self._limits.risk.stoploss_guard.locks_all else own
        stops = _stop_exits(counted, now - self._guarded)
        if past is None:
            return SymbolFacts(symbol=symbol, stop_exits_at=stops)
        return SymbolFacts(
            symbol=symbol,
            owner=past.entries[-1].strategy if past.entries else None,
            last_exit_at=past.last_exit_at,
            orders_last_hour=_count_since(past.orders, now - HOUR),
            stop_exits_at=stops,
            strategy_orders_today=_filled_today(past.orders, now),
            disabled_strategies=tuple(sorted(past.disabled)),
            position_fill_id=past.last_fill_id,
            stop_price=past.stop,
            target_price=past.target,
        )

    def _of_holding(self, symbol: str, past: _Past | None) -> SymbolFacts:
        """What exits need to know; no other rule asks where limits are lifted."""
        if past is None:
            return SymbolFacts(symbol=symbol)
        return SymbolFacts(
            symbol=symbol,
            position_fill_id=past.last_fill_id,
            stop_price=past.stop,
            target_price=past.target,
        )

    def _tighten(self, past: _Past, symbol: str) -> None:
        """The levels of what is held after a fill."""
        stops = (each.stop_price for each in past.entries if each.stop_price is not None)
        targets = (each.target_price for each in past.entries if each.target_price is not None)
        past.stop, past.target = max(stops, default=None), min(targets, default=None)
        self._stops.pop(symbol, None)
        if past.stop is not None:
            self._stops[symbol] = past.stop

    def _throttle(self, past: _Past, order: Order) -> None:
        """A strategy that repeats itself too often in a day is disabled for the symbol."""
        counts = _filled_today(past.orders, order.market_time)
        count = counts[f"{order.strategy}|{order.side.value}"]
        if order.strategy and count >= self._limits.risk.max_repeats_per_day:
            past.disabled.add(order.strategy)


def _count_since(orders: list[Placed], after: datetime) -> int:
    """Orders made after an instant; they stand in order of time."""
    count = 0
    for placed in reversed(orders):
        if placed.order.market_time <= after:
            break
        count += 1
    return count


def _stop_exits(orders: list[Placed], since: datetime) -> tuple[datetime, ...]:
    found = []
    for placed in reversed(orders):
        if placed.order.market_time < since:
            break
        if placed.fills and placed.order.exit_reason == "stop":
            found.append(placed.order.market_time)
    return tuple(reversed(found))


def _filled_today(orders: list[Placed], now: datetime) -> dict[str, int]:
    """Filled orders of this UTC day by `strategy|side`."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    counts: dict[str, int] = {}
    for placed in reversed(orders):
        if placed.order.market_time < midnight:
            break
        if placed.fills:
            key = f"{placed.order.strategy}|{placed.order.side.value}"
            counts[key] = counts.get(key, 0) + 1
    return counts
