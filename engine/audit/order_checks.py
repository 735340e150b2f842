"""Invariants of single orders: identity, acceptance, fills, completeness, bodies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

import msgspec

from engine.audit.books import Books, Result, VenueBook, is_effective, taken_orders
from engine.domain.amounts import EXACT, ZERO
from engine.domain.model import Fill, FillEvent, Order, OrderBody, Side, VenueOrder
from engine.domain.orders import is_terminal
from engine.ledger.audit import Finding

TERMS = (
    "symbol",
    "side",
    "quantity",
    "limit_price",
    "reference_price",
    "reduce_only",
    "strategy",
    "epoch",
)


def one_order_a_decision(books: Books) -> Result:
    """I1: at most one order of a decision trades, or still may."""
    effective: dict[str, list[str]] = defaultdict(list)
    for client_order_id, order in books.ledger.orders.items():
        row = books.venue.rows.get(client_order_id)
        ours = order.filled_quantity > 0 or not is_terminal(order.status)
        if ours or (row is not None and is_effective(row)):
            effective[order.decision_key].append(client_order_id)
    findings = tuple(
        Finding(invariant="I1", subject=key, detail=f"effective orders {', '.join(ids)}")
        for key, ids in effective.items()
        if len(ids) > 1
    )
    keys = {order.decision_key for order in books.ledger.orders.values()}
    return Result(looked_at=f"{len(keys):,} decisions, each with one order", findings=findings)


def one_intent_an_order(books: Books) -> Result:
    """I2: an effective order has an intent, a fill an event, and the log has no hole."""
    venue = books.venue
    found = [*_log_faults(venue), *_row_faults(venue)]
    for client_order_id, row in venue.rows.items():
        if is_effective(row) and client_order_id not in books.known:
            found.append(("order " + client_order_id, f"{row.state} without an intent"))
    counted = f"{len(venue.events):,} events without a hole, {len(venue.fills()):,} fills"
    return Result(looked_at=counted, findings=_findings("I2", found))


def _log_faults(venue: VenueBook) -> Iterator[tuple[str, str]]:
    for expected, event in enumerate(venue.events, start=1):
        if event.seq != expected:
            yield "log", f"event {event.seq} where {expected} belongs"
            break
    if len(venue.events) != venue.head:
        yield "log", f"{len(venue.events)} events, its head is {venue.head}"
    for fill_id, count in Counter(fill.fill_id for fill in venue.fills()).items():
        if count > 1:
            yield f"fill {fill_id}", f"told by {count} events"


def _row_faults(venue: VenueBook) -> Iterator[tuple[str, str]]:
    """An order's row is its newest event, and its fills are those of the log."""
    newest = {event.client_order_id: event for event in venue.order_events()}
    filled = _filled(venue.fills())
    for client_order_id, row in venue.rows.items():
        event = newest.get(client_order_id)
        if event is None:
            yield f"order {client_order_id}", f"{row.state}, and no event tells of it"
        elif (event.state, event.filled_quantity) != (row.state, row.filled_quantity):
            told = f"{event.state} with {event.filled_quantity} filled"
            detail = f"{row.state} with {row.filled_quantity} filled, its event says {told}"
            yield f"order {client_order_id}", detail
        total = filled.get(client_order_id, ZERO)
        if total != row.filled_quantity:
            yield f"order {client_order_id}", f"{row.filled_quantity} filled, its fills are {total}"


def _filled(fills: tuple[FillEvent, ...]) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for fill in fills:
        before = totals.get(fill.client_order_id, ZERO)
        totals[fill.client_order_id] = EXACT.add(before, fill.quantity)
    return totals


def nothing_below_the_fence(books: Books) -> Result:
    """I3: no order was taken whose epoch was below the fence at that moment.

    Where the service tells no history of its fence, an order's own epoch stands for it: nothing
    is sent before its fence is acknowledged, so that a later order must not have a lower one.
    """
    venue = books.venue
    taken = sorted(taken_orders(venue).items(), key=lambda item: item[1].seq)
    changes = venue.switches
    found = []
    highest = 0
    for client_order_id, first in taken:
        if first.epoch is None:
            continue
        if changes is None:
            fence, highest = highest, max(highest, first.epoch)
        else:
            past = [change.epoch for change in changes if change.after_seq < first.seq]
            fence = max(past, default=0)
        if first.epoch < fence:
            detail = f"epoch {first.epoch} at seq {first.seq}, the fence stood at {fence}"
            found.append((client_order_id, detail))
        elif first.epoch > venue.fence.epoch and client_order_id in books.ledger.orders:
            detail = f"epoch {first.epoch}, its fence was never raised: {venue.fence.epoch}"
            found.append((client_order_id, detail))
    if changes is not None:
        found += _falling_fence(venue)
    basis = "" if changes is not None else " (by the order of epochs alone)"
    text = f"{len(taken):,} orders, none accepted below the fence of its time{basis}"
    return Result(looked_at=text, findings=_findings("I3", found))


def _falling_fence(venue: VenueBook) -> Iterator[tuple[str, str]]:
    for before, after in pairwise(venue.switches or ()):
        if after.epoch < before.epoch:
            yield "fence", f"{after.epoch} after {before.epoch}"


def fills_within_terms(books: Books) -> Result:
    """I4: no more than ordered, at no worse price than the limit, at no higher fee."""
    found: list[tuple[str, str]] = []
    fills = books.venue.fills()
    for client_order_id, total in _filled(fills).items():
        ordered = _ordered(books, client_order_id)
        if ordered is not None and total > ordered:
            found.append((client_order_id, f"{total} filled of {ordered}"))
    for fill in fills:
        order = books.ledger.orders.get(fill.client_order_id)
        if order is not None and order.body:
            fault = price_fault(fill, order.limit_price) or fee_fault(fill, books.max_fee)
            found += [(f"fill {fill.fill_id}", fault)] if fault else []
    text = f"{len(fills):,} fills within quantity, limit and fee"
    return Result(looked_at=text, findings=_findings("I4", found))


def _ordered(books: Books, client_order_id: str) -> Decimal | None:
    order = books.ledger.orders.get(client_order_id)
    if order is not None:
        return order.quantity
    row = books.venue.rows.get(client_order_id)
    return None if row is None else row.quantity


def price_fault(fill: Fill, limit_price: Decimal) -> str:
    """Why the price is worse than the limit, or nothing."""
    beyond = fill.price > limit_price if fill.side is Side.BUY else fill.price < limit_price
    return f"{fill.side} at {fill.price}, limit {limit_price}" if beyond else ""


def fee_fault(fill: Fill, max_fee: Decimal) -> str:
    """Why the fee is too high, or nothing."""
    allowed = EXACT.multiply(EXACT.multiply(fill.quantity, fill.price), max_fee)
    return f"fee {fill.fee} above {allowed}" if fill.fee > allowed else ""


def nothing_missing(books: Books) -> Result:
    """I6: what exists at the execution service is in the ledger, and says the same there."""
    ledger, venue = books.ledger, books.venue
    found: list[tuple[str, str]] = []
    if ledger.log_id is not None and ledger.log_id != venue.fence.log_id:
        found.append(("log", f"the ledger follows {ledger.log_id}, not {venue.fence.log_id}"))
    if ledger.cursor > venue.head:
        found.append(("log", f"it ends at {venue.head}, the ledger knows it to {ledger.cursor}"))
    strangers = taken_orders(venue).keys() - books.known
    found += [(client_order_id, "not in the ledger") for client_order_id in sorted(strangers)]
    compared = 0
    for event in venue.events:
        if event.seq > max(ledger.cursor, books.account.applied_seq):
            break
        compared += 1
        stored = ledger.events.get(event.seq)
        if stored is None:
            found.append((f"event {event.seq}", "not in the ledger"))
        elif stored != event:
            found.append((f"event {event.seq}", "the ledger holds another one under its seq"))
    text = f"{len(venue.rows):,} orders and {compared:,} events, all in the ledger"
    return Result(looked_at=text, findings=_findings("I6", found))


def only_frozen_bodies(books: Books) -> Result:
    """I11: what the execution service was sent for an id is the body that was frozen."""
    found: list[tuple[str, str]] = []
    compared = 0
    for client_order_id, row in books.venue.rows.items():
        order = books.ledger.orders.get(client_order_id)
        if order is None or not order.body or row.symbol is None:
            continue
        compared += 1
        body = None if books.venue.bodies is None else books.venue.bodies.get(client_order_id)
        fault = _term_fault(order, row)
        if body is not None and body != order.body:
            fault = fault or "the bytes that came are not those that were frozen"
        found += [(client_order_id, fault)] if fault else []
    how = "by their terms" if books.venue.bodies is None else "byte for byte"
    return Result(
        looked_at=f"{compared:,} bodies are the frozen ones, {how}",
        findings=_findings("I11", found),
    )


def _term_fault(order: Order, row: VenueOrder) -> str:
    try:
        frozen = msgspec.json.decode(order.body, type=OrderBody)
    except msgspec.MsgspecError as error:
        return f"unreadable body: {error}"
    differing = [
        name
        for name in TERMS
        if getattr(row, name) is not None and getattr(row, name) != getattr(frozen, name)
    ]
    return f"another {', '.join(differing)} than was frozen" if differing else ""


def _findings(invariant: str, found: list[tuple[str, str]]) -> tuple[Finding, ...]:
    return tuple(
        Finding(invariant=invariant, subject=subject, detail=detail) for subject, detail in found
    )
