"""Orders as they are shown: each with its decision, signal and steps."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, select

from engine.domain.cycle import Stage
from engine.domain.model import Order, OrderIntent, OrderStatus, RiskDecision, Signal
from engine.domain.views import OrderRow, Transition
from engine.ledger.column_types import AnyRow
from engine.ledger.order_reads import ORDER_OF_CYCLE
from engine.ledger.records import ORDER_COLUMNS, load, order_of
from engine.ledger.schema import candidates, decisions, orders, signals, transitions


def why(order: Order, decision: RiskDecision | None) -> str:
    """One line: what asked for the order, and which rule set its size."""
    if decision is None:
        return order.reason or order.exit_reason
    intent = decision.intent
    if intent.is_exit:
        return intent.reason or f"exit: {intent.exit_reason}"
    sized = f", sized by {decision.binding_rule}" if decision.binding_rule else ""
    return f"{intent.strategy} {intent.confidence:.2f}{sized}"


def with_decision() -> Any:
    """Orders with the decisions that they came from."""
    same = and_(
        decisions.c.cycle_id == orders.c.cycle_id,
        decisions.c.decision_key == orders.c.decision_key,
        decisions.c.stage == Stage.ALLOCATE,
    )
    columns = (*ORDER_COLUMNS, orders.c.number, decisions.c.payload)
    return select(*columns).join(decisions, same, isouter=True)


def decision_in(row: AnyRow) -> RiskDecision | None:
    """The decision in a row of `with_decision`; None for an adopted order."""
    return None if row.payload is None else load(row.payload, RiskDecision)


def order_row(row: AnyRow) -> OrderRow:
    """An order of a list, in a row with its decision."""
    order, decision = order_of(row), decision_in(row)
    same = {name for name in OrderRow.__struct_fields__ if name in Order.__struct_fields__}
    fields = {name: getattr(order, name) for name in same}
    return OrderRow(
        **fields,
        at=order.created_at,
        why=why(order, decision),
        binding_rule="" if decision is None else decision.binding_rule,
        confidence=0.0 if decision is None else decision.intent.confidence,
    )


def batch_of(order: Order) -> Any:
    """The batch whose candidate became this order."""
    mine = (candidates.c.cycle_id == order.cycle_id) & (
        candidates.c.decision_key == order.decision_key
    )
    return select(candidates.c.batch).where(mine).limit(1)


def signal_of(connection: Connection, order: Order | OrderIntent, cycle_id: str) -> Signal | None:
    """The kept signal behind an order or a candidate of a cycle."""
    chosen = select(signals.c.payload).where(
        signals.c.cycle_id == cycle_id,
        signals.c.symbol == order.symbol,
        signals.c.strategy == order.strategy,
        signals.c.kept,
    )
    payload = connection.execute(chosen.limit(1)).scalar()
    return None if payload is None else load(payload, Signal)


def transitions_of(connection: Connection, client_order_id: str) -> tuple[Transition, ...]:
    """The steps of an order, oldest first."""
    chosen = select(transitions).where(transitions.c.client_order_id == client_order_id)
    return tuple(
        Transition(
            at=row.at,
            from_status=OrderStatus(row.from_status) if row.from_status else None,
            to_status=row.to_status,
            cause=row.cause,
            detail=row.detail,
        )
        for row in connection.execute(chosen.order_by(transitions.c.number))
    )


def orders_of(cycle_id: str) -> Any:
    """Orders of a cycle with their decisions, in the order of `orders_of_cycle`."""
    chosen = with_decision().where(orders.c.cycle_id == cycle_id)
    return chosen.order_by(*ORDER_OF_CYCLE)
