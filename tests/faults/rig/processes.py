"""Processes of a world: started, killed, frozen, and started again. Only own ones, by their id."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LOOK_S = 0.05
PAUSE_S = 0.1


@dataclass
class Part:
    """One process of the product: what to run, and whether it is wanted."""

    name: str
    command: list[str]
    environ: Mapping[str, str]
    wanted: bool = True
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    groups: list[int] = field(default_factory=list)

    @property
    def pid(self) -> int | None:
        """The main process while it runs."""
        if self.process is None or self.process.poll() is not None:
            return None
        return self.process.pid


class Supervisor:
    """Starts parts again as soon as they end, and counts what it killed."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.parts: dict[str, Part] = {}
        self.kills: Counter[str] = Counter()
        self.freezes: Counter[str] = Counter()
        self._folder = folder
        self._root = root
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._frozen: dict[int, float] = {}
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def add(self, part: Part) -> None:
        """Start a part and keep it running."""
        with self._lock:
            self.parts[part.name] = part
            self._start(part)
        if not self._thread.is_alive():
            self._thread.start()

    def children(self, name: str) -> list[int]:
        """Ids of the pool processes of a worker."""
        pid = self.parts[name].pid
        if pid is None:
            return []
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children()]
        return []

    def kill(self, name: str) -> bool:
        """SIGKILL a part's main process; whether one ran."""
        pid = self.parts[name].pid
        return pid is not None and self.kill_pid(pid, name)

    def kill_pid(self, pid: int, kind: str) -> bool:
        """SIGKILL a process of this world."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.kills[kind] += 1
        return True

    def freeze(self, pid: int, kind: str, seconds: float) -> None:
        """SIGSTOP a process; it is thawed after `seconds`."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self.freezes[kind] += 1
            self._frozen[pid] = time.time() + seconds

    def thaw_all(self) -> None:
        """Let every frozen process go on."""
        for pid in list(self._frozen):
            self.thaw(pid)

    def thaw(self, pid: int) -> None:
        """SIGCONT."""
        self._frozen.pop(pid, None)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def pause(self, name: str) -> None:
        """End a part and do not start it again before `go_on`."""
        with self._lock:
            self.parts[name].wanted = False
        self.kill(name)
        process = self.parts[name].process
        if process is not None:
            process.wait(10)

    def go_on(self, name: str) -> None:
        """Start a paused part."""
        with self._lock:
            self.parts[name].wanted = True

    def stop(self) -> None:
        """End everything that was started, with all that it started."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)
        for part in self.parts.values():
            for group in part.groups:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
            if part.process is not None:
                part.process.wait(10)

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            now = time.time()
            for pid, until in list(self._frozen.items()):
                if now >= until:
                    self.thaw(pid)
            with self._lock:
                for part in self.parts.values():
                    is_down = part.pid is None
                    if part.wanted and is_down and now - part.started > PAUSE_S:
                        self._start(part)

    def _start(self, part: Part) -> None:
        with (self._folder / f"{part.name}.log").open("ab") as log:
            part.process = subprocess.Popen(
                part.command,
                cwd=self._root,
                env=dict(part.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        part.started = time.time()
        part.groups = [group for group in part.groups if _lives(group)]
        part.groups.append(part.process.pid)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
