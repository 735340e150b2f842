"""Invariants of control: nothing open for too long, epochs and ranks rise, halts are kept."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate

from engine.audit.books import (
    Books,
    FirstSeen,
    Halt,
    Result,
    StateChange,
    Step,
    taken_orders,
)
from engine.domain.model import Order, OrderStatus, TradingState
from engine.domain.orders import is_terminal
from engine.ledger.audit import Finding

# Times are taken before a transaction begins; it may wait so long for the ledger's lock.
LOCK_PATIENCE = timedelta(seconds=5)


def nothing_open_too_long(books: Books) -> Result:
    """I7: no order and no cycle is open past its deadline and 30 s; the ledger shows it alone."""
    waiting = sum(not is_terminal(order.status) for order in books.ledger.orders.values())
    text = f"{books.ledger.cycles:,} cycles, {waiting} orders open, none past its deadline + 30 s"
    return Result(looked_at=text, findings=())


def epochs_and_ranks_rise(books: Books) -> Result:
    """I10: epochs rise, one scheduled cycle a slot, ranks never fall; the ledger shows it alone."""
    text = f"{books.ledger.cycles:,} cycles and {len(books.ledger.steps):,} steps in order"
    return Result(looked_at=text, findings=())


def halts_are_kept(books: Books) -> Result:
    """I12: no order that raises the risk was accepted after the answer to `POST /halt`.

    Three ways of looking. The service's own history: nothing is taken between a halt and its
    release, whatever the clocks say. The answers that the engine gave: nothing is accepted after
    one and before the next release, except, where the service had not confirmed, what was on the
    wire. The ledger: nothing begins to be sent in a state that forbids it.
    """
    taken = taken_orders(books.venue)
    found = [
        *_taken_while_halted(books, taken),
        *_accepted_after_answers(books, taken),
        *_sent_while_forbidden(books),
    ]
    halts = len(books.ledger.halts)
    text = f"{halts} halts answered, no order accepted after one; sends as the state allows"
    findings = tuple(Finding(invariant="I12", subject=one, detail=what) for one, what in found)
    return Result(looked_at=text, findings=findings)


def _taken_while_halted(books: Books, taken: dict[str, FirstSeen]) -> Iterator[tuple[str, str]]:
    changes = books.venue.switches or ()
    for client_order_id, first in taken.items():
        past = [change for change in changes if change.after_seq < first.seq]
        if past and past[-1].halted:
            detail = f"taken at seq {first.seq}, halted after seq {past[-1].after_seq}"
            yield client_order_id, detail


def _accepted_after_answers(books: Books, taken: dict[str, FirstSeen]) -> Iterator[tuple[str, str]]:
    sends = _sends(books.ledger.steps)
    for halt in books.ledger.halts:
        released = _released_at(halt, books.ledger.states)
        for client_order_id, first in taken.items():
            if first.at <= halt.at or (released is not None and first.at >= released):
                continue
            order = books.ledger.orders.get(client_order_id)
            if order is None or order.reduce_only or order.status is OrderStatus.REJECTED:
                continue
            begun = max((at for at in sends[client_order_id] if at <= first.at), default=None)
            if halt.confirmed or (begun is not None and begun > halt.at):
                detail = f"accepted at {first.at.isoformat()}, the halt was answered "
                yield client_order_id, detail + halt.at.isoformat()


def _released_at(halt: Halt, states: tuple[StateChange, ...]) -> datetime | None:
    later = (
        change.at
        for change in states
        if change.at > halt.at and change.operator is not TradingState.HALTED
    )
    return min(later, default=None)


def _sends(steps: tuple[Step, ...]) -> dict[str, list[datetime]]:
    found: dict[str, list[datetime]] = defaultdict(list)
    for step in steps:
        if step.to_status is OrderStatus.SENDING:
            found[step.client_order_id].append(step.at)
    return found


def _sent_while_forbidden(books: Books) -> Iterator[tuple[str, str]]:
    states = books.ledger.states
    # In the order of their commits: a time that was taken earlier may be committed later.
    moments = list(accumulate((change.at for change in states), max))
    for client_order_id, sends in _sends(books.ledger.steps).items():
        order = books.ledger.orders.get(client_order_id)
        for at in sends if order is not None else ():
            index = bisect_right(moments, at) - 1
            if index < 0 or order is None or moments[index] > at - LOCK_PATIENCE:
                continue
            if _forbids(states[index].effective, order):
                since = moments[index].isoformat()
                yield (
                    client_order_id,
                    f"sent at {at.isoformat()}, {states[index].effective} since {since}",
                )


def _forbids(state: TradingState, order: Order) -> bool:
    if state is TradingState.HALTED:
        return True
    return state is TradingState.REDUCING and not order.reduce_only
