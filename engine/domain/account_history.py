"""The account over market time, and what it has committed beside its holdings."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from engine.domain.model import Order, Value


class EquityAt(Value, frozen=True, kw_only=True):
    """The account as a cycle found it; `time` is the market's, in account currency."""

    time: datetime
    equity: Decimal
    cash: Decimal


class EntryLevels(Value, frozen=True, kw_only=True):
    """The tightest stop and target among the filled entries of an open position."""

    stop_price: Decimal | None
    target_price: Decimal | None


class Commitments(Value, frozen=True, kw_only=True):
    """Orders that are not proved terminal, and how many were made in the last market minute."""

    open_orders: tuple[Order, ...]
    orders_last_minute: int
