"""Seconds a cycle and its split by step, for several numbers of symbols.

`./dev bench cycle [--symbols 2 25 100 1000] [--runs 5] [--memory-cycles 50]` starts the whole
product on the simulated feed for each number of symbols, runs one cold cycle and then cycles with
one new candle each, and writes the medians to bench/results/cycle.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests.integration.stack import Stack, running

STEPS = ("select", "fetch", "evaluate", "risk", "allocate", "execute", "finish")
RESULTS = Path(__file__).parent / "results"
MEGABYTE = 1024 * 1024

Row = dict[str, Any]


def environment(symbols: int) -> dict[str, str]:
    """Every simulated symbol takes part, on as many worker processes as the machine has cores."""
    return {
        "SERVICES__MARKET_DATA__SYMBOLS": str(symbols),
        "SELECTION__MAX_SYMBOLS": str(symbols),
        "SELECTION__MIN_VOLUME_24H": "0",
        "SELECTION__MAX_SPREAD_BPS": "100000",
        "WORKERS__PROCESSES": str(max(psutil.cpu_count() or 1, 2)),
        "RISK__MAX_DRAWDOWN": "1",
        "RISK__MAX_DAILY_LOSS_SOFT": "1",
        "RISK__MAX_DAILY_LOSS_HARD": "1",
    }


def worker_memory(stack: Stack) -> float:
    """Resident memory of all worker processes, in MB."""
    workers = [
        process
        for process in psutil.Process(stack.pid).children(recursive=True)
        if "worker" in " ".join(process.cmdline())
    ]
    return sum(process.memory_info().rss for process in workers) / MEGABYTE


def cpu_seconds(stack: Stack) -> float:
    """CPU seconds of every process of the product so far."""
    root = psutil.Process(stack.pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def row(case: str, symbols: int, reports: list[Row], walls: list[float], cpu: float) -> Row:
    """Medians over the reports of one case."""
    return {
        "bench": "cycle",
        "case": case,
        "symbols": symbols,
        "wall_s": round(statistics.median(walls), 3),
        "cycle_s": round(statistics.median(report["duration_s"] for report in reports), 3),
        "cpu_s": round(cpu / len(reports), 3),
        "runs": len(reports),
        **{
            step: round(
                statistics.median(report["step_seconds"].get(step, 0.0) for report in reports), 3
            )
            for step in STEPS
        },
    }


def timed_cycle(stack: Stack) -> tuple[Row, float]:
    """A cycle's report and the seconds that its request took."""
    started = time.perf_counter()
    report = stack.cycle()
    return report, time.perf_counter() - started


def measure(symbols: int, runs: int) -> list[Row]:
    """The cold cycle, then `runs` cycles with one new candle each."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), **environment(symbols)) as stack,
    ):
        before = cpu_seconds(stack)
        report, wall = timed_cycle(stack)
        cold = row("cold", symbols, [report], [wall], cpu_seconds(stack) - before)
        before = cpu_seconds(stack)
        results = [timed_cycle(stack) for _ in range(runs)]
        used = cpu_seconds(stack) - before
    step = row("step", symbols, [each for each, _ in results], [wall for _, wall in results], used)
    return [cold, step]


def memory(symbols: int, cycles: int) -> list[float]:
    """Resident memory of the workers, in MB, after each tenth cycle."""
    samples = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), **environment(symbols)) as stack,
    ):
        for number in range(1, cycles + 1):
            stack.cycle()
            if number % 10 == 0:
                samples.append(round(worker_memory(stack), 1))
    return samples


def table(rows: list[Row]) -> str:
    """Markdown."""
    columns = ("case", "symbols", "wall_s", "cycle_s", "cpu_s", *STEPS, "runs")
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(str(each[column]) for column in columns) for each in rows]
    return "\n".join(f"| {line} |" for line in lines)


def write(rows: list[Row], samples: list[float], cycles: int) -> Path:
    """The result file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "cycle.md"
    text = [
        "# Seconds a cycle",
        "",
        (
            f"Measured {datetime.now(UTC):%Y-%m-%d} with `./dev bench cycle` on "
            f"{psutil.cpu_count()} cores ({platform.machine()}), Python "
            f"{platform.python_version()}; everything on one machine, reference services "
            "included. `step` is a cycle with one new candle a symbol; `fetch`, `evaluate` and "
            "`risk` are the slowest batch's; `wall_s` is what the client waits."
        ),
        "",
        table(rows),
    ]
    if samples:
        text += [
            "",
            f"Workers' resident memory over {cycles} cycles, MB after each tenth: "
            + ", ".join(str(sample) for sample in samples),
        ]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="./dev bench cycle", description=__doc__)
    parser.add_argument("--symbols", type=int, nargs="+", default=[2, 25, 100, 1000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory-cycles", type=int, default=50)
    parser.add_argument("--memory-symbols", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="one run of the smaller cases")
    parser.add_argument("--json", type=Path, help="also write the rows there")
    options = parser.parse_args()
    if options.quick:
        options.symbols, options.runs, options.memory_cycles = [2, 25], 1, 0
    rows: list[Row] = []
    for symbols in options.symbols:
        print(f"{symbols} symbols ...", flush=True)
        rows += measure(symbols, options.runs)
    samples: list[float] = []
    if options.memory_cycles:
        print(f"memory over {options.memory_cycles} cycles ...", flush=True)
        samples = memory(options.memory_symbols, options.memory_cycles)
    print(table(rows))
    print(f"written to {write(rows, samples, options.memory_cycles)}")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
