"""How news of an order is written: by rank, each step in the transaction that learns of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from decimal import Context, Decimal
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, select, update

from engine.domain.ledger_values import NewAlert
from engine.domain.model import Fill, OrderStatus, TradingState, VenueOrder
from engine.domain.orders import NEVER_TRADED, contradicts, is_terminal, may_move
from engine.ledger.account_rows import add_latch, open_alert
from engine.ledger.column_types import EPOCH, AnyRow
from engine.ledger.records import fill_of, insert_all, insert_new
from engine.ledger.schema import disabled_strategies, fills, orders, transitions

EXACT = Context(prec=60)
PRICE = Context(prec=28)
VENUE_STATES = frozenset(OrderStatus) - {
    OrderStatus.RESERVED,
    OrderStatus.SENDING,
    OrderStatus.UNKNOWN,
}
CONTRADICTION = "contradiction"
IDS: BindParameter[Any] = bindparam("ids", expanding=True)
LOCKED_ORDERS = (
    select(orders)
    .where(orders.c.client_order_id.in_(IDS))
    .order_by(orders.c.client_order_id)
    .with_for_update()
)
FILLS_OF = select(fills).where(fills.c.client_order_id.in_(IDS)).order_by(fills.c.seq)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    result = Decimal(0)
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


class OrderChange:
    """An order's row under lock, and what becomes of it in this transaction."""

    def __init__(self, row: AnyRow) -> None:
        self.row = row
        self.status: OrderStatus = row.status
        self.venue_order_id: str = row.venue_order_id
        self.filled: Decimal = row.filled_quantity
        self.average: Decimal | None = row.average_price
        self.fees: Decimal = row.fees
        self.reason: str = row.reason
        self.stored = Decimal(0)
        self.steps: list[dict[str, Any]] = []
        self.contradictions: list[str] = []

    @property
    def settled(self) -> bool:
        """Nothing more can come: terminal, and every fill that it speaks of is stored."""
        return is_terminal(self.status) and self.filled == self.stored

    def move(self, new: OrderStatus, cause: str, detail: str, now: datetime) -> None:
        """Go to a status that the rank allows; anything else is late news, and no step."""
        if not may_move(self.status, new):
            return
        step = {"from_status": self.status, "to_status": new, "cause": cause, "detail": detail}
        self.steps.append({"client_order_id": self.row.client_order_id, "at": now, **step})
        self.status = new

    def answer(self, answer: VenueOrder, cause: str, now: datetime) -> None:
        """Take in what the execution service says of the order."""
        if answer.state not in VENUE_STATES:
            return
        if contradicts(self.status, answer.state):
            self.contradictions.append(f"{answer.state} for an order that is {self.status}")
        if answer.state in NEVER_TRADED and answer.filled_quantity > 0:
            self.contradictions.append(f"{answer.state} with {answer.filled_quantity} filled")
        if answer.filled_quantity > self.filled:
            self._fill(answer.filled_quantity, answer.average_price, answer.fees)
        self.move(answer.state, cause, answer.reason, now)
        if self.status is answer.state and answer.reason:
            self.reason = answer.reason
        self.venue_order_id = answer.order_id or self.venue_order_id

    def take_fills(self, stored: list[Fill]) -> None:
        """Take in all stored fills; they count once they are all that an answer spoke of."""
        self.stored = total(fill.quantity for fill in stored)
        if not stored or self.stored < self.filled:
            return
        value = total(EXACT.multiply(fill.quantity, fill.price) for fill in stored)
        average = PRICE.divide(value, self.stored)
        self._fill(self.stored, average, total(fill.fee for fill in stored))

    def _fill(self, quantity: Decimal, average: Decimal | None, fees: Decimal) -> None:
        if self.status in NEVER_TRADED:
            self.contradictions.append(f"a fill of an order that is {self.status}")
        if quantity > self.row.quantity:
            self.contradictions.append(f"{quantity} filled of {self.row.quantity}")
        self.filled, self.average, self.fees = quantity, average, fees

    def values(self) -> dict[str, Any]:
        """The columns that news can change."""
        return {
            "status": self.status,
            "venue_order_id": self.venue_order_id,
            "filled_quantity": self.filled,
            "average_price": self.average,
            "fees": self.fees,
            "reason": self.reason,
            "has_fill": self.filled > 0,
            "settled": self.settled,
        }

    @property
    def is_news(self) -> bool:
        """Whether anything differs from the row."""
        return any(getattr(self.row, name) != value for name, value in self.values().items())


def load_changes(connection: Connection, ids: Collection[str]) -> dict[str, OrderChange]:
    """The known orders among `ids`, locked, with their stored fills counted."""
    rows = connection.execute(LOCKED_ORDERS, {"ids": sorted(set(ids))})
    changes = {row.client_order_id: OrderChange(row) for row in rows}
    known = stored_fills(connection, changes)
    for client_order_id, change in changes.items():
        change.stored = total(fill.quantity for fill in known.get(client_order_id, []))
    return changes


def stored_fills(connection: Connection, ids: Collection[str]) -> dict[str, list[Fill]]:
    """Stored fills by order, in order of seq."""
    found: dict[str, list[Fill]] = {}
    for row in connection.execute(FILLS_OF, {"ids": sorted(ids)}):
        found.setdefault(row.client_order_id, []).append(fill_of(row))
    return found


def save_changes(
    connection: Connection, changes: Collection[OrderChange], now: datetime, max_repeats: int
) -> bool:
    """Write what changed, with its transitions and alarms; whether anything was news.

    The account is locked by the caller.
    """
    news = [change for change in changes if change.is_news]
    if news:
        names = (*news[0].values(), "lease_until")
        statement = update(orders).where(orders.c.client_order_id == bindparam("this"))
        statement = statement.values({name: bindparam(f"new_{name}") for name in names})
        statement = statement.values(updated_at=now)
        connection.execute(statement, [_parameters(change) for change in news])
    insert_all(connection, transitions, [step for change in changes for step in change.steps])
    alarmed = [_alarm(connection, change, now) for change in changes if change.contradictions]
    for change in news:
        if change.filled > 0 and not change.row.has_fill:
            _count_repeat(connection, change.row, max_repeats, now)
    return bool(news) or any(alarmed)


def _parameters(change: OrderChange) -> dict[str, Any]:
    sending = change.status is OrderStatus.SENDING
    values = {**change.values(), "lease_until": change.row.lease_until if sending else None}
    named = {f"new_{name}": value for name, value in values.items()}
    return {"this": change.row.client_order_id, **named}


def _alarm(connection: Connection, change: OrderChange, now: datetime) -> bool:
    client_order_id = change.row.client_order_id
    detail = f"order {client_order_id}: {'; '.join(dict.fromkeys(change.contradictions))}"
    alert = NewAlert(
        key=f"{CONTRADICTION}|{client_order_id}",
        name=CONTRADICTION,
        severity="critical",
        detail=detail,
        cycle_id=change.row.cycle_id,
    )
    if not open_alert(connection, alert, now):
        return False
    add_latch(connection, CONTRADICTION, TradingState.REDUCING, detail, now)
    return True


def _count_repeat(connection: Connection, row: AnyRow, max_repeats: int, now: datetime) -> None:
    """Disable a strategy for a symbol after too many filled orders of a side in a market day."""
    day = (row.market_time - EPOCH).days
    midnight = row.market_time.replace(hour=0, minute=0, second=0, microsecond=0)
    counted = select(func.count()).where(
        orders.c.symbol == row.symbol,
        orders.c.market_time >= midnight,
        orders.c.strategy == row.strategy,
        orders.c.side == row.side,
        orders.c.has_fill,
    )
    count = connection.execute(counted).scalar_one()
    if count < max_repeats or not row.strategy:
        return
    reason = f"{count} filled {row.side} orders in one day, {max_repeats} allowed"
    key = {"symbol": row.symbol, "strategy": row.strategy}
    if insert_new(connection, disabled_strategies, {**key, "since": now, "reason": reason}):
        alert = NewAlert(
            key=f"strategy_disabled|{row.strategy}|{row.symbol}|{day}",
            name="strategy_disabled",
            severity="warning",
            detail=f"{row.strategy} on {row.symbol}: {reason}; enable it by hand",
            cycle_id=row.cycle_id,
        )
        open_alert(connection, alert, now)
