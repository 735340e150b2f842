"""Starts parts in order, keeps them running, stops them in reverse order."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path

from launcher import sessions
from launcher.child import Child, Endpoint, Part
from launcher.restarts import Restarts
from launcher.stop_request import StopRequest
from launcher.terminal import Terminal

POLL_S = 0.1
STOP_LIMIT_S = 14.0


class StartFailed(Exception):
    """A part could not be started, or kept running; its text is the reason."""


class Stopped(Exception):
    """The operator asked to stop while parts were still starting."""


class Supervisor:
    """Owns the children. Everything happens in the thread that calls, the main one."""

    def __init__(
        self,
        *,
        terminal: Terminal,
        logs: Path,
        roster: Path,
        environment: Mapping[str, str],
        stop: StopRequest,
        clock: Callable[[], float] = time.monotonic,
        stop_limit_s: float = STOP_LIMIT_S,
    ) -> None:
        self._terminal = terminal
        self._logs = logs
        self._roster = roster
        self._environment = environment
        self._stop = stop
        self._clock = clock
        self._stop_limit_s = stop_limit_s
        self._children: list[Child] = []
        self._entries: dict[str, sessions.Entry] = {}
        self._restarts: dict[str, Restarts] = {}
        self._due: dict[str, float] = {}
        self._awaited: dict[str, tuple[float, list[Endpoint]]] = {}

    def start(self, part: Part) -> None:
        """Starts `part` and waits until it answers. Raises StartFailed or Stopped."""
        child = Child(part, self._logs, self._environment)
        self._children.append(child)
        self._restarts[part.name] = Restarts()
        self._spawn(child)
        limit = self._clock() + part.start_limit_s
        while part.name in self._awaited:
            self._relay()
            if child.exit_status is not None:
                raise StartFailed(f"{_end_of(child)}: {child.last_words()} (log: {child.log})")
            if self._clock() > limit:
                missing = ", ".join(point.name for point in self._awaited[part.name][1])
                raise StartFailed(
                    f"{missing} did not answer within {part.start_limit_s:.0f} s: "
                    f"{child.last_words()} (log: {child.log})"
                )
            self._check_ready(child)
            if part.name in self._awaited:
                self.pause(POLL_S)

    def pause(self, seconds: float) -> None:
        """Waits. Raises Stopped when the operator asked to stop."""
        self._stop.wait(seconds)
        if self._stop.is_asked:
            raise Stopped

    def watch(self) -> None:
        """One look at every child: relays what it said, starts again what ended.

        Raises StartFailed when a part ends too often.
        """
        self._relay()
        for child in self._children:
            name = child.part.name
            if name in self._due:
                if self._clock() >= self._due[name]:
                    del self._due[name]
                    self._spawn(child)
            elif child.exit_status is not None:
                self._on_end(child)
            elif name in self._awaited:
                self._check_ready(child)

    def processes(self) -> dict[str, int]:
        """The main processes of the parts that run, by name."""
        return {
            child.part.name: child.pid
            for child in self._children
            if child.is_running and child.pid is not None
        }

    def stop(self) -> None:
        """Stops every part, the last one started first. A second request kills the rest."""
        limit = self._clock() + self._stop_limit_s
        stages = [list(group) for _, group in groupby(reversed(self._children), _stage)]
        kept = [max(child.part.reserve_s for child in stage) for stage in stages]
        for number, stage in enumerate(stages, start=1):
            self._stop_stage(stage, limit - sum(kept[number:]))
        sessions.write_roster(self._roster, [])
        self._children.clear()

    def _stop_stage(self, stage: list[Child], limit: float) -> None:
        for child in stage:
            child.signal(signal.SIGTERM)
        while any(child.is_running for child in stage):
            if self._stop.is_urgent or self._clock() > limit:
                break
            self._stop.wait(POLL_S / 2)
        for child in stage:
            child.sweep()
            self._relay_one(child)

    def _spawn(self, child: Child) -> None:
        self._awaited[child.part.name] = (self._clock(), list(child.part.endpoints))
        try:
            self._entries[child.part.name] = child.start()
        except OSError as exc:
            raise StartFailed(f"{child.part.name} cannot be run: {exc}") from exc
        sessions.write_roster(self._roster, self._entries.values())

    def _check_ready(self, child: Child) -> None:
        started_at, missing = self._awaited[child.part.name]
        for endpoint in list(missing):
            if endpoint.answers():
                missing.remove(endpoint)
                self._terminal.ready(endpoint.name, endpoint.address, self._clock() - started_at)
        if not missing:
            del self._awaited[child.part.name]

    def _on_end(self, child: Child) -> None:
        child.sweep()
        reason = f"{_end_of(child)}: {child.last_words()} (log: {child.log})"
        delay = self._restarts[child.part.name].delay_after(self._clock())
        if delay is None:
            raise StartFailed(f"{reason}; it ended too often within a minute")
        self._due[child.part.name] = self._clock() + delay
        self._terminal.said(child.part.name, f"{reason}; starting it again in {delay:g} s", "bad")

    def _relay(self) -> None:
        for child in self._children:
            self._relay_one(child)

    def _relay_one(self, child: Child) -> None:
        for line in child.news():
            self._terminal.said(child.part.name, line, "warn")


def _stage(child: Child) -> str:
    return child.part.stage or child.part.name


def _end_of(child: Child) -> str:
    status = child.exit_status or 0
    if status < 0:
        return f"{child.part.name} was ended by {signal.Signals(-status).name}"
    return f"{child.part.name} ended with exit status {status}"
