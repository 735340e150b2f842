"""Who listens to service calls, and a tally that passes them on at most once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class CallOutcome(StrEnum):
    """How a call ended. The last two never reached the service."""

    OK = "ok"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    BAD_PAYLOAD = "bad_payload"
    CIRCUIT_OPEN = "circuit_open"
    RATE_LIMITED = "rate_limited"

    @property
    def was_asked(self) -> bool:
        """Whether a request left."""
        return self not in {CallOutcome.CIRCUIT_OPEN, CallOutcome.RATE_LIMITED}

    @property
    def has_failed(self) -> bool:
        """Whether it counts in the error rate: no answer, or garbage. A 4xx is an answer."""
        return self in {CallOutcome.UNAVAILABLE, CallOutcome.BAD_PAYLOAD}


class CallObserver(Protocol):
    """Told of every request to a service, retries included."""

    def called(self, service: str, seconds: float, outcome: CallOutcome) -> None:
        """One request took `seconds` and ended so. Must be quick and never raise."""
        ...


class NoObserver:
    """Listens to nothing."""

    def called(self, service: str, seconds: float, outcome: CallOutcome) -> None:
        """Ignore it."""


class CallCounts(Protocol):
    """Where tallies go; `Vitals` is one."""

    def count_calls(
        self, service: str, calls: int, failures: int, latencies: Sequence[float]
    ) -> None:
        """Add to the counts of this minute. Never raises."""
        ...


@dataclass
class _Tally:
    calls: int = 0
    failures: int = 0
    latencies: list[float] = field(default_factory=list)


class CallTally:
    """Adds calls up in the process and flushes them at most every `every_s`."""

    def __init__(
        self,
        counts: CallCounts,
        *,
        every_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts = counts
        self._every_s = every_s
        self._monotonic = monotonic
        self._flushed_at = monotonic()
        self._tallies: dict[str, _Tally] = {}
        self._lock = threading.Lock()

    def called(self, service: str, seconds: float, outcome: CallOutcome) -> None:
        """Count a call that was asked; flush when it is time."""
        if not outcome.was_asked:
            return
        with self._lock:
            tally = self._tallies.setdefault(service, _Tally())
            tally.calls += 1
            tally.failures += outcome.has_failed
            tally.latencies.append(seconds)
            is_due = self._monotonic() - self._flushed_at >= self._every_s
        if is_due:
            self.flush()

    def flush(self) -> None:
        """Pass on what has been counted: a heartbeat calls this too."""
        with self._lock:
            self._flushed_at = self._monotonic()
            tallies, self._tallies = self._tallies, {}
        for service, tally in tallies.items():
            self._counts.count_calls(service, tally.calls, tally.failures, tally.latencies)
