"""`./dev faults`: worlds under fault, one after another, for so long; counts into a table."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from tests.faults.rig.controls import run_controls
from tests.faults.rig.counts import Counts, shortfalls, table
from tests.faults.rig.rounds import Life
from tests.faults.rig.world import ROOT

RESULT = ROOT / "bench" / "results" / "faults.md"
ROUNDS = 8
FAULT_S = 40.0


def main() -> int:
    """Exit status 1 when anything was breached, or a seeded bug was not caught."""
    parser = argparse.ArgumentParser(prog="./dev faults", description="The product under faults.")
    parser.add_argument("--hours", type=float, default=0.2, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="the first world's seed")
    parser.add_argument("--worlds", type=int, default=0, help="how many; 0: as time allows")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of one world")
    parser.add_argument("--fault-seconds", type=float, default=FAULT_S, help="of one round")
    parser.add_argument("--keep", metavar="FOLDER", help="leave the worlds here")
    parser.add_argument("--more", action="store_true", help="add to the counts of the last run")
    parser.add_argument("--strict", action="store_true", help="fail unless everything was met")
    parser.add_argument("--controls", nargs="*", metavar="BUG", help="the seeded bugs instead")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    base = Path(options.keep or tempfile.mkdtemp(prefix="faults-"))
    base.mkdir(parents=True, exist_ok=True)
    try:
        if options.controls is not None:
            return run_controls(base, options.controls, options.seed)
        return _run(base, options)
    finally:
        if not options.keep:
            shutil.rmtree(base, ignore_errors=True)


def _leave(number: int, _frame: FrameType | None) -> None:
    """End in order: no process of a world stays behind."""
    sys.exit(128 + number)


def _run(base: Path, options: argparse.Namespace) -> int:
    stored = RESULT.with_suffix(".json")
    total = Counts.load(stored) if options.more and stored.exists() else Counts()
    until = time.monotonic() + options.hours * 3600
    seed, worlds = options.seed, 0
    while time.monotonic() < until and (not options.worlds or worlds < options.worlds):
        folder = base / f"seed-{seed}"
        counts = Life(folder, seed).run(options.rounds, options.fault_seconds)
        total.add(counts)
        worlds += 1
        _tell(seed, counts)
        total.save(stored)
        RESULT.write_text(table(total), encoding="utf-8")
        if not counts.breaches and not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        seed += 1
    missing = shortfalls(total) if options.strict else []
    sys.stdout.writelines(f"not met: {line}\n" for line in missing)
    return 1 if total.breaches or missing else 0


def _tell(seed: int, counts: Counts) -> None:
    line = (
        f"seed {seed}: {counts.rounds} rounds, {counts.seconds:.0f} s, {counts.sigkills} kills, "
        f"{sum(counts.cycles.values())} cycles, {counts.orders} orders, "
        f"{counts.thawed} zombies ({counts.tried} tried), {len(counts.breaches)} breaches"
    )
    sys.stdout.write(line + "\n")
    for breach in counts.breaches[:20]:
        sys.stdout.write(f"  {breach}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
