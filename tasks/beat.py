"""Beat's scheduler: RedBeat that tells of each tick, so that a beat that hangs counts as dead."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from redbeat import RedBeatScheduler

from engine.bootstrap import build_vitals
from tasks.app import settings


class TickingScheduler(RedBeatScheduler):  # type: ignore[misc] # RedBeat ships no types
    """RedBeat with a heartbeat. Of several beats only the one that holds the lock ticks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._vitals = build_vitals(settings)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due; seconds until the next look."""
        self._vitals.beat_tick(datetime.now(UTC))
        seconds: float = super().tick(*args, **kwargs)
        return seconds
