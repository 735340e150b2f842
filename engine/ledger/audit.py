"""The ledger's part of the invariants, as queries: what they find must not exist.

I1 at most one effective order per decision key. I2 every fill belongs to one order, and the log
is whole up to the cursor. I4 fills within quantity, limit and fee. I6 nothing that the execution
log speaks of is missing here. I7 nothing stays open past its deadline. I8 what an order needs is
at least what its events imply. I10 epochs rise, one scheduled cycle a slot, ranks never fall.
I11 the body of an order is the one that was frozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby, pairwise

import msgspec
from sqlalchemy import Connection, func, select

from engine.domain.cycle import CycleStatus
from engine.domain.model import Fill, OrderEvent, OrderStatus, Side, Value
from engine.domain.orders import NEVER_TRADED, TERMINAL, is_terminal, may_move
from engine.ledger.account_rows import read_account
from engine.ledger.event_rows import held_after, joined
from engine.ledger.ledger import SqlLedger
from engine.ledger.order_changes import EXACT, total
from engine.ledger.position_rows import adoptions_of
from engine.ledger.records import body_hash, fill_of, load
from engine.ledger.schema import cycles, events, fills, holdings, orders, transitions

GRACE = timedelta(seconds=30)


class Finding(Value, frozen=True, kw_only=True):
    """A broken invariant: which, of what, and how."""

    invariant: str
    subject: str
    detail: str


class _Body(Value, frozen=True, kw_only=True):
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal


def audit(ledger: SqlLedger, now: datetime | None = None) -> tuple[Finding, ...]:
    """Check every invariant; with `now` (wall time) also that nothing is open for too long."""
    with ledger.reading() as connection:
        return findings(connection, ledger.max_fee, now)


def findings(connection: Connection, max_fee: Decimal, now: datetime | None) -> tuple[Finding, ...]:
    """The same within a transaction of the caller's."""
    return (
        *_effective_orders(connection),
        *_log(connection),
        *_fills(connection, max_fee),
        *_missing_orders(connection),
        *(() if now is None else _overdue(connection, now)),
        *_needs(connection),
        *_holdings(connection),
        *_epochs(connection),
        *_ranks(connection),
        *_bodies(connection),
    )


def _effective_orders(connection: Connection) -> Iterator[Finding]:
    """I1: orders of a key that trade, or still may."""
    chosen = select(orders.c.decision_key, func.count()).where(
        orders.c.has_fill | orders.c.status.not_in(sorted(TERMINAL))
    )
    several = chosen.group_by(orders.c.decision_key).having(func.count() > 1)
    for key, count in connection.execute(several):
        yield Finding(invariant="I1", subject=key, detail=f"{count} effective orders")


def _log(connection: Connection) -> Iterator[Finding]:
    """I2: events without a hole up to the cursor, and one fill row for each fill event."""
    cursor = read_account(connection).contiguous_seq
    held = select(func.count()).where(events.c.seq <= cursor)
    count = connection.execute(held).scalar_one()
    if count != cursor:
        detail = f"{count} events up to seq {cursor}"
        yield Finding(invariant="I2", subject="log", detail=detail)
    orphans = select(events.c.seq).join(fills, fills.c.seq == events.c.seq, isouter=True)
    for seq in connection.execute(
        orphans.where(events.c.kind == "fill", fills.c.seq.is_(None))
    ).scalars():
        yield Finding(invariant="I2", subject=f"event {seq}", detail="no fill is stored for it")


def _fills(connection: Connection, max_fee: Decimal) -> Iterator[Finding]:
    """I4: no more than ordered, at no worse price than the limit, at no higher fee."""
    chosen = (
        select(fills, orders.c.quantity.label("ordered"), orders.c.limit_price, orders.c.body)
        .join(orders, orders.c.client_order_id == fills.c.client_order_id)
        .order_by(fills.c.client_order_id, fills.c.seq)
    )
    rows = connection.execute(chosen).all()
    for client_order_id, group in groupby(rows, key=lambda row: row.client_order_id):
        members = list(group)
        filled = total(row.quantity for row in members)
        if filled > members[0].ordered:
            detail = f"{filled} filled of {members[0].ordered}"
            yield Finding(invariant="I4", subject=client_order_id, detail=detail)
        for row in members:
            fault = _fault(fill_of(row), row.limit_price, max_fee)
            if fault and row.body:  # what was adopted was not sent on the ledger's terms
                yield Finding(invariant="I4", subject=f"fill {row.fill_id}", detail=fault)


def _fault(fill: Fill, limit_price: Decimal, max_fee: Decimal) -> str:
    beyond = fill.price > limit_price if fill.side is Side.BUY else fill.price < limit_price
    if beyond:
        return f"{fill.side} at {fill.price}, limit {limit_price}"
    allowed = EXACT.multiply(EXACT.multiply(fill.quantity, fill.price), max_fee)
    return f"fee {fill.fee} above {allowed}" if fill.fee > allowed else ""


def _missing_orders(connection: Connection) -> Iterator[Finding]:
    """I6: every order that the execution log speaks of is known."""
    same = orders.c.client_order_id == events.c.client_order_id
    chosen = select(events.c.client_order_id).join(orders, same, isouter=True)
    missing = chosen.where(orders.c.number.is_(None)).distinct()
    for client_order_id in connection.execute(missing).scalars():
        yield Finding(invariant="I6", subject=client_order_id, detail="not in the ledger")


def _overdue(connection: Connection, now: datetime) -> Iterator[Finding]:
    """I7: no order and no cycle is open past its deadline and 30 s more."""
    late = select(orders.c.client_order_id, orders.c.status, orders.c.valid_until).where(
        orders.c.status.not_in(sorted(TERMINAL)), orders.c.valid_until < now - GRACE
    )
    for client_order_id, status, until in connection.execute(late):
        detail = f"{status}, valid until {until.isoformat()}"
        yield Finding(invariant="I7", subject=client_order_id, detail=detail)
    running = select(cycles.c.cycle_id, cycles.c.deadline_at).where(
        cycles.c.status == CycleStatus.RUNNING, cycles.c.deadline_at < now - GRACE
    )
    for cycle_id, deadline in connection.execute(running):
        detail = f"RUNNING, deadline {deadline.isoformat()}"
        yield Finding(invariant="I7", subject=cycle_id, detail=detail)


def _needs(connection: Connection) -> Iterator[Finding]:
    """I8: the ledger knows at least what the events say was filled, and no end they deny."""
    chosen = (
        select(events.c.payload, orders.c.status, orders.c.filled_quantity)
        .join(orders, orders.c.client_order_id == events.c.client_order_id)
        .where(events.c.kind == "order")
        .order_by(events.c.seq)
    )
    for payload, status, filled in connection.execute(chosen):
        event = load(payload, OrderEvent)
        if event.filled_quantity > filled:
            detail = f"{filled} filled, the log says {event.filled_quantity}"
            yield Finding(invariant="I8", subject=event.client_order_id, detail=detail)
        if is_terminal(event.state) and event.state is not status:
            detail = f"{status}, the log says {event.state}"
            yield Finding(invariant="I8", subject=event.client_order_id, detail=detail)
    yield from _filled_though_never_traded(connection)


def _filled_though_never_traded(connection: Connection) -> Iterator[Finding]:
    chosen = select(orders.c.client_order_id, orders.c.status).where(
        orders.c.has_fill, orders.c.status.in_(sorted(NEVER_TRADED))
    )
    for client_order_id, status in connection.execute(chosen):
        yield Finding(invariant="I8", subject=client_order_id, detail=f"{status} with a fill")


def _holdings(connection: Connection) -> Iterator[Finding]:
    """I8: the running holdings are what all stored fills and adoptions make."""
    rows = connection.execute(select(fills).order_by(fills.c.symbol, fills.c.seq)).all()
    grouped = groupby(rows, key=lambda row: row.symbol)
    made = {
        symbol: held_after(
            symbol, None, [fill_of(row) for row in group], joined(connection, symbol)
        )
        for symbol, group in grouped
    }
    for adoption in adoptions_of(connection):
        if adoption.symbol not in made:
            held = joined(connection, adoption.symbol)
            made[adoption.symbol] = held_after(adoption.symbol, None, [], held)
    known = {row.symbol: row.quantity for row in connection.execute(select(holdings))}
    for symbol in sorted(made.keys() | known.keys()):
        quantity = made[symbol]["quantity"] if symbol in made else Decimal(0)
        if known.get(symbol) != quantity:
            detail = f"held {known.get(symbol)}, the fills make {quantity}"
            yield Finding(invariant="I8", subject=symbol, detail=detail)


def _epochs(connection: Connection) -> Iterator[Finding]:
    """I10: each cycle's epoch is above those of all before it. The slot is the unique key."""
    chosen = select(cycles.c.cycle_id, cycles.c.epoch).where(cycles.c.epoch.is_not(None))
    rows = connection.execute(chosen.order_by(cycles.c.number)).all()
    for before, after in pairwise(rows):
        if after.epoch <= before.epoch:
            detail = f"epoch {after.epoch} after {before.epoch}"
            yield Finding(invariant="I10", subject=after.cycle_id, detail=detail)


def _ranks(connection: Connection) -> Iterator[Finding]:
    """I10: the transitions of an order are one chain of rising ranks, up to its status."""
    chosen = (
        select(transitions, orders.c.status)
        .join(orders, orders.c.client_order_id == transitions.c.client_order_id)
        .order_by(transitions.c.client_order_id, transitions.c.number)
    )
    rows = connection.execute(chosen).all()
    for client_order_id, group in groupby(rows, key=lambda row: row.client_order_id):
        current = ""
        status = ""
        for row in group:
            status = row.status
            if row.from_status != current or not _may_follow(current, row.to_status):
                detail = f"{row.from_status or 'nothing'} -> {row.to_status} after {current!r}"
                yield Finding(invariant="I10", subject=client_order_id, detail=detail)
            current = row.to_status
        if current != status:
            detail = f"is {status}, its transitions end in {current}"
            yield Finding(invariant="I10", subject=client_order_id, detail=detail)


def _may_follow(old: str, new: OrderStatus) -> bool:
    if not old:
        return True
    # A send whose lease ran out is repeated: the same bytes, the same rank.
    repeats = (old, new) == (OrderStatus.SENDING, OrderStatus.SENDING)
    return repeats or may_move(OrderStatus(old), new)


def _bodies(connection: Connection) -> Iterator[Finding]:
    """I11: the body is the frozen one, and says what the row says. Adopted orders have none."""
    columns = (orders.c[name] for name in _Body.__struct_fields__)
    chosen = select(*columns, orders.c.body, orders.c.body_hash).where(orders.c.body != "")
    for row in connection.execute(chosen):
        if body_hash(row.body) != row.body_hash:
            detail = "the body is not the one that was frozen"
            yield Finding(invariant="I11", subject=row.client_order_id, detail=detail)
            continue
        fault = _body_fault(
            row.body, {name: getattr(row, name) for name in _Body.__struct_fields__}
        )
        if fault:
            yield Finding(invariant="I11", subject=row.client_order_id, detail=fault)


def _body_fault(body: str, row: dict[str, object]) -> str:
    try:
        sent = msgspec.structs.asdict(load(body, _Body))
    except msgspec.MsgspecError as error:
        return f"unreadable body: {error}"
    differing = [name for name, value in sent.items() if row[name] != value]
    return f"the body differs in {', '.join(differing)}" if differing else ""
