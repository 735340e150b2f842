"""The instants of a cycle, scaled with its interval."""

from __future__ import annotations

from datetime import datetime, timedelta

from engine.domain.cycle import CycleTimes, Stage

REFERENCE_INTERVAL_S = 120.0
SHORTEST_CALL_S = 1.0
# Of the time until the barrier: what is left after the last one is for work without calls.
BARRIER_SHARES = {Stage.SELECT: 0.5, Stage.FETCH: 0.8, Stage.EVALUATE: 0.93}
ALLOCATE_SHARE = 0.5


def scaled(seconds: float, cycle_interval: float) -> float:
    """Seconds of a 120 s cycle as seconds of a cycle of `cycle_interval`."""
    return seconds * cycle_interval / REFERENCE_INTERVAL_S


def cycle_times(
    started_at: datetime,
    cycle_interval: float,
    *,
    barrier_s: float,
    send_cutoff_s: float,
    deadline_s: float,
    close_s: float,
) -> CycleTimes:
    """The bounds of a cycle that starts at `started_at`; seconds are those of a 120 s cycle."""

    def at(seconds: float) -> datetime:
        return started_at + timedelta(seconds=scaled(seconds, cycle_interval))

    return CycleTimes(
        started_at=started_at,
        allocate_by=at(barrier_s),
        cutoff_at=at(send_cutoff_s),
        deadline_at=at(deadline_s),
        close_by=at(close_s),
    )


def call_timeout_s(timeout_s: float, cycle_interval: float) -> float:
    """A service's time limit at this pace: a shorter cycle waits less, though 1 s at least."""
    return min(timeout_s, max(scaled(timeout_s, cycle_interval), SHORTEST_CALL_S))


def calls_until(times: CycleTimes, step: Stage) -> datetime:
    """When the calls of a step end at the latest, so that a hanging service costs no other step.

    Select, fetch and evaluate share the time until the barrier, allocate has half of what is left
    until the send cut-off, and finish goes on until the cycle is to be closed.
    """
    if step in BARRIER_SHARES:
        span = times.allocate_by - times.started_at
        return times.started_at + BARRIER_SHARES[step] * span
    if step is Stage.ALLOCATE:
        return times.allocate_by + ALLOCATE_SHARE * (times.cutoff_at - times.allocate_by)
    return times.close_by if step is Stage.FINISH else times.cutoff_at
