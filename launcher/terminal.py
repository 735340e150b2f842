"""What the launcher prints: one aligned line a fact, coloured on a terminal."""

from __future__ import annotations

import threading
from typing import TextIO

COLOURS = {"good": "32", "warn": "33", "bad": "31", "faint": "2", "strong": "1"}
NAME_WIDTH = 14


class Terminal:
    """Writes whole lines to `stream`, from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colourful = stream.isatty()
        self._lock = threading.Lock()

    def line(self, text: str = "") -> None:
        """One line as it is. A stream that was closed at the other end is no fault."""
        with self._lock:
            try:
                self._stream.write(f"{text}\n")
                self._stream.flush()
            except (OSError, ValueError):
                return

    def ready(self, name: str, address: str, seconds: float) -> None:
        """A part answers at `address`, `seconds` after it was started."""
        self.line(
            f"{self._name(name)} {self.paint('good', 'ready')}  {address:<40} {seconds:5.1f} s"
        )

    def said(self, name: str, text: str, tone: str = "") -> None:
        """Something that the part `name` said, or that is said about it."""
        self.line(f"{self._name(name)} {self.paint(tone, text)}")

    def paint(self, tone: str, text: str) -> str:
        """`text` in the colour of `tone`, where the stream is a terminal."""
        if not self._colourful or tone not in COLOURS:
            return text
        return f"\x1b[{COLOURS[tone]}m{text}\x1b[0m"

    def _name(self, name: str) -> str:
        return self.paint("faint", f"{name:<{NAME_WIDTH}} |")
