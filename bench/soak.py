"""Many cycles back to back: what drifts.

`./dev bench soak [--cycles 500] [--symbols 100]` compares the first tenth, after ten cycles, with
the last tenth: seconds a cycle, memory of each process, Redis' keys, the ledger's size. As the
machine is faster at one time than at another, a fresh engine is then started beside the old one,
and they take turns for a tenth more: that line compares the old with the fresh. A process' memory
is what is resident of it; all of them together count a shared page once, so that their sum also
grows while the worker's processes write to pages that they shared with their parent.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from bench.measure import (
    MEGABYTE,
    Meter,
    Row,
    environment,
    median,
    members,
    options,
    redis_of,
    role_of,
    table,
    tell,
    timed_cycles,
)
from tests.integration.stack import Stack, running

WARM = 10
SEVERAL = ("workers", "upkeep")  # the parent is the first
COLUMNS = ("case", "after_warm", "at_end", "drift_percent")


def sample(stack: Stack) -> dict[str, float]:
    """Memory of each process and of all in MB, Redis' keys, and the ledger's MB."""
    memory: dict[str, float] = defaultdict(float)
    seen: Counter[str] = Counter()
    for process in members(stack.pid):
        role, used = role_of(process), process.memory_full_info()
        seen[role] += 1
        memory[f"{role} {seen[role]} MB" if role in SEVERAL else f"{role} MB"] += (
            used.rss / MEGABYTE
        )
        memory["together MB"] += used.pss / MEGABYTE
    client = redis_of(stack.pid)
    keys: Any = 0 if client is None else client.dbsize()
    files = (stack.folder / "data").rglob("ledger.sqlite*")
    ledger = sum(path.stat().st_size for path in files) / MEGABYTE
    return {**memory, "redis keys": float(keys), "ledger MB": ledger}


def drift(case: str, before: float, after: float) -> Row:
    """One line."""
    percent = round((after / before - 1) * 100, 1) if before else 0.0
    return {
        "bench": "soak",
        "case": case,
        "after_warm": round(before, 3),
        "at_end": round(after, 3),
        "drift_percent": percent,
    }


def measure(symbols: int, cycles: int) -> list[Row]:
    """The lines of the table."""
    tenth = max(cycles // 10, 1)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), **environment(symbols)) as stack,
    ):
        timed_cycles(stack, WARM, time.perf_counter)
        first = sample(stack)
        with Meter(stack.pid) as meter:
            walls = []
            for number in range(cycles):
                [(report, _)] = timed_cycles(stack, 1, time.perf_counter)
                walls.append(report["duration_s"])
                if (number + 1) % tenth == 0:
                    sys.stderr.write(f"{number + 1} cycles, {median(walls[-tenth:])} s each\n")
        last = sample(stack)
        old, fresh = _in_turns(stack, symbols, tenth)
    rows = [drift("cycle s (median of a tenth)", median(walls[:tenth]), median(walls[-tenth:]))]
    rows += [drift("cycle s beside a fresh engine's", median(fresh), median(old))]
    rows += [drift(name, first[name], last[name]) for name in sorted(first.keys() & last.keys())]
    shared = {"symbols": symbols, "wall_s": median(walls), "peak_mb": meter.peak_mb}
    shared |= {"cpu_s": round(meter.total_cpu_s / cycles, 3), "runs": cycles}
    return [{**row, **shared} for row in rows]


def _in_turns(stack: Stack, symbols: int, cycles: int) -> tuple[list[float], list[float]]:
    """Seconds of the engine's cycles, and of a fresh one's in between."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), **environment(symbols)) as fresh,
    ):
        timed_cycles(fresh, WARM, time.perf_counter)
        turns = [[_duration_s(each) for each in (stack, fresh)] for _ in range(cycles)]
    return [old for old, _ in turns], [new for _, new in turns]


def _duration_s(stack: Stack) -> float:
    ((report, _),) = timed_cycles(stack, 1, time.perf_counter)
    return float(report["duration_s"])


def main() -> int:
    """Measure, print, write."""
    parser = options("soak", __doc__)
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--symbols", type=int, default=100)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.cycles, chosen.symbols = 20, 25
    rows = measure(chosen.symbols, chosen.cycles)
    note = f"{chosen.cycles} cycles of {chosen.symbols} symbols, after {WARM} that are not counted."
    return tell("soak", "Many cycles", [note, table(rows, COLUMNS)], rows, chosen)


if __name__ == "__main__":
    sys.exit(main())
