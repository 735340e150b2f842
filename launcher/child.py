"""One part of the engine as a child process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher import sessions
from launcher.log_file import LogTail, Sieve, open_log, rotate

LAST_LINES = 200
# By default glibc keeps a heap for each of eight threads a core, and each keeps its highest fill:
# services grew by 9 % in 250 cycles, with two heaps by 3 %. The parts here share one interpreter's
# lock, so that more heaps gain nothing. Freed memory above the last used is given back from 16 MB
# on: by default it went back and came anew with every batch's candles, 23,000 pages a cycle of
# 1,000 symbols and a sixth of the services' CPU.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "4194304",
    "MALLOC_TRIM_THRESHOLD_": "16777216",
}


@dataclass(frozen=True)
class Endpoint:
    """Something that a part answers for: shown as `name` and `address` once `answers()`."""

    name: str
    address: str
    answers: Callable[[], bool]


@dataclass(frozen=True)
class Part:
    """What to start, how to know that it is ready, and how long it may take to stop.

    Neighbours of one `stage` are stopped together; `reserve_s` is kept for that whatever the
    stages before took. Variables that begin with `hidden_prefix` are not handed on to it.
    """

    name: str
    command: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    start_limit_s: float = 60
    stage: str = ""
    reserve_s: float = 1
    is_loud: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    hidden_prefix: str | None = None


class Child:
    """The running process of a part; started again and again as the same child."""

    def __init__(self, part: Part, logs: Path, environment: Mapping[str, str]) -> None:
        self.part = part
        self.log = logs / f"{part.name}.log"
        self._environment = _environment(part, {**os.environ, **environment})
        self._sieve = Sieve()
        self._process: subprocess.Popen[bytes] | None = None
        self._last: list[str] = []
        rotate(self.log)
        self._tail = LogTail(self.log)

    def start(self) -> sessions.Entry:
        """Starts the process in a session of its own. Raises OSError when it cannot be run."""
        with open_log(self.log) as log:
            self._process = subprocess.Popen(  # noqa: S603 (commands of our own)
                self.part.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        return sessions.entry(self.part.name, self._process.pid)

    @property
    def pid(self) -> int | None:
        """The main process, None before the first start."""
        return None if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the main process was started and did not end."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: int) -> None:
        """Sends a signal to the main process only."""
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    def sweep(self) -> None:
        """Kills whatever is left of its session, and reaps the main process."""
        if self._process is not None:
            sessions.kill(self._process.pid)
            self._process.wait()

    def news(self) -> list[str]:
        """What it logged since the last call that the operator must see."""
        lines = self._tail.lines()
        self._last = [*self._last, *(line for line in lines if line)][-LAST_LINES:]
        loud = (self._sieve.loud(line) for line in lines)
        return [line for line in loud if line is not None] if self.part.is_loud else []

    def last_words(self) -> str:
        """The last thing that it logged: of an end that nobody asked for, the reason."""
        self.news()
        return self._last[-1] if self._last else "it logged nothing"


def _environment(part: Part, inherited: Mapping[str, str]) -> dict[str, str]:
    hidden = part.hidden_prefix
    kept = {
        name: value
        for name, value in inherited.items()
        if hidden is None or not name.startswith(hidden)
    }
    return {**ALLOCATOR, **kept, **part.environment}
