"""The steps of a cycle on its own time axis."""

from __future__ import annotations

from sqlalchemy import Connection

from engine.domain.cycle import Stage
from engine.domain.spans import BatchTimes, CycleInstants, StepSpan, began_at, step_spans
from engine.ledger.column_types import AnyRow
from engine.ledger.cycle_facts import STEPS
from engine.ledger.records import load


def steps_of(connection: Connection, row: AnyRow, batches: list[AnyRow]) -> tuple[StepSpan, ...]:
    """The steps of the cycle in `row`, whose batches these are."""
    spent = {
        str(step): seconds
        for step, seconds in connection.execute(STEPS, {"cycle_id": row.cycle_id})
    }
    instants = CycleInstants(
        started_at=row.started_at,
        planned_at=row.planned_at,
        allocated_at=row.allocated_at,
        finished_at=row.finished_at,
        finish_s=spent.get(Stage.FINISH.value, 0.0),
    )
    return step_spans(instants, [_times(batch) for batch in batches])


def _times(row: AnyRow) -> BatchTimes:
    seconds = load(row.step_seconds, dict[str, float])
    return BatchTimes(
        began_at=began_at(row.claimed_at, row.reported_at, seconds),
        reported_at=row.reported_at,
        step_seconds=seconds,
    )
