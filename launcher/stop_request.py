"""Ctrl-C and SIGTERM as a request that a loop waits for."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Counts the requests to stop; the second one asks for haste.

    A pipe rather than a threading.Event: a handler that runs while the main thread is inside
    Event.wait would wait for that thread's own lock.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._count = 0

    def listen(self) -> None:
        """Takes the signals over, from the main thread."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ask()

    def ask(self) -> None:
        """Asks once."""
        self._count += 1
        os.write(self._writer, b"!")

    @property
    def is_asked(self) -> bool:
        """Whether anybody asked to stop."""
        return self._count > 0

    @property
    def is_urgent(self) -> bool:
        """Whether it was asked more than once."""
        return self._count > 1

    def wait(self, seconds: float) -> bool:
        """Waits until a new request, or `seconds`; whether one came."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        if ready:
            os.read(self._reader, 1024)
        return bool(ready)
