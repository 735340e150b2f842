"""How often a part that dies is started again."""

from __future__ import annotations

from collections import deque

MOST = 5
WINDOW_S = 60.0
FIRST_DELAY_S = 0.5


class Restarts:
    """Counts the ends of one part. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque()

    def delay_after(self, ended_at: float) -> float | None:
        """Seconds until the next start, doubling within a minute; None: too often, give up."""
        while self._ends and self._ends[0] <= ended_at - WINDOW_S:
            self._ends.popleft()
        if len(self._ends) >= MOST:
            return None
        self._ends.append(ended_at)
        return float(FIRST_DELAY_S * 2 ** (len(self._ends) - 1))
