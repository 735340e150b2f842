"""How often and when a call may be repeated."""

from __future__ import annotations

import threading
from collections.abc import Callable

BUDGET_SHARE = 0.2
BUDGET_MOST = 2.0
BUDGET_START = 1.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


class RetryBudget:
    """Retries are at most a fifth of the calls, so that an outage is not made worse.

    A bucket earns 0.2 with every call and holds at most two retries. One a process and service.
    """

    def __init__(self) -> None:
        self._tokens = BUDGET_START
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A call begins."""
        with self._lock:
            self._tokens = min(self._tokens + BUDGET_SHARE, BUDGET_MOST)

    def spend(self) -> bool:
        """Take one retry; False when there is none."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


def pause_s(attempt: int, random: Callable[[], float]) -> float:
    """Full jitter: anything between nothing and a bound that doubles with each attempt."""
    return random() * min(FIRST_PAUSE_S * 2.0**attempt, LONGEST_PAUSE_S)
