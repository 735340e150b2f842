"""The processes of a part are one session, led by its main process.

A session outlives its leader; so what a killed part leaves behind is still found by it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from launcher.data_folder import write_private

POLL_S = 0.05
CLOCK_TOLERANCE_S = 2.0


@dataclass(frozen=True)
class Entry:
    """One started part: its main process, which leads the session of the same number."""

    name: str
    pid: int
    started_at: float


def entry(name: str, pid: int) -> Entry:
    """The entry of a process just started. Raises psutil.NoSuchProcess when it is gone."""
    return Entry(name=name, pid=pid, started_at=psutil.Process(pid).create_time())


def members(session: int) -> list[int]:
    """The processes of `session` that still run, zombies not among them."""
    return [pid for pid, _ in members_of((session,))]


def members_of(sessions: Container[int]) -> Iterator[tuple[int, int]]:
    """Process and session of all that run in `sessions`, zombies not among them."""
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            session = os.getsid(pid)
            if session in sessions and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                yield pid, session


def kill(session: int) -> None:
    """SIGKILL to every process of `session`."""
    for pid in members(session):
        send(pid, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def write_roster(path: Path, entries: Iterable[Entry]) -> None:
    """Replaces the list of running parts kept in `path`."""
    write_private(path, json.dumps([asdict(one) for one in entries]))


def read_roster(path: Path) -> list[Entry]:
    """The list kept in `path`; empty when there is none or it is not readable."""
    try:
        return [Entry(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def end(entries: Sequence[Entry], grace_s: float, clock: Callable[[], float]) -> int:
    """Ends what still runs of `entries`: SIGTERM to main processes, after `grace_s` all SIGKILL.

    Returns how many processes were found. A number that another process has got since is left
    alone.
    """
    ours = [one for one in entries if _is_ours(one)]
    found = sum(len(members(one.pid)) for one in ours)
    if found == 0:
        return 0
    for one in ours:
        send(one.pid, signal.SIGTERM)
    limit = clock() + grace_s
    while clock() < limit and any(members(one.pid) for one in ours):
        time.sleep(POLL_S)
    for one in ours:
        kill(one.pid)
    return found


def _is_ours(one: Entry) -> bool:
    try:
        started_at = psutil.Process(one.pid).create_time()
    except psutil.NoSuchProcess:
        # a number is not given again while its session lives, so members are ours
        return True
    return abs(started_at - one.started_at) < CLOCK_TOLERANCE_S
