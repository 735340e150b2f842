"""Reading orders."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from engine.domain.model import Order, Side
from engine.ledger.records import ORDER_COLUMNS, order_of
from engine.ledger.schema import orders

ORDER_OF_CYCLE = (
    orders.c.side != Side.SELL,
    orders.c.confidence.desc(),
    orders.c.symbol,
    orders.c.strategy,
    orders.c.number,
)
OF_CYCLE = (
    select(*ORDER_COLUMNS)
    .where(orders.c.cycle_id == bindparam("cycle_id"))
    .order_by(*ORDER_OF_CYCLE)
)
BY_ID = select(*ORDER_COLUMNS).where(orders.c.client_order_id == bindparam("client_order_id"))


def orders_of_cycle(connection: Connection, cycle_id: str) -> tuple[Order, ...]:
    """Orders of a cycle: exits first, then by confidence, symbol, strategy."""
    found = connection.execute(OF_CYCLE, {"cycle_id": cycle_id})
    return tuple(order_of(row) for row in found)


def order_by_id(connection: Connection, client_order_id: str) -> Order | None:
    """One order, or None."""
    row = connection.execute(BY_ID, {"client_order_id": client_order_id}).one_or_none()
    return None if row is None else order_of(row)
