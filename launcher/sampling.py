"""CPU and memory of every process of the parts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import psutil

from engine.vitals import ProcessVitals
from launcher import sessions

MEGABYTE = 1024 * 1024


class Sampler:
    """Remembers processes between samples: CPU is a difference, 0 in the first one."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}

    def sample(self, leaders: Mapping[str, int]) -> list[ProcessVitals]:
        """One entry a process, under the name of its part, whose main process is given."""
        found: list[ProcessVitals] = []
        seen: dict[int, psutil.Process] = {}
        parts = {pid: name for name, pid in leaders.items()}
        for pid, session in sessions.members_of(parts):
            with contextlib.suppress(psutil.Error):
                process = seen[pid] = self._known.get(pid) or psutil.Process(pid)
                found.append(
                    ProcessVitals(
                        name=parts[session],
                        pid=pid,
                        cpu_percent=round(process.cpu_percent(), 1),
                        memory_mb=round(process.memory_info().rss / MEGABYTE, 1),
                    )
                )
        self._known = seen
        return found
