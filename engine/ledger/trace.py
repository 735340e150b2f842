"""The timeline of a cycle, from the request to the last fill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, select

from engine.domain.operator_views import Trace, TraceEvent
from engine.domain.spans import BATCH_STEPS, BatchTimes, began_at
from engine.ledger.column_types import AnyRow
from engine.ledger.cycle_facts import batch_rows, cycle_row
from engine.ledger.records import load, texts
from engine.ledger.schema import fills, orders, transitions


def trace_of(connection: Connection, cycle_id: str) -> Trace:
    """Everything that the ledger dates in this cycle, in order of time. Raises NotFound.

    Fills carry market time, so that they stand where their order's last step does.
    """
    row = cycle_row(connection, cycle_id)
    events = [*_of_cycle(row), *_of_batches(connection, row), *_of_orders(connection, cycle_id)]
    # Sorting keeps the order of what happened at one instant.
    events.sort(key=lambda event: event.at)
    return Trace(cycle_id=cycle_id, request=row.key, events=tuple(events))


def _of_cycle(row: AnyRow) -> Iterator[TraceEvent]:
    instants: list[tuple[datetime | None, str, str]] = [
        (row.scheduled_at, "requested", f"{row.trigger}: {row.key}"),
        (row.started_at, "opened", f"epoch {row.epoch}" if row.epoch is not None else row.reason),
        (row.planned_at, "planned", f"{row.symbols_selected or 0} symbols"),
        (row.allocated_at, "allocated", "every candidate decided, orders reserved"),
        (row.finished_at, "closed", f"{row.status} {row.reason}".strip()),
    ]
    for at, what, detail in instants:
        if at is not None:
            yield TraceEvent(at=at, what=what, detail=detail)


def _of_batches(connection: Connection, row: AnyRow) -> Iterator[TraceEvent]:
    for batch in batch_rows(connection, row.cycle_id):
        seconds = load(batch.step_seconds, dict[str, float])
        times = BatchTimes(
            began_at=began_at(batch.claimed_at, batch.reported_at, seconds),
            reported_at=batch.reported_at,
            step_seconds=seconds,
        )
        about = f"{len(texts(batch.symbols))} symbols, by {batch.claimed_by}"
        if times.began_at is not None:
            # Seconds are of another clock than instants: nothing is before the plan.
            at = max(times.began_at, row.planned_at or times.began_at)
            yield TraceEvent(at=at, what="claimed", detail=about, batch=batch.batch)
        for step in BATCH_STEPS:
            ended = times.end_of(step)
            if ended is not None:
                yield TraceEvent(
                    at=max(ended, row.planned_at or ended),
                    what=step.value,
                    detail=batch.failed,
                    batch=batch.batch,
                    seconds=seconds.get(step.value),
                )


def _of_orders(connection: Connection, cycle_id: str) -> Iterator[TraceEvent]:
    chosen = (
        select(transitions, orders.c.symbol, orders.c.side)
        .join(orders, orders.c.client_order_id == transitions.c.client_order_id)
        .where(orders.c.cycle_id == cycle_id)
        .order_by(transitions.c.number)
    )
    last: dict[str, datetime] = {}
    for row in connection.execute(chosen):
        last[row.client_order_id] = row.at
        yield TraceEvent(
            at=row.at,
            what=str(row.to_status),
            detail=f"{row.side} {row.symbol}: {row.cause} {row.detail}".strip(),
            symbol=row.symbol,
            client_order_id=row.client_order_id,
        )
    made = select(fills).join(orders, orders.c.client_order_id == fills.c.client_order_id)
    for fill in connection.execute(made.where(orders.c.cycle_id == cycle_id).order_by(fills.c.seq)):
        if fill.client_order_id in last:
            yield TraceEvent(
                at=last[fill.client_order_id],
                what="fill",
                detail=f"{fill.quantity:f} at {fill.price:f}, fee {fill.fee:f}, seq {fill.seq}",
                symbol=fill.symbol,
                client_order_id=fill.client_order_id,
            )
