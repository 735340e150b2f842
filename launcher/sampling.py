"""CPU and memory of the parts, summed over the processes of each."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from launcher import sessions

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Usage:
    """Load of one part: percent of one core since the last sample, resident memory."""

    pid: int
    processes: int
    cpu_percent: float
    memory_mb: float


class Sampler:
    """Remembers processes between samples: CPU is a difference."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}

    def sample(self, leaders: Mapping[str, int]) -> dict[str, Usage]:
        """The usage of each part, given its main process."""
        seen: dict[int, psutil.Process] = {}
        usages = {name: self._usage(pid, seen) for name, pid in leaders.items()}
        self._known = seen
        return usages

    def _usage(self, leader: int, seen: dict[int, psutil.Process]) -> Usage:
        cpu, memory, count = 0.0, 0, 0
        for pid in sessions.members(leader):
            with contextlib.suppress(psutil.Error):
                process = self._known.get(pid) or psutil.Process(pid)
                seen[pid] = process
                cpu += process.cpu_percent()
                memory += process.memory_info().rss
                count += 1
        return Usage(leader, count, round(cpu, 1), round(memory / MEGABYTE, 1))
