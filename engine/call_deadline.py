"""How long all calls of a piece of work may take together, known to every call inside.

A call has its own time limit; beside it a step of a cycle has one for all of its calls, so that a
hanging service costs the cycle no more than the step may cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_calls_end_at: ContextVar[float | None] = ContextVar("calls_end_at", default=None)


@contextmanager
def calls_within(
    seconds: float, *, monotonic: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Let every call inside end within `seconds` from now; with none left, none begins."""
    instant = monotonic() + seconds
    outer = _calls_end_at.get()
    token = _calls_end_at.set(instant if outer is None else min(instant, outer))
    try:
        yield
    finally:
        _calls_end_at.reset(token)


def deadline(now: float, timeout_s: float) -> float:
    """When a call that begins now ends at the latest; all instants are monotonic seconds."""
    bound = _calls_end_at.get()
    return now + timeout_s if bound is None else min(now + timeout_s, bound)
