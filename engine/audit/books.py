"""What the audit looks at: the three stores as values, read so that they can be compared.

The portfolio is read first, then the ledger in one transaction, then the execution service. So
what the portfolio has applied is stored in the ledger, and what the ledger holds against an order
was held when the execution service was asked. `known` is read from the ledger last: an order that
was accepted in between has its row by then.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from engine.domain.ledger_values import AllocationBasis
from engine.domain.messages import Fence, SwitchChange
from engine.domain.model import (
    ExecutionEvent,
    Fill,
    FillEvent,
    Order,
    OrderEvent,
    OrderStatus,
    TradingState,
    Value,
    VenueOrder,
)
from engine.domain.orders import is_terminal
from engine.ledger.audit import Finding

E = TypeVar("E", OrderEvent, FillEvent)


class Step(Value, frozen=True, kw_only=True):
    """A transition of an order; `number` rises with the order of commits."""

    number: int
    client_order_id: str
    at: datetime
    from_status: str
    to_status: OrderStatus
    cause: str


class StateChange(Value, frozen=True, kw_only=True):
    """The trading state from one moment on."""

    at: datetime
    operator: TradingState
    effective: TradingState


class Halt(Value, frozen=True, kw_only=True):
    """An answered `POST /halt`; `confirmed` when the execution service had confirmed by then."""

    at: datetime
    confirmed: bool


class Decided(Value, frozen=True, kw_only=True):
    """What a cycle was decided on."""

    cycle_id: str
    at: datetime
    basis: AllocationBasis


class LedgerBook(Value, frozen=True, kw_only=True):
    """The engine's ledger at one instant. `findings` are those that it shows by itself.

    `adopted` are quantities that joined the account without a fill, by symbol.
    """

    cursor: int
    log_id: str | None
    orders: dict[str, Order]
    steps: tuple[Step, ...]
    events: dict[int, ExecutionEvent]
    fills: tuple[Fill, ...]
    cycles: int
    decided: tuple[Decided, ...]
    states: tuple[StateChange, ...]
    halts: tuple[Halt, ...]
    adopted: dict[str, Decimal] = {}
    findings: tuple[Finding, ...] = ()


class VenueBook(Value, frozen=True, kw_only=True):
    """The execution service. `rows` are orders as it answers them now, by id.

    `bodies` are the bytes that came, where they can be read; `switches` every change of fence
    and kill switch, where the service tells them.
    """

    fence: Fence
    head: int
    events: tuple[ExecutionEvent, ...]
    rows: dict[str, VenueOrder]
    bodies: dict[str, str] | None = None
    switches: tuple[SwitchChange, ...] | None = None

    def order_events(self) -> tuple[OrderEvent, ...]:
        """States of orders, in order of seq."""
        return tuple(event for event in self.events if isinstance(event, OrderEvent))

    def fills(self, through: int | None = None) -> tuple[FillEvent, ...]:
        """Fills, in order of seq, up to `through` if given."""
        return tuple(
            event
            for event in self.events
            if isinstance(event, FillEvent) and (through is None or event.seq <= through)
        )


class AccountBook(Value, frozen=True, kw_only=True):
    """The portfolio. `fills` and `starting_cash` where its file can be read."""

    cash: Decimal
    quantities: dict[str, Decimal]
    applied_seq: int
    foreign: frozenset[str] = frozenset()
    fills: tuple[Fill, ...] | None = None
    starting_cash: Decimal | None = None


class Books(Value, frozen=True, kw_only=True):
    """All three stores. `max_fee` is the fraction of an order's value that a fill may cost."""

    ledger: LedgerBook
    venue: VenueBook
    account: AccountBook
    known: frozenset[str]
    max_fee: Decimal


class Result(Value, frozen=True, kw_only=True):
    """What one invariant says: what was looked at, and everything that breaks it."""

    looked_at: str
    findings: tuple[Finding, ...]


class FirstSeen(Value, frozen=True, kw_only=True):
    """When an order was taken: the seq of its first event, and the wall time of its first state."""

    seq: int
    at: datetime
    epoch: int | None
    reduce_only: bool


def taken_orders(venue: VenueBook) -> dict[str, FirstSeen]:
    """Every id under which an order was taken, by id: a tombstone is none."""
    first_seq: dict[str, int] = {}
    taken: dict[str, FirstSeen] = {}
    for event in venue.events:
        first_seq.setdefault(event.client_order_id, event.seq)
        if isinstance(event, FillEvent) or event.client_order_id in taken:
            continue
        if event.symbol is None and event.state is OrderStatus.VOIDED:
            continue
        taken[event.client_order_id] = FirstSeen(
            seq=first_seq[event.client_order_id],
            at=event.at,
            epoch=event.epoch,
            reduce_only=bool(event.reduce_only),
        )
    return taken


def is_effective(row: VenueOrder) -> bool:
    """Whether the order traded, or still may."""
    return row.filled_quantity > 0 or not is_terminal(row.state)
