"""What every measurement shares: who used how much, medians, tables and where they are written."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import redis

from tests.integration.stack import Stack

RESULTS = Path(__file__).parent / "results"
MEGABYTE = 1024 * 1024
SAMPLE_S = 0.2
PACKAGES = ("celery", "redis", "sqlalchemy", "numpy", "ta-lib")
ROLES = {
    "valkey-server": "redis",
    "-m services": "services",
    "-Q upkeep": "upkeep",
    "worker": "workers",
    "beat": "beat",
    "api.py": "api",
    "app.py": "launcher",
}

Row = dict[str, Any]


def environment(symbols: int, processes: int | None = None) -> dict[str, str]:
    """Every simulated symbol takes part; by default as many processes as the machine has cores."""
    return {
        "SERVICES__MARKET_DATA__SYMBOLS": str(symbols),
        "SELECTION__MAX_SYMBOLS": str(symbols),
        "SELECTION__MIN_VOLUME_24H": "0",
        "SELECTION__MAX_SPREAD_BPS": "100000",
        "WORKERS__PROCESSES": str(processes or max(psutil.cpu_count() or 1, 2)),
        "RISK__MAX_DRAWDOWN": "1",
        "RISK__MAX_DAILY_LOSS_SOFT": "1",
        "RISK__MAX_DAILY_LOSS_HARD": "1",
    }


def role_of(process: psutil.Process) -> str:
    """What a process of the product is there for."""
    line = " ".join(process.cmdline())
    return next((role for mark, role in ROLES.items() if mark in line), "other")


def members(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


class Meter:
    """CPU seconds by role, highest memory and Redis' counters while its block runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._redis = redis_of(pid)
        self._before: dict[int, float] = {}
        self._redis_before: dict[str, int] = {}
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self.cpu_s: dict[str, float] = {}
        self.redis: dict[str, int] = {}
        self.peak_mb = 0.0

    def __enter__(self) -> Self:
        self._before = {each.pid: _cpu(each) for each in members(self._pid)}
        self._redis_before = self._counters()
        self._sampler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._done.set()
        self._sampler.join()
        used: dict[str, float] = defaultdict(float)
        for process in members(self._pid):
            with suppress(psutil.NoSuchProcess):  # what Redis forks to write its file ends any time
                used[role_of(process)] += _cpu(process) - self._before.get(process.pid, 0.0)
        self.cpu_s = dict(used)
        after = self._counters()
        self.redis = {name: after[name] - self._redis_before[name] for name in after}

    @property
    def total_cpu_s(self) -> float:
        """Of all processes."""
        return sum(self.cpu_s.values())

    def _counters(self) -> dict[str, int]:
        if self._redis is None:
            return {}
        info: dict[str, Any] = self._redis.info("stats")
        return {
            "redis_commands": int(info["total_commands_processed"]),
            "redis_bytes": int(info["total_net_input_bytes"]) + int(info["total_net_output_bytes"]),
        }

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.peak_mb = max(self.peak_mb, resident_mb(self._pid))


def cpu_s(pid: int) -> float:
    """CPU seconds so far of a process and everything below it."""
    return sum(map(_cpu, members(pid)))


def resident_mb(pid: int) -> float:
    """Memory of all processes, shared pages counted once each."""
    total = 0
    for process in members(pid):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return round(total / MEGABYTE, 1)


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def redis_of(pid: int) -> redis.Redis | None:
    """A client of the Redis that the product uses, by the address that its API was given."""
    for process in members(pid):
        if role_of(process) == "api":
            return redis.Redis.from_url(process.environ()["REDIS_URL"])
    return None


def median(values: Iterable[float], digits: int = 3) -> float:
    """The middle one, rounded."""
    return round(statistics.median(values), digits)


def machine() -> str:
    """One sentence about where and with what it was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = psutil.getloadavg()[0]
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {psutil.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}, {packages}; load of the "
        f"machine at the end {load:.1f}."
    )


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Markdown; an absent value is an empty cell."""
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(str(each.get(name, "")) for name in columns) for each in rows]
    return "\n".join(f"| {line} |" for line in lines)


def options(name: str, text: str | None) -> argparse.ArgumentParser:
    """The options that every measurement has."""
    parser = argparse.ArgumentParser(prog=f"./dev bench {name}", description=text)
    parser.add_argument("--quick", action="store_true", help="one run of the smaller cases")
    parser.add_argument("--json", type=Path, help="also write the rows there")
    return parser


def tell(name: str, title: str, paragraphs: Sequence[str], rows: Sequence[Row], chosen: Any) -> int:
    """Print, write `bench/results/NAME.md` (a quick run does not), and the rows where wanted."""
    text = "\n\n".join([f"# {title}", machine(), *paragraphs]) + "\n"
    print(text)
    if not chosen.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(list(rows), indent=1), encoding="utf-8")
    return 0


def timed_cycles(stack: Stack, runs: int, clock: Callable[[], float]) -> list[tuple[Row, float]]:
    """Reports of so many cycles, one after another, and what each asker waited."""
    found = []
    for _ in range(runs):
        began = clock()
        report = stack.cycle()
        found.append((report, clock() - began))
    return found
