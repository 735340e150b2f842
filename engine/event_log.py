"""Reads the execution service's log into the ledger, and adopts orders that it does not know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.domain.messages import EventPage
from engine.ports import Engine
from engine.telemetry import get_logger

log = get_logger(__name__)

PAGE = 500


@dataclass(frozen=True)
class Reach:
    """The seq up to which the log is stored without a hole; `fault` when it lost what it had."""

    through: int
    fault: str = ""


def follow(engine: Engine, applied_seq: int | None) -> Reach:
    """Store every new event, and adopt orders that the ledger does not know.

    `applied_seq` is the portfolio's, None when it does not answer: no event may be relayed that
    was not read here, for an order of an event that was skipped would never be adopted.
    Raises ServiceError.
    """
    orders = engine.ledger.orders
    log_id = orders.log_id()
    contiguous = orders.contiguous_seq()
    after = contiguous if applied_seq is None else min(contiguous, applied_seq)
    unknown: list[str] = []
    while True:
        page = engine.execution.events(after, PAGE)
        fault = _other_log(page, log_id) or _behind(page, contiguous, applied_seq)
        if fault:
            return Reach(min(after, page.head), fault)
        events = page.events
        expected = range(after + 1, after + 1 + len(events))
        whole = [event for event, seq in zip(events, expected, strict=True) if event.seq == seq]
        unknown.extend(orders.store_events(whole, engine.clock.now()))
        after += len(whole)
        if len(whole) < len(events) or after >= page.head or not events:
            _adopt(engine, unknown)
            return Reach(after)


def _other_log(page: EventPage, log_id: str | None) -> str:
    if log_id is None or page.log_id == log_id:
        return ""
    return f"the events are of log {page.log_id}, the ledger belongs to {log_id}"


def _behind(page: EventPage, contiguous: int, applied_seq: int | None) -> str:
    if page.head >= max(contiguous, applied_seq or 0):
        return ""
    applied = "" if applied_seq is None else f", the portfolio applied {applied_seq}"
    return f"the execution log ends at {page.head}, the ledger knows it to {contiguous}{applied}"


def _adopt(engine: Engine, unknown: Iterable[str]) -> None:
    for client_order_id in dict.fromkeys(unknown):
        order = engine.execution.order(client_order_id)
        if order is not None and engine.ledger.orders.adopt(order, engine.clock.now()):
            log.warning("foreign_order_adopted", client_order_id=client_order_id)
