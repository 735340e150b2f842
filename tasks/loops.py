"""Threads that do a piece of work again and again until the worker stops."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.errors import TradingError
from engine.telemetry import get_logger

log = get_logger(__name__)


class Loops:
    """Each piece of work has a thread of its own, so that none holds up another."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def every(self, seconds: float, name: str, work: Callable[[], object]) -> None:
        """Run `work` each `seconds`, the first time after as long; a failure is logged."""
        thread = threading.Thread(target=self._loop, args=(seconds, name, work), name=name)
        thread.daemon = True
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """No further round."""
        self._stopping.set()

    def _loop(self, seconds: float, name: str, work: Callable[[], object]) -> None:
        while not self._stopping.wait(seconds):
            try:
                work()
            except TradingError as error:
                log.warning("upkeep_failed", work=name, detail=str(error))
            except Exception:
                log.exception("upkeep_failed", work=name)
