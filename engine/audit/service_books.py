"""Reads execution service and portfolio for the audit, over HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from engine.audit.books import AccountBook, VenueBook
from engine.clients.execution import HttpExecution
from engine.domain.model import ExecutionEvent, OrderEvent, PortfolioSnapshot, VenueOrder
from engine.domain.orders import is_terminal
from engine.ports import Portfolio

PAGE = 500


def read_account(portfolio: Portfolio) -> AccountBook:
    """The account now. Raises ServiceError."""
    return account_book(portfolio.snapshot())


def account_book(snapshot: PortfolioSnapshot) -> AccountBook:
    """A snapshot as the audit compares it."""
    return AccountBook(
        cash=snapshot.cash,
        quantities={held.symbol: held.quantity for held in snapshot.positions},
        applied_seq=snapshot.applied_seq,
        foreign=frozenset(held.symbol for held in snapshot.positions if held.strategy is None),
    )


def read_venue(execution: HttpExecution, asked: Iterable[str]) -> VenueBook:
    """The whole log, the fence, and each order of `asked` that the log does not settle.

    Raises ServiceError.
    """
    history = execution.switches()
    events, head = _log(execution)
    rows = newest_rows(events)
    for client_order_id in asked:
        if client_order_id in rows and is_terminal(rows[client_order_id].state):
            continue
        row = execution.order(client_order_id)
        if row is not None and row.seq <= head:
            rows[client_order_id] = row
    return VenueBook(
        fence=execution.fence(),
        head=head,
        events=events,
        rows=rows,
        switches=None if history is None else history.changes,
    )


def newest_rows(events: Iterable[ExecutionEvent]) -> dict[str, VenueOrder]:
    """Each order as its newest event has it."""
    names = VenueOrder.__struct_fields__
    return {
        event.client_order_id: VenueOrder(**{name: getattr(event, name) for name in names})
        for event in events
        if isinstance(event, OrderEvent)
    }


def _log(execution: HttpExecution) -> tuple[tuple[ExecutionEvent, ...], int]:
    """Every event up to the head that the first page told, and that head."""
    page = execution.events(0, PAGE)
    head, events = page.head, list(page.events)
    while page.events and events[-1].seq < head:
        page = execution.events(events[-1].seq, PAGE)
        events += page.events
    return tuple(event for event in events if event.seq <= head), head
