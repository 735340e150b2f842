"""What a cycle left in the ledger, gathered for its report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import (
    BindParameter,
    Connection,
    Executable,
    Text,
    bindparam,
    func,
    select,
    type_coerce,
)

from engine.domain.cycle import (
    CyclePlan,
    CycleReport,
    CycleTimes,
    Degradation,
    OutcomeStatus,
    SymbolOutcome,
)
from engine.domain.ledger_values import CycleFacts
from engine.domain.model import RiskDecision
from engine.errors import NotFound
from engine.ledger.column_types import AnyRow
from engine.ledger.order_reads import orders_of_cycle
from engine.ledger.records import load
from engine.ledger.schema import batches, cycle_steps, cycles, decisions, outcomes, signals

CYCLE_ID: BindParameter[Any] = bindparam("cycle_id")
# Plans and their slices are large, and only who carries them out needs them.
CYCLE_ROW = select(*(column for column in cycles.c if column is not cycles.c.plan))
CYCLE = CYCLE_ROW.where(cycles.c.cycle_id == CYCLE_ID)
LOCKED_CYCLE = select(cycles).where(cycles.c.cycle_id == CYCLE_ID).with_for_update()
BATCHES = (
    select(*(column for column in batches.c if column is not batches.c.slice))
    .where(batches.c.cycle_id == CYCLE_ID)
    .order_by(batches.c.batch)
)
STEPS = select(cycle_steps.c.step, cycle_steps.c.seconds).where(cycle_steps.c.cycle_id == CYCLE_ID)
# A cycle has as many as symbols: their texts become values all at once, not column by column.
OUTCOMES = (
    select(
        outcomes.c.symbol,
        outcomes.c.batch,
        type_coerce(outcomes.c.stage, Text).label("stage"),
        type_coerce(outcomes.c.status, Text).label("status"),
        outcomes.c.reason,
    )
    .where(outcomes.c.cycle_id == CYCLE_ID)
    .order_by(outcomes.c.batch, outcomes.c.number)
)
NOT_OK = tuple(status for status in OutcomeStatus if status is not OutcomeStatus.OK)
FAULTS = OUTCOMES.where(outcomes.c.status.in_(NOT_OK))
DECISIONS = (
    select(decisions.c.payload)
    .where(decisions.c.cycle_id == CYCLE_ID)
    .order_by(decisions.c.stage.desc(), decisions.c.number)
)
SIGNAL_COUNTS = (
    select(signals.c.kept, func.count())
    .where(signals.c.cycle_id == CYCLE_ID)
    .group_by(signals.c.kept)
)


def cycle_facts(connection: Connection, cycle_id: str) -> CycleFacts:
    """Everything that a report is made of. Raises NotFound."""
    row = cycle_row(connection, cycle_id)
    found = batch_rows(connection, cycle_id)
    kept = _signal_counts(connection, cycle_id)
    return CycleFacts(
        report=report_so_far(connection, row, found),
        times=cycle_times_of(row),
        allocated=row.allocated_at is not None,
        outcomes=outcomes_of(connection, cycle_id),
        batches_total=len(found),
        batches_failed=failures(row, found),
        signals_kept=kept.get(True, 0),
        signals_dropped=kept.get(False, 0),
        decisions=decisions_of(connection, cycle_id),
        orders=orders_of_cycle(connection, cycle_id),
    )


def cycle_row(connection: Connection, cycle_id: str, *, lock: bool = False) -> AnyRow:
    """The row of a cycle. Raises NotFound.

    With `lock` it is held until the transaction ends, and has the plan.
    """
    chosen = LOCKED_CYCLE if lock else CYCLE
    row = connection.execute(chosen, {"cycle_id": cycle_id}).one_or_none()
    if row is None:
        raise NotFound(f"no cycle {cycle_id}")
    return row


def batch_rows(connection: Connection, cycle_id: str) -> list[AnyRow]:
    """The batches of a cycle without their slices of the plan, by number."""
    return list(connection.execute(BATCHES, {"cycle_id": cycle_id}))


def cycle_times_of(row: AnyRow) -> CycleTimes:
    """The instants that bound the cycle in a row."""
    fields = row._mapping  # noqa: SLF001  the public mapping view of a Row bears this name
    return CycleTimes(**{name: fields[name] for name in CycleTimes.__struct_fields__})


def report_so_far(connection: Connection, row: AnyRow, found: list[AnyRow]) -> CycleReport:
    """The stored report; of a cycle without one its identity, degradations and seconds."""
    if row.report is not None:
        return load(row.report, CycleReport)
    header = None if row.header is None else load(row.header, CyclePlan)
    steps = connection.execute(STEPS, {"cycle_id": row.cycle_id})
    seconds = [{str(step): spent} for step, spent in steps]
    seconds += [load(batch.step_seconds, dict[str, float]) for batch in found]
    if header is not None:
        seconds.append({"select": header.select_seconds})
    return CycleReport(
        cycle_id=row.cycle_id,
        epoch=row.epoch,
        trigger=row.trigger,
        status=row.status,
        scheduled_at=row.scheduled_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        duration_s=row.duration_s,
        config_hash=row.config_hash,
        dry_run=row.dry_run,
        market_time=row.market_time,
        degraded=_degradations(header, found),
        step_seconds=_sums(seconds),
        reason=row.reason,
    )


def _degradations(header: CyclePlan | None, found: list[AnyRow]) -> tuple[Degradation, ...]:
    listed = [] if header is None else list(header.degraded)
    for batch in found:
        listed += load(batch.degraded, list[Degradation])
    # The first one stays: that of the plan says what it implies beyond the cycle.
    return tuple({(d.service, d.reason): d for d in reversed(listed)}.values())[::-1]


def _sums(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for step, spent in part.items():
            total[step] = total.get(step, 0.0) + spent
    return total


def failures(row: AnyRow, found: list[AnyRow]) -> dict[int, str]:
    """Why each batch that failed, came late or never reported did so, by number."""
    reasons: dict[int, str] = {}
    for batch in found:
        if batch.reported_at is None:
            reasons[batch.batch] = (
                f"not reported after {batch.tries} tries" if batch.tries else "never claimed"
            )
        elif batch.failed:
            reasons[batch.batch] = batch.failed
        elif row.allocated_at is not None and not batch.included:
            reasons[batch.batch] = "late: reported after the allocation"
    return reasons


def outcomes_of(
    connection: Connection, cycle_id: str, statement: Executable = OUTCOMES
) -> tuple[SymbolOutcome, ...]:
    """Outcomes of a cycle, in order of batches: all of them, or those of FAULTS."""
    found = connection.execute(statement, {"cycle_id": cycle_id})
    names = SymbolOutcome.__struct_fields__
    rows = [dict(zip(names, row, strict=True)) for row in found]
    return msgspec.convert(rows, tuple[SymbolOutcome, ...])


def decisions_of(connection: Connection, cycle_id: str) -> tuple[RiskDecision, ...]:
    """Every decision of a cycle, denied ones of the batches first."""
    payloads = connection.execute(DECISIONS, {"cycle_id": cycle_id}).scalars()
    return tuple(load(payload, RiskDecision) for payload in payloads)


def _signal_counts(connection: Connection, cycle_id: str) -> dict[bool, int]:
    found = connection.execute(SIGNAL_COUNTS, {"cycle_id": cycle_id})
    return {bool(kept): n for kept, n in found}
