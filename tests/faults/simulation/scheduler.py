"""Many simulated processes, of which exactly one runs: whose turn it is, one seed decides.

Each process is a thread, so that the engine's own code runs unchanged. It gives its turn away at
every pause; the pause that ends first, in simulated time, is the next turn. Nothing else lets time
pass, so that a run is the same each time.
"""

from __future__ import annotations

import _thread
import heapq
import itertools
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2025, 11, 22, 12, 0, 0, tzinfo=UTC)

Job = Callable[[], object]
Ended = Callable[["Process", BaseException | None], None]


class Killed(BaseException):
    """SIGKILL: nothing that the process does while it unwinds has any effect."""


class Process:
    """One simulated process: a job, its node, and what it holds in memory."""

    def __init__(self, number: int, name: str, node: str, job: Job, ended: Ended) -> None:
        self.number = number
        self.name = name
        self.node = node
        self.job = job
        self.ended = ended
        self.killed = False
        self.alive = True
        self.turn = 0
        self.clock_skew_s = 0.0
        self.thread: _Thread | None = None
        self.memory: dict[str, Any] = {}


class _Thread:
    """A real thread that lends itself to one process after the other."""

    def __init__(self, owner: Scheduler) -> None:
        self.owner = owner
        self.go = _thread.allocate_lock()
        self.go.acquire()
        self.process: Process | None = None
        thread = threading.Thread(target=self._loop, daemon=True)
        thread.start()

    def _loop(self) -> None:
        while True:
            self.go.acquire()
            process = self.process
            if process is None:
                return
            error: BaseException | None = None
            try:
                if not process.killed:
                    process.job()
            except BaseException as raised:  # noqa: BLE001 - judged by whoever asked for the job
                error = raised
            self.process = None
            self.owner.finished(self, process, error)


class Pool:
    """Threads that wait for a process; kept over many runs."""

    def __init__(self) -> None:
        self.idle: list[_Thread] = []

    def close(self) -> None:
        """End every idle thread."""
        for thread in self.idle:
            thread.go.release()
        self.idle.clear()


class Scheduler:
    """Simulated time, the processes, and the one seed that decides between them."""

    def __init__(self, seed: int, pool: Pool) -> None:
        self.random = random.Random(seed)  # noqa: S311 - no secret
        self.now_s = 0.0
        self.steps = 0
        self.current: Process | None = None
        self.processes: dict[int, Process] = {}
        self._pool = pool
        self._events: list[tuple[float, int, Any, int]] = []
        self._numbers = itertools.count()
        self._main = _thread.allocate_lock()
        self._main.acquire()
        self._until: Callable[[], bool] = lambda: False
        self._fault: BaseException | None = None

    def at(self, delay_s: float, action: Callable[[], object]) -> None:
        """Do something after a while. It must not pause."""
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._numbers), action, 0))

    def spawn(self, name: str, node: str, job: Job, ended: Ended) -> Process:
        """A new process that gets its first turn now."""
        process = Process(next(self._numbers), name, node, job, ended)
        self.processes[process.number] = process
        self._queue(process, 0.0)
        return process

    def pause(self, seconds: float) -> None:
        """Give the turn away for so long. Raises Killed when the process was killed meanwhile."""
        mine = self.current
        if mine is None:  # the world itself acts, between two turns
            return
        if mine.killed:
            raise Killed
        self._queue(mine, seconds)
        following = self._next()
        if following is not mine:
            assert mine.thread is not None
            thread = mine.thread
            self._resume(following)
            thread.go.acquire()
        if mine.killed:
            raise Killed

    def kill(self, process: Process) -> None:
        """End a process before its next step. Its caller may be that process itself."""
        if not process.alive or process.killed:
            return
        process.killed = True
        if process is not self.current:
            self._queue(process, 0.0)

    def run(self, until: Callable[[], bool]) -> None:
        """Let the processes run until the claim holds before a turn, or nothing is left to do."""
        self._until = until
        following = self._next()
        if following is not None:
            self._resume(following)
            self._main.acquire()
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    def stop(self) -> None:
        """Kill whatever lives, so that its thread is free again."""
        self._until = lambda: not self.processes
        self._events.clear()
        for process in list(self.processes.values()):
            process.killed = True
            self._queue(process, 0.0)
        if self.processes:
            self.run(self._until)

    def finished(self, thread: _Thread, process: Process, error: BaseException | None) -> None:
        """The thread of an ended process goes back to the pool, and the next turn begins."""
        process.alive = False
        process.thread = None
        self.processes.pop(process.number, None)
        self._pool.idle.append(thread)
        self.current = None
        following = None
        try:
            process.ended(process, error)
            following = self._next()
        except BaseException as fault:  # noqa: BLE001 - raised again in the main thread
            self._fault = fault
        self._resume(following)

    def _queue(self, process: Process, seconds: float) -> None:
        process.turn += 1
        entry = (self.now_s + seconds, next(self._numbers), process, process.turn)
        heapq.heappush(self._events, entry)

    def _next(self) -> Process | None:
        """Whose turn it is; None when the run is over."""
        self.current = None
        while self._events and not self._until():
            at_s, _, what, turn = heapq.heappop(self._events)
            self.now_s = max(self.now_s, at_s)
            if not isinstance(what, Process):
                try:
                    what()
                except BaseException as fault:  # noqa: BLE001 - raised again in the main thread
                    self._fault = fault
                    return None
            elif what.alive and what.turn == turn:
                self.steps += 1
                self.current = what
                return what
        return None

    def _resume(self, process: Process | None) -> None:
        if process is None:
            self._main.release()
            return
        if process.thread is None:
            thread = self._pool.idle.pop() if self._pool.idle else _Thread(self)
            thread.owner = self
            thread.process = process
            process.thread = thread
        process.thread.go.release()


class SimulatedClock:
    """The clock of whichever process asks, with its own error."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.jump_s = 0.0

    def now(self) -> datetime:
        """Simulated wall time, as this process sees it."""
        process = self._scheduler.current
        skew_s = 0.0 if process is None else process.clock_skew_s
        return START + timedelta(seconds=self._scheduler.now_s + self.jump_s + skew_s)

    def true(self) -> datetime:
        """Wall time without the error of any process: that of the services."""
        return START + timedelta(seconds=self._scheduler.now_s + self.jump_s)

    def sleep(self, seconds: float) -> None:
        """Give the turn away for so long."""
        self._scheduler.pause(seconds)
