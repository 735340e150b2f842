"""Run many simulated seeds, or one with its trace.

python -m tests.faults.simulation --seeds 100000 --start 0 --processes 2
python -m tests.faults.simulation --seed 4711 --trace
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from engine import failpoints
from tests.faults.simulation.campaign import Campaign, run_many
from tests.faults.simulation.world import World

RESULTS = Path("bench/results/simulation.md")


def main() -> int:
    """0 when every seed was clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, help="run this one alone")
    parser.add_argument("--trace", action="store_true", help="print every step of it")
    parser.add_argument("--bug", action="append", default=[], help="a seeded bug to switch on")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the counts are written")
    chosen = parser.parse_args()
    with failpoints.seeded(*chosen.bug):
        if chosen.seed is not None:
            return _one(chosen.seed, trace=chosen.trace)
    return _many(chosen)


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _one(seed: int, *, trace: bool) -> int:
    world = World(seed, trace=say if trace else None)
    result = world.run()
    say(f"seed {seed}: {result.steps} steps, {result.transactions} transactions")
    for breach in result.breaches:
        say(f"  {breach}")
    return 1 if result.breaches else 0


def _many(chosen: argparse.Namespace) -> int:
    began = time.monotonic()

    def show(campaign: Campaign) -> None:
        for seed, breaches in campaign.failures[campaign.shown :]:
            say(f"seed {seed}: {breaches[0]}")
            say(f"  again: python -m tests.faults.simulation --seed {seed} --trace")
        campaign.shown = len(campaign.failures)
        campaign.seconds = time.monotonic() - began
        rate = campaign.seeds / max(campaign.seconds, 0.001) * 60
        sys.stderr.write(f"{campaign.seeds} seeds, {rate:.0f} a minute\n")
        so_far = range(chosen.start, chosen.start + campaign.seeds)
        chosen.out.write_text(campaign.report(so_far, chosen.processes), encoding="utf-8")

    seeds = range(chosen.start, chosen.start + chosen.seeds)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    campaign = run_many(seeds, chosen.processes, tuple(chosen.bug), show)
    say(campaign.summary())
    return 1 if campaign.failures or campaign.missing() else 0


if __name__ == "__main__":
    sys.exit(main())
