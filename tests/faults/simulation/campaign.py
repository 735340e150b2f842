"""Many runs over several processes, and what came to pass in all of them together."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine import failpoints
from tests.faults.simulation.expected import EXPECTED
from tests.faults.simulation.world import World

CHUNK = 50


@dataclass
class Campaign:
    """Sums over runs."""

    seeds: int = 0
    seconds: float = 0.0
    steps: int = 0
    transactions: int = 0
    fills: int = 0
    bound: int = 0
    shown: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    def add(self, other: Campaign) -> None:
        """Take in another one's sums."""
        self.seeds += other.seeds
        self.steps += other.steps
        self.transactions += other.transactions
        self.fills += other.fills
        self.bound += other.bound
        self.seen += other.seen
        self.failures += other.failures

    def missing(self) -> list[str]:
        """What should have come to pass in so many runs, and did not."""
        return sorted(name for name in EXPECTED if self.seen[name] == 0)

    def summary(self) -> str:
        """One paragraph."""
        rate = self.seeds / max(self.seconds, 0.001) * 60
        told = (
            f"{self.seeds} seeds in {self.seconds:.0f} s ({rate:.0f} a minute),"
            f" {len(self.failures)} with a breach, {self.steps} steps,"
            f" {self.transactions} ledger transactions, {self.fills} fills,"
            f" limits bound in {self.bound} runs."
        )
        missing = ", ".join(self.missing()) or "nothing"
        return f"{told}\nNever seen of what should come up: {missing}."

    def report(self, seeds: range, processes: int) -> str:
        """The counts as a page."""
        rows = "\n".join(f"| {name} | {count} |" for name, count in sorted(self.seen.items()))
        failed = "\n".join(f"- seed {seed}: {found[0]}" for seed, found in self.failures)
        return (
            "# Deterministic simulation\n\n"
            f"Seeds {seeds.start} to {seeds.stop - 1}, {processes} processes. {self.summary()}\n\n"
            f"Again: `python -m tests.faults.simulation --start {seeds.start}"
            f" --seeds {len(seeds)} --processes {processes}`\n\n"
            f"## Breaches\n\n{failed or 'None.'}\n\n"
            f"## What came to pass\n\n| what | how often |\n|---|---|\n{rows}\n"
        )


def run_some(seeds: Sequence[int]) -> Campaign:
    """Run seeds one after another in this process."""
    campaign = Campaign()
    gc.disable()
    try:
        for seed in seeds:
            result = World(seed).run()
            campaign.seeds += 1
            campaign.steps += result.steps
            campaign.transactions += result.transactions
            campaign.fills += result.fills
            campaign.bound += result.limits_bound
            campaign.seen += result.seen
            if result.breaches:
                campaign.failures.append((seed, result.breaches))
        gc.collect()
    finally:
        gc.enable()
    return campaign


def _keep_to_one_processor(numbers: Any) -> None:
    """A run has one thread at work at a time: to wake the next one elsewhere costs a third more."""
    with numbers.get_lock():
        number = numbers.value
        numbers.value += 1
    if sys.platform == "linux":
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[number % len(processors)]})


def _run_chunk(chunk: tuple[Sequence[int], tuple[str, ...]]) -> Campaign:
    seeds, bugs = chunk
    with failpoints.seeded(*bugs):
        return run_some(seeds)


def run_many(
    seeds: range, processes: int, bugs: tuple[str, ...], show: Callable[[Campaign], None]
) -> Campaign:
    """Run seeds over processes; `show` is told after each part."""
    total = Campaign()
    chunks = [(seeds[at : at + CHUNK], bugs) for at in range(0, len(seeds), CHUNK)]
    context = multiprocessing.get_context("spawn")
    numbers = context.Value("i", 0)
    with context.Pool(processes, initializer=_keep_to_one_processor, initargs=(numbers,)) as pool:
        for part in pool.imap(_run_chunk, chunks):
            total.add(part)
            show(total)
    return total
