"""The report of a cycle as its rows make it now: one that runs, or that the next one aborts.

A stored report stands, but for orders whose fate was unknown when it was made.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, distinct, func, select

from engine.domain.cycle import (
    BatchCounts,
    CycleReport,
    CycleStatus,
    OrderCounts,
    OutcomeStatus,
    SignalCounts,
    Stage,
    SymbolCounts,
)
from engine.domain.model import OrderStatus, Verdict
from engine.ledger.column_types import AnyRow
from engine.ledger.cycle_facts import batch_rows, failures, report_so_far
from engine.ledger.records import texts
from engine.ledger.schema import decisions, orders, outcomes, signals


def live_report(connection: Connection, row: AnyRow) -> CycleReport:
    """The stored report, or the one that the rows make up to now."""
    found = [] if row.report is not None else batch_rows(connection, row.cycle_id)
    so_far = report_so_far(connection, row, found)
    if row.report is not None and so_far.orders.unknown > 0:
        return msgspec.structs.replace(so_far, orders=_orders(connection, row.cycle_id))
    if row.report is not None or row.status is CycleStatus.SKIPPED:
        return so_far
    reported = [batch for batch in found if batch.reported_at is not None]
    failed = set(failures(row, found))
    if row.status is CycleStatus.RUNNING:
        failed &= {batch.batch for batch in reported}
    done = {batch.batch for batch in reported} - failed
    return msgspec.structs.replace(
        so_far,
        symbols=_symbols(connection, row.cycle_id, found),
        batches=BatchCounts(total=len(found), ok=len(done), failed=len(failed)),
        signals=_signals(connection, row.cycle_id),
        orders=_orders(connection, row.cycle_id),
    )


def live_stage(row: AnyRow, found: list[AnyRow]) -> Stage:
    """The step that a running cycle is in."""
    if row.planned_at is None:
        return Stage.SELECT
    if row.allocated_at is not None:
        return Stage.EXECUTE
    if all(batch.reported_at is not None for batch in found):
        return Stage.ALLOCATE
    return Stage.FETCH


def _counts(connection: Connection, column: Any, cycle_id: str) -> dict[Any, int]:
    table = column.table
    grouped = select(column, func.count()).where(table.c.cycle_id == cycle_id)
    counted = connection.execute(grouped.group_by(column))
    return {row[0]: row[1] for row in counted}


def _symbols(connection: Connection, cycle_id: str, found: list[AnyRow]) -> SymbolCounts:
    counts = _counts(connection, outcomes.c.status, cycle_id)
    return SymbolCounts(
        selected=sum(len(texts(batch.symbols)) for batch in found),
        evaluated=counts.get(OutcomeStatus.OK, 0),
        skipped=counts.get(OutcomeStatus.SKIPPED, 0),
        failed=counts.get(OutcomeStatus.FAILED, 0),
    )


def _signals(connection: Connection, cycle_id: str) -> SignalCounts:
    counts = {bool(kept): n for kept, n in _counts(connection, signals.c.kept, cycle_id).items()}
    kept, dropped = counts.get(True, 0), counts.get(False, 0)
    return SignalCounts(received=kept + dropped, kept=kept, dropped=dropped)


def _orders(connection: Connection, cycle_id: str) -> OrderCounts:
    verdicts = _counts(connection, decisions.c.verdict, cycle_id)
    denied = verdicts.get(Verdict.DENIED, 0)
    by_status = _counts(connection, orders.c.status, cycle_id)
    mine = select(func.count(distinct(orders.c.client_order_id))).where(
        orders.c.cycle_id == cycle_id
    )
    return OrderCounts(
        candidates=sum(verdicts.values()),
        approved=sum(verdicts.values()) - denied,
        denied=denied,
        submitted=connection.execute(mine.where(orders.c.sends > 0)).scalar_one(),
        filled=connection.execute(mine.where(orders.c.has_fill)).scalar_one(),
        rejected=by_status.get(OrderStatus.REJECTED, 0),
        unknown=by_status.get(OrderStatus.UNKNOWN, 0),
    )
