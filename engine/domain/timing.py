"""The instants of a cycle, scaled with its interval."""

from __future__ import annotations

from datetime import datetime, timedelta

from engine.domain.cycle import CycleTimes

REFERENCE_INTERVAL_S = 120.0


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
