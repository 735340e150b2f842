"""Orders: reserved once a decision, sent under the account's state, moved by rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, exc, or_, select, text, update

from engine.domain.cycle import AllocationFacts, CycleStatus, Stage, SymbolFacts
from engine.domain.ledger_values import Allocation, NewAlert, SendGrant, Unresolved
from engine.domain.model import Order, OrderStatus, Side, TradingState, VenueOrder
from engine.domain.orders import is_terminal
from engine.errors import NotFound, Refused
from engine.failpoints import bug
from engine.ledger.account_rows import (
    add_latch,
    lock_account,
    open_alert,
    permits,
    read_account,
)
from engine.ledger.archive_rows import allocation_ref, save_inputs
from engine.ledger.batch_rows import candidates_of, decision_values
from engine.ledger.column_types import AnyRow
from engine.ledger.connections import Connections
from engine.ledger.cycle_facts import cycle_row
from engine.ledger.event_rows import EventRows
from engine.ledger.fact_rows import allocation_facts, symbol_facts
from engine.ledger.order_changes import load_changes, save_changes, stored_fills
from engine.ledger.order_reads import order_by_id, orders_of_cycle
from engine.ledger.records import ORDER_COLUMNS, body_hash, dump, insert_all, order_of, order_values
from engine.ledger.records import change as change_rows
from engine.ledger.schema import (
    OPEN_ORDER,
    allocations,
    batches,
    cycles,
    decisions,
    orders,
    transitions,
)

ADOPTED = "adopted"
FOREIGN_ORDER = "foreign_order"
INCLUDE_REPORTED = (
    update(batches)
    .where(batches.c.cycle_id == bindparam("this"), batches.c.reported_at.is_not(None))
    .values(included=True)
)
NOW: BindParameter[Any] = bindparam("now")
UNRESOLVED = (
    select(*ORDER_COLUMNS)
    .where(
        text(OPEN_ORDER),
        or_(
            orders.c.epoch < bindparam("epoch"),
            orders.c.status == OrderStatus.UNKNOWN,
            (orders.c.status == OrderStatus.SENDING) & (orders.c.lease_until <= NOW),
            (orders.c.status == OrderStatus.RESERVED) & (orders.c.cutoff_at <= NOW),
            orders.c.valid_until <= NOW,
        ),
    )
    .order_by(orders.c.number)
)
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


class OrderRows(EventRows):
    """OrderLedger over SQL.

    `guard_window_s` is how far back (market time) stop-outs are told, `guards_all` whether those of
    every symbol are; `max_repeats` after how many filled orders of a side in a market day a
    strategy is disabled for a symbol.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        max_sends: int,
        max_repeats: int,
        guard_window_s: float,
        guards_all: bool = False,
    ) -> None:
        super().__init__(connections, max_repeats)
        self._max_sends = max_sends
        self._guard_window = timedelta(seconds=guard_window_s)
        self._guards_all = guards_all

    def symbol_facts(self, symbols: Sequence[str], market_time: datetime) -> dict[str, SymbolFacts]:
        """The past of each symbol, for the per-symbol rules."""
        since = market_time - self._guard_window
        with self._connections.read() as connection:
            return symbol_facts(connection, symbols, market_time, since, all_stops=self._guards_all)

    def allocate(
        self,
        cycle_id: str,
        now: datetime,
        applied_seq: int,
        decide: Callable[[AllocationFacts], Allocation],
    ) -> tuple[Order, ...]:
        """Decide a cycle once, under the account's lock; the stored orders when done before."""
        with self._connections.write() as connection:
            account = lock_account(connection)
            cycle = cycle_row(connection, cycle_id, lock=True)
            if cycle.allocated_at is None:
                _require_open(cycle, account, now)
                facts = _take_in(connection, cycle, account.effective, applied_seq)
                _store(connection, cycle, decide(facts), now)
            return orders_of_cycle(connection, cycle_id)

    def of_cycle(self, cycle_id: str) -> tuple[Order, ...]:
        """Orders of a cycle: exits first, then by confidence, symbol, strategy."""
        with self._connections.read() as connection:
            return orders_of_cycle(connection, cycle_id)

    def order(self, client_order_id: str) -> Order | None:
        """One order, or None."""
        with self._connections.read() as connection:
            return order_by_id(connection, client_order_id)

    def begin_send(self, client_order_id: str, now: datetime, lease_s: float) -> SendGrant:
        """Set SENDING, or say why not: state, epoch, cut-off, sends so far, rank."""
        with self._connections.write() as connection:
            account = lock_account(connection, share=True)
            change = load_changes(connection, [client_order_id]).get(client_order_id)
            if change is None:
                return SendGrant(order=None, refusal="no such order")
            refusal = _refusal(change.row, account, now, self._max_sends)
            if refusal:
                return SendGrant(order=None, refusal=refusal)
            values = {
                "status": OrderStatus.SENDING,
                "sends": change.row.sends + 1,
                "lease_until": now + timedelta(seconds=lease_s),
                "updated_at": now,
            }
            change_rows(connection, orders, {"client_order_id": client_order_id}, values)
            step = _step(client_order_id, change.status, OrderStatus.SENDING, "send", now)
            step["detail"] = f"send {values['sends']} of at most {self._max_sends}"
            insert_all(connection, transitions, [step])
            return SendGrant(order=order_by_id(connection, client_order_id))

    def record(self, answer: VenueOrder, cause: str, now: datetime) -> bool:
        """Record what the execution service says of an order; False when that is no news."""
        with self._connections.write() as connection:
            lock_account(connection)
            change = load_changes(connection, [answer.client_order_id]).get(answer.client_order_id)
            if change is None:
                raise NotFound(f"no order {answer.client_order_id}")
            change.answer(answer, cause, now)
            return save_changes(connection, [change], now, self._max_repeats)

    def mark_unknown(self, client_order_id: str, detail: str, now: datetime) -> bool:
        """SENDING -> UNKNOWN; its budget stays held."""
        with self._connections.write() as connection:
            lock_account(connection)
            change = load_changes(connection, [client_order_id]).get(client_order_id)
            if change is None or change.status is not OrderStatus.SENDING:
                return False
            change.move(OrderStatus.UNKNOWN, "no answer", detail, now)
            return save_changes(connection, [change], now, self._max_repeats)

    def unresolved(self, now: datetime) -> tuple[Unresolved, ...]:
        """Orders whose end is not proved and that nobody is working on.

        UNKNOWN; SENDING past its lease; RESERVED after the cut-off; open past its own validity;
        any open one of an older epoch.
        """
        with self._connections.read() as connection:
            account = read_account(connection)
            rows = connection.execute(UNRESOLVED, {"epoch": account.epoch, "now": now}).all()
        return tuple(
            Unresolved(
                order=order_of(row), may_resend=not _refusal(row, account, now, self._max_sends)
            )
            for row in rows
        )

    def adopt(self, order: VenueOrder, now: datetime) -> bool:
        """Take in an order that the ledger does not know; False when it does."""
        with self._connections.write() as connection:
            lock_account(connection)
            if load_changes(connection, [order.client_order_id]):
                return False
            _insert(connection, _adopted(order, now), ADOPTED, now, confidence=0.0)
            change = load_changes(connection, [order.client_order_id])[order.client_order_id]
            stored = stored_fills(connection, [order.client_order_id])
            change.take_fills(stored.get(order.client_order_id, []))
            save_changes(connection, [change], now, self._max_repeats)
            _tell_of_foreign(connection, order.client_order_id, now)
            return True

    def adopt_terms(self, order: VenueOrder, now: datetime) -> bool:
        """Take over the terms of an order that was accepted with another body; False if equal.

        The ledger that froze that body was lost or is a later copy of this one.
        """
        with self._connections.write() as connection:
            lock_account(connection)
            change = load_changes(connection, [order.client_order_id]).get(order.client_order_id)
            terms = None if change is None else _other_terms(change.row, order)
            if not terms:
                return False
            values = {"body": "", "body_hash": body_hash(""), "reason": ADOPTED, **terms}
            change_rows(connection, orders, {"client_order_id": order.client_order_id}, values)
            _tell_of_foreign(connection, order.client_order_id, now)
            return True


def _tell_of_foreign(connection: Connection, client_order_id: str, now: datetime) -> None:
    """An alert and a latched cause. The account is locked by the caller."""
    detail = f"order {client_order_id} is not of this ledger; adopted"
    alert = NewAlert(
        key=f"{FOREIGN_ORDER}|{client_order_id}",
        name=FOREIGN_ORDER,
        severity="critical",
        detail=detail,
    )
    open_alert(connection, alert, now)
    add_latch(connection, FOREIGN_ORDER, TradingState.REDUCING, detail, now)


def _other_terms(row: AnyRow, order: VenueOrder) -> dict[str, Any]:
    """What the accepted order says otherwise than the row that was reserved here."""
    known = {name: getattr(order, name) for name in TERMS}
    return {
        name: value
        for name, value in known.items()
        if value is not None and value != getattr(row, name)
    }


def _require_open(cycle: AnyRow, account: AnyRow, now: datetime) -> None:
    if cycle.status is not CycleStatus.RUNNING:
        raise Refused(f"cycle {cycle.cycle_id} is {cycle.status}")
    if cycle.epoch != account.epoch:
        raise Refused(f"cycle {cycle.cycle_id} of epoch {cycle.epoch} is fenced: {account.epoch}")
    if now > cycle.deadline_at:
        raise Refused(f"cycle {cycle.cycle_id} is past its deadline")
    if cycle.market_time is None:
        raise Refused(f"cycle {cycle.cycle_id} has no plan")


def _take_in(
    connection: Connection, cycle: AnyRow, state: TradingState, applied_seq: int
) -> AllocationFacts:
    """Close the list of batches that take part, and gather what is known with them."""
    connection.execute(INCLUDE_REPORTED, {"this": cycle.cycle_id})
    candidates = candidates_of(connection, cycle.cycle_id, included_only=True)
    return allocation_facts(connection, candidates, state, applied_seq, cycle.market_time)


def _store(connection: Connection, cycle: AnyRow, allocation: Allocation, now: datetime) -> None:
    rows = decision_values(cycle.cycle_id, Stage.ALLOCATE, allocation.decisions)
    insert_all(connection, decisions, rows)
    if not cycle.dry_run and allocation.orders:
        _reserve(connection, allocation, now)
        if allocation.basis is not None:
            row = {"cycle_id": cycle.cycle_id, "at": now, "basis": dump(allocation.basis)}
            insert_all(connection, allocations, [row])
    if allocation.record is not None:
        ref = allocation_ref(cycle.cycle_id)
        save_inputs(connection, ref, {Stage.ALLOCATE: allocation.record})
    change_rows(connection, cycles, {"cycle_id": cycle.cycle_id}, {"allocated_at": now})


def _reserve(connection: Connection, allocation: Allocation, now: datetime) -> None:
    confidence = {d.intent.decision_key: d.intent.confidence for d in allocation.decisions}
    try:
        for order in allocation.orders:
            known = confidence.get(order.decision_key, 0.0)
            _insert(connection, order, "allocate", now, confidence=known)
    except exc.IntegrityError as error:
        raise Refused(f"an order contradicts the ledger: {error.orig}") from error


def _insert(
    connection: Connection, order: Order, cause: str, now: datetime, *, confidence: float
) -> None:
    settled = is_terminal(order.status) and order.filled_quantity == 0
    connection.execute(orders.insert(), order_values(order, confidence=confidence, settled=settled))
    step = _step(order.client_order_id, "", order.status, cause, now)
    insert_all(connection, transitions, [step])


def _step(
    client_order_id: str, old: str, new: OrderStatus, cause: str, now: datetime
) -> dict[str, Any]:
    return {
        "client_order_id": client_order_id,
        "at": now,
        "from_status": old,
        "to_status": new,
        "cause": cause,
        "detail": "",
    }


def _refusal(row: AnyRow, account: AnyRow, now: datetime, max_sends: int) -> str:
    """Why an order may not be sent at this moment, or nothing."""
    sending_elsewhere = (
        row.status is OrderStatus.SENDING and row.lease_until is not None and row.lease_until > now
    )
    sendable = (OrderStatus.RESERVED, OrderStatus.SENDING, OrderStatus.UNKNOWN)
    refusals = {
        f"it is {row.status}": row.status not in sendable,
        "it is being sent": sending_elsewhere,
        f"its epoch {row.epoch} is not the current {account.epoch}": row.epoch != account.epoch
        and not bug("no_epoch_check"),
        "the cut-off has passed": now >= row.cutoff_at,
        f"it was sent {row.sends} times": row.sends >= max_sends and not bug("unbounded_tries"),
        f"the trading state is {account.effective}": not permits(
            account.effective, reduce_only=row.reduce_only
        )
        and not bug("no_state_recheck"),
    }
    return next((reason for reason, applies in refusals.items() if applies), "")


def _adopted(known: VenueOrder, now: datetime) -> Order:
    """An order of unknown origin: whatever the execution service says of it."""
    price = known.limit_price or known.reference_price or known.average_price or Decimal(0)
    return Order(
        client_order_id=known.client_order_id,
        decision_key=f"{ADOPTED}|{known.client_order_id}",
        attempt=0,
        cycle_id=ADOPTED,
        epoch=0 if known.epoch is None else known.epoch,
        symbol=known.symbol or "",
        side=Side.BUY if known.side is None else known.side,
        quantity=known.filled_quantity if known.quantity is None else known.quantity,
        limit_price=price,
        reference_price=price if known.reference_price is None else known.reference_price,
        reduce_only=bool(known.reduce_only),
        strategy=known.strategy or "",
        body="",
        status=known.state,
        created_at=now,
        updated_at=now,
        cutoff_at=now,
        valid_until=now,
        market_time=now,
        sends=1,
        venue_order_id=known.order_id,
        filled_quantity=known.filled_quantity,
        average_price=known.average_price,
        fees=known.fees,
        reason=ADOPTED,
    )
