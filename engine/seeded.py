"""The faults that a test switches on to see whether its rig finds them; see `failpoints.BUGS`.

Each function returns what it was given unless its bug is on. They exist because a proof that
cannot fail proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import msgspec

from engine.domain.cycle import AllocationFacts
from engine.domain.ledger_values import Allocation
from engine.domain.model import (
    Order,
    OrderStatus,
    PortfolioSnapshot,
    Quote,
    VenueOrder,
)
from engine.failpoints import bug

VALIDITY = timedelta(minutes=1)


def sent_as(order: Order, now: datetime) -> Order:
    """`unfrozen_payload` and `random_client_order_id`: the order as it is sent this time."""
    changed: dict[str, str] = {}
    if bug("unfrozen_payload"):
        changed["valid_until"] = (now + VALIDITY).isoformat().replace("+00:00", "Z")
    if bug("random_client_order_id"):
        changed["client_order_id"] = str(uuid4())
    if not changed:
        return order
    body = {**msgspec.json.decode(order.body), **changed}
    return msgspec.structs.replace(
        order,
        client_order_id=changed.get("client_order_id", order.client_order_id),
        body=msgspec.json.encode(body).decode(),
    )


def written_off(order: Order) -> VenueOrder:
    """`no_void` and `release_on_timeout`: an end that nobody proved."""
    return _claimed(order, OrderStatus.VOIDED, Decimal(0))


def taken_for_filled(order: Order) -> VenueOrder:
    """`success_on_404`: a fill that nobody reported."""
    return _claimed(order, OrderStatus.FILLED, order.quantity)


def _claimed(order: Order, state: OrderStatus, filled: Decimal) -> VenueOrder:
    return VenueOrder(
        client_order_id=order.client_order_id,
        order_id="",
        state=state,
        filled_quantity=filled,
        average_price=order.limit_price if filled else None,
        fees=Decimal(0),
        seq=0,
    )


def seen_before(old: PortfolioSnapshot, new: PortfolioSnapshot) -> PortfolioSnapshot:
    """`snapshot_before_reconcile`: the account before fills were relayed, as if it had them."""
    if not bug("snapshot_before_reconcile"):
        return new
    return msgspec.structs.replace(old, applied_seq=new.applied_seq)


def credited(
    snapshot: PortfolioSnapshot, facts: AllocationFacts, quotes: dict[str, Quote]
) -> PortfolioSnapshot:
    """`unsettled_sell_credit`: the account with the money of sales that have not happened."""
    if not bug("unsettled_sell_credit"):
        return snapshot
    credit = sum(
        (
            intent.quantity * quotes[intent.symbol].bid
            for intent in facts.candidates
            if intent.is_exit and intent.symbol in quotes
        ),
        Decimal(0),
    )
    return msgspec.structs.replace(
        snapshot, cash=snapshot.cash + credit, equity=snapshot.equity + credit
    )


def one_by_one(
    facts: AllocationFacts, decide: Callable[[AllocationFacts], Allocation]
) -> Allocation:
    """`check_then_write`: no candidate sees what the others of its cycle were granted."""
    if not bug("check_then_write"):
        return decide(facts)
    each = [
        decide(msgspec.structs.replace(facts, candidates=(candidate,)))
        for candidate in facts.candidates
    ]
    return Allocation(
        decisions=tuple(decision for one in each for decision in one.decisions),
        orders=tuple(order for one in each for order in one.orders),
    )
