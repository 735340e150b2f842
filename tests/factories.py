"""Builders of values for tests: every argument has a plausible default."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import numpy as np

from engine.domain.candles import Candles
from engine.domain.cycle import AllocationFacts, CycleTimes, SymbolFacts
from engine.domain.limits import Limits
from engine.domain.model import (
    Action,
    Instrument,
    Order,
    OrderIntent,
    OrderStatus,
    PortfolioSnapshot,
    Position,
    Quote,
    Side,
    Signal,
    TradingState,
    Value,
)
from engine.domain.timing import cycle_times
from engine.settings import Settings, decision_limits

NOW = datetime(2025, 11, 22, 12, 0, 0, tzinfo=UTC)
HOUR_MS = 3_600_000
# The candle that closed at NOW.
NEWEST = round(NOW.timestamp() * 1000) - HOUR_MS


@cache
def default_limits() -> Limits:
    return decision_limits(Settings())


def make_limits(**changed: Any) -> Limits:
    """The default configuration's limits; `risk`, `exits`, `sizing`, ... take dicts of changes."""
    limits = default_limits()
    parts = {}
    for name, value in changed.items():
        is_part = isinstance(value, dict)
        parts[name] = msgspec.structs.replace(getattr(limits, name), **value) if is_part else value
    return msgspec.structs.replace(limits, **parts)


def make_instrument(symbol: str = "BTC/USD", **changed: Any) -> Instrument:
    fields: dict[str, Any] = {
        "symbol": symbol,
        "volume_24h": Decimal(50_000_000),
        "spread_bps": 2.0,
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.0001"),
        "min_notional": Decimal(10),
    }
    return Instrument(**fields | changed)


def make_quote(price: str | Decimal = "100", **changed: Any) -> Quote:
    at = Decimal(price)
    return Quote(**{"bid": at, "ask": at, "last": at, "as_of": NOW} | changed)


def make_position(symbol: str = "BTC/USD", quantity: str = "1", **changed: Any) -> Position:
    fields: dict[str, Any] = {
        "symbol": symbol,
        "quantity": Decimal(quantity),
        "average_price": Decimal(100),
        "market_price": Decimal(100),
        "strategy": "sma_cross",
        "opened_at": NOW - timedelta(hours=5),
        "version": 1,
    }
    return Position(**fields | changed)


def make_snapshot(
    *positions: Position, cash: str | Decimal = "100000", **changed: Any
) -> PortfolioSnapshot:
    """An account whose equity is its cash and the value of its positions."""
    equity = Decimal(cash) + sum((held.value for held in positions), Decimal(0))
    fields: dict[str, Any] = {
        "account": "paper",
        "currency": "USD",
        "cash": Decimal(cash),
        "equity": equity,
        "peak_equity": equity,
        "day_start_equity": equity,
        "realized_pnl": Decimal(0),
        "positions": positions,
        "applied_seq": 0,
        "as_of": NOW,
    }
    return PortfolioSnapshot(**fields | changed)


def make_signal(symbol: str = "BTC/USD", **changed: Any) -> Signal:
    fields: dict[str, Any] = {
        "symbol": symbol,
        "strategy": "sma_cross",
        "version": "1",
        "action": Action.BUY,
        "confidence": 0.8,
        "price": Decimal(100),
        "candle_time": NEWEST,
    }
    return Signal(**fields | changed)


def make_intent(symbol: str = "BTC/USD", **changed: Any) -> OrderIntent:
    """An entry of 1 at 100 with a stop at 95."""
    fields: dict[str, Any] = {
        "symbol": symbol,
        "side": Side.BUY,
        "quantity": Decimal(1),
        "price": Decimal(100),
        "strategy": "sma_cross",
        "version": "1",
        "confidence": 0.8,
        "candle_time": NEWEST,
        "stop_price": Decimal(95),
    } | changed
    key = f"v1|paper|{fields['strategy']}|1|{symbol}|1h|{fields['candle_time']}|buy"
    return OrderIntent(**{"decision_key": key} | fields)


def make_exit(symbol: str = "BTC/USD", quantity: str = "1", **changed: Any) -> OrderIntent:
    reason = changed.pop("exit_reason", "stop")
    fields: dict[str, Any] = {
        "decision_key": f"v1|paper|{symbol}|exit|{reason}|fill-1",
        "side": Side.SELL,
        "quantity": Decimal(quantity),
        "exit_reason": reason,
        "confidence": 1.0,
        "stop_price": None,
    }
    return make_intent(symbol, **fields | changed)


def make_order(symbol: str = "BTC/USD", **changed: Any) -> Order:
    """An accepted buy of 1 at 100, nothing filled."""
    fields: dict[str, Any] = {
        "client_order_id": f"order-{symbol}",
        "decision_key": f"key-{symbol}",
        "attempt": 0,
        "cycle_id": "c1",
        "epoch": 1,
        "symbol": symbol,
        "side": Side.BUY,
        "quantity": Decimal(1),
        "limit_price": Decimal(100),
        "reference_price": Decimal(100),
        "reduce_only": False,
        "strategy": "sma_cross",
        "body": "{}",
        "status": OrderStatus.ACCEPTED,
        "created_at": NOW,
        "updated_at": NOW,
        "cutoff_at": NOW + timedelta(seconds=85),
        "valid_until": NOW + timedelta(seconds=100),
        "market_time": NOW,
    }
    return Order(**fields | changed)


def make_symbol_facts(symbol: str = "BTC/USD", **changed: Any) -> SymbolFacts:
    return SymbolFacts(symbol=symbol, **changed)


def make_allocation_facts(*candidates: OrderIntent, **changed: Any) -> AllocationFacts:
    fields: dict[str, Any] = {
        "trading_state": TradingState.ACTIVE,
        "candidates": candidates,
        "open_orders": (),
        "late_orders": (),
        "unapplied": {},
        "orders_last_minute": 0,
        "attempts": {},
        "entry_stops": {},
    }
    return AllocationFacts(**fields | changed)


class CycleIdentity(Value, frozen=True, kw_only=True):
    """The part of a cycle that an allocation needs."""

    cycle_id: str
    epoch: int
    times: CycleTimes


def make_cycle(cycle_id: str = "c1", epoch: int = 7) -> CycleIdentity:
    return CycleIdentity(cycle_id=cycle_id, epoch=epoch, times=make_times())


def make_times(started_at: datetime = NOW) -> CycleTimes:
    return cycle_times(started_at, 120, barrier_s=54, send_cutoff_s=85, deadline_s=100, close_s=110)


def make_candles(
    closes: Any, *, end: int = NEWEST, step: int = HOUR_MS, spread: float = 0.0
) -> Candles:
    """Candles whose newest opens at `end`; each opens where the one before closed."""
    close = np.asarray(closes, dtype=np.float64)
    opens = np.concatenate((close[:1], close[:-1]))
    return Candles.of(
        time=np.arange(end - (len(close) - 1) * step, end + 1, step, dtype=np.int64),
        open=opens,
        high=np.maximum(opens, close) + spread,
        low=np.minimum(opens, close) - spread,
        close=close,
        volume=np.full(len(close), 1000.0),
    )


def candles_of(*rows: tuple[float, float, float, float], end: int = NEWEST) -> Candles:
    """Candles from (open, high, low, close) rows; the newest opens at `end`."""
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
    count = len(table)
    return Candles.of(
        time=np.arange(end - (count - 1) * HOUR_MS, end + 1, HOUR_MS, dtype=np.int64),
        open=table[:, 0],
        high=table[:, 1],
        low=table[:, 2],
        close=table[:, 3],
        volume=np.full(count, 1000.0),
    )
