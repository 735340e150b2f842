"""Calls side by side under one bound, for answers that may not wait for a slow neighbour."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """How one call ended: its value, or its error. `error` is a TimeoutError past the bound."""

    value: object = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """True when the call returned in time."""
        return self.error is None


def in_parallel(calls: Mapping[str, Callable[[], object]], timeout_s: float) -> dict[str, Outcome]:
    """Run every call in a thread of its own; what has not ended after `timeout_s` timed out.

    A call that timed out goes on in its (daemon) thread: its effect may still come.
    """
    ended: queue.SimpleQueue[tuple[str, Outcome]] = queue.SimpleQueue()
    for name, call in calls.items():
        threading.Thread(
            target=contextvars.copy_context().run,
            args=(_run, name, call, ended),
            name=f"call-{name}",
            daemon=True,
        ).start()
    outcomes = {
        name: Outcome(error=TimeoutError(f"no answer within {timeout_s:g} s")) for name in calls
    }
    until = time.monotonic() + timeout_s
    for _ in calls:
        try:
            name, outcome = ended.get(timeout=max(until - time.monotonic(), 0.0))
        except queue.Empty:
            break
        outcomes[name] = outcome
    return outcomes


def _run(
    name: str, call: Callable[[], object], ended: queue.SimpleQueue[tuple[str, Outcome]]
) -> None:
    try:
        ended.put((name, Outcome(value=call())))
    except Exception as error:  # noqa: BLE001 - every error is an outcome; the caller judges it
        ended.put((name, Outcome(error=error)))
