"""The steps of a cycle on its own time axis."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from engine.domain.cycle import CycleStatus, Stage
from engine.domain.spans import BatchTimes, CycleInstants, StepSpan, began_at, step_spans
from engine.ledger.column_types import AnyRow
from engine.ledger.cycle_facts import STEPS
from engine.ledger.records import load
from engine.ledger.schema import step_data


def steps_of(connection: Connection, row: AnyRow, batches: list[AnyRow]) -> tuple[StepSpan, ...]:
    """The steps of the cycle in `row`, whose batches these are."""
    done = _steps_saved(connection, row.cycle_id) if row.status is CycleStatus.RUNNING else {}
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
    return step_spans(instants, [_times(batch, done) for batch in batches])


def _times(row: AnyRow, done: dict[int, int]) -> BatchTimes:
    seconds = load(row.step_seconds, dict[str, float])
    return BatchTimes(
        began_at=began_at(row.claimed_at, row.reported_at, seconds),
        reported_at=row.reported_at,
        step_seconds=seconds,
        done=done.get(row.batch, 0),
    )


def _steps_saved(connection: Connection, cycle_id: str) -> dict[int, int]:
    """How many steps each batch of a running cycle has handed on."""
    counted = select(step_data.c.batch, func.count()).where(step_data.c.cycle_id == cycle_id)
    found = connection.execute(counted.group_by(step_data.c.batch)).all()
    return {row[0]: row[1] for row in found}
