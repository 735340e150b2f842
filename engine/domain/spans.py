"""When each step of a cycle began and ended, from the instants that its rows keep.

Batches run side by side; a step of all batches lasts until the last of them is through with it, so
that the steps follow one another on one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from engine.domain.cycle import Stage
from engine.domain.model import Value

BATCH_STEPS = (Stage.FETCH, Stage.EVALUATE, Stage.RISK)


class BatchTimes(Value, frozen=True, kw_only=True):
    """A batch on the axis."""

    began_at: datetime | None
    reported_at: datetime | None
    step_seconds: dict[str, float]

    def end_of(self, step: Stage) -> datetime | None:
        """When the batch was through with the step, as far as it is known."""
        if self.began_at is None or self.reported_at is None:
            return None
        if step is BATCH_STEPS[-1]:
            return self.reported_at
        passed = BATCH_STEPS[: BATCH_STEPS.index(step) + 1]
        seconds = sum(self.step_seconds.get(each.value, 0.0) for each in passed)
        return min(self.began_at + timedelta(seconds=seconds), self.reported_at)


class CycleInstants(Value, frozen=True, kw_only=True):
    """The instants of one cycle; None for what has not come yet."""

    started_at: datetime
    planned_at: datetime | None
    allocated_at: datetime | None
    finished_at: datetime | None
    finish_s: float = 0.0


class StepSpan(Value, frozen=True, kw_only=True):
    """One step on the axis of its cycle; `done` of `total` batches have reported."""

    step: Stage
    began_at: datetime
    ended_at: datetime | None
    done: int | None = None
    total: int | None = None


def began_at(
    claimed_at: datetime | None, reported_at: datetime | None, step_seconds: dict[str, float]
) -> datetime | None:
    """When work on a batch began; of one that reported, as its steps' seconds have it."""
    if reported_at is None:
        return claimed_at
    return reported_at - timedelta(seconds=sum(step_seconds.values()))


def step_spans(cycle: CycleInstants, batches: Sequence[BatchTimes]) -> tuple[StepSpan, ...]:
    """The steps so far, in order, each beginning where the one before ended."""
    ends: list[tuple[Stage, datetime | None, int | None]] = [(Stage.SELECT, cycle.planned_at, None)]
    done = sum(batch.reported_at is not None for batch in batches)
    ends += [(step, _batches_end(cycle, batches, step, done), done) for step in BATCH_STEPS]
    ends.append((Stage.ALLOCATE, cycle.allocated_at, None))
    ends.append((Stage.EXECUTE, _execute_end(cycle), None))
    ends.append((Stage.FINISH, cycle.finished_at, None))
    return tuple(_consecutive(cycle, ends, len(batches)))


def _batches_end(
    cycle: CycleInstants, batches: Sequence[BatchTimes], step: Stage, done: int
) -> datetime | None:
    if cycle.planned_at is None:
        return None
    known = [end for batch in batches if (end := batch.end_of(step)) is not None]
    if cycle.allocated_at is None and cycle.finished_at is None and done < len(batches):
        return None
    claims = [batch.began_at for batch in batches if batch.began_at is not None]
    return max(known or claims, default=cycle.planned_at)


def _execute_end(cycle: CycleInstants) -> datetime | None:
    if cycle.finished_at is None:
        return None
    return cycle.finished_at - timedelta(seconds=cycle.finish_s)


def _consecutive(
    cycle: CycleInstants, ends: Sequence[tuple[Stage, datetime | None, int | None]], total: int
) -> list[StepSpan]:
    spans: list[StepSpan] = []
    at = cycle.started_at
    for step, ended_at, done in ends:
        of_batches = None if done is None else total
        if ended_at is None and cycle.finished_at is not None:
            break  # the cycle ended before this step
        ended = None if ended_at is None else max(ended_at, at)
        spans.append(StepSpan(step=step, began_at=at, ended_at=ended, done=done, total=of_batches))
        if ended is None:
            break
        at = ended
    return spans
