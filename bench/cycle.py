"""Seconds a cycle and its split by step, for several numbers of symbols.

`./dev bench cycle [--symbols 2 25 100 1000 10000] [--runs 5]` starts the whole product on the
simulated feed for each number of symbols. `cold`: nothing is cached. `step`: one new candle a
symbol. `idle`: no new candle.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from bench.measure import Meter, Row, environment, median, options, table, tell, timed_cycles
from tests.integration.stack import Stack, running

STEPS = ("select", "fetch", "evaluate", "risk", "allocate", "execute", "finish")
ROLES = ("workers", "services", "api", "redis", "upkeep", "launcher")
MANY = 10_000
FIRST = ("case", "symbols", "wall_s", "cycle_s", "cpu_s", "ms_a_symbol")
NOTE = (
    "Everything is on one machine, the reference services included. `fetch`, `evaluate` and "
    "`risk` are the slowest batch's seconds; `wall_s` is what the client waits, `cpu_s` all "
    "processes together, `ms_a_symbol` their CPU milliseconds for each symbol."
)


def measured(case: str, symbols: int, stack: Stack, runs: int) -> Row:
    """So many cycles of one case."""
    with Meter(stack.pid) as meter:
        found = timed_cycles(stack, runs, time.perf_counter)
    reports = [report for report, _ in found]
    cpu_s = meter.total_cpu_s / runs
    return {
        "bench": "cycle",
        "case": case,
        "symbols": symbols,
        "workers": int(stack.environ["WORKERS__PROCESSES"]),
        "wall_s": median(wall for _, wall in found),
        "cycle_s": median(report["duration_s"] for report in reports),
        "cpu_s": round(cpu_s, 3),
        "ms_a_symbol": round(cpu_s / symbols * 1000, 2),
        "peak_mb": meter.peak_mb,
        "redis_commands": round(meter.redis["redis_commands"] / runs),
        "redis_kb": round(meter.redis["redis_bytes"] / runs / 1024),
        "runs": runs,
        **{
            step: median(report["step_seconds"].get(step, 0.0) for report in reports)
            for step in STEPS
        },
        **{f"cpu_{role}": round(meter.cpu_s.get(role, 0.0) / runs, 3) for role in ROLES},
    }


def measure(symbols: int, runs: int, processes: int | None) -> list[Row]:
    """The cold cycle, then cycles with one new candle each; then others without a new candle."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), **environment(symbols, processes)) as stack,
    ):
        rows = [measured("cold", symbols, stack, 1), measured("step", symbols, stack, runs)]
    still = {"SERVICES__MARKET_DATA__CANDLES_PER_CYCLE": "0"}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), **environment(symbols, processes), **still) as stack,
    ):
        timed_cycles(stack, 2, time.perf_counter)
        rows.append(measured("idle", symbols, stack, runs))
    return rows


def main() -> int:
    """Measure, print, write."""
    parser = options("cycle", __doc__)
    parser.add_argument("--symbols", type=int, nargs="+", default=[2, 25, 100, 1000, MANY])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--processes", type=int, help="of the worker (default: one a core)")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.symbols, chosen.runs = [2, 25], 1
    rows: list[Row] = []
    for symbols in chosen.symbols:
        sys.stderr.write(f"{symbols} symbols ...\n")
        rows += measure(symbols, chosen.runs, chosen.processes)
    columns = (*FIRST, "peak_mb", "redis_commands", "redis_kb", "runs")
    parts = ("case", "symbols")
    tables = [
        table(rows, columns),
        "Seconds by step:",
        table(rows, (*parts, *STEPS)),
        "CPU seconds by process:",
        table(rows, (*parts, *(f"cpu_{role}" for role in ROLES))),
    ]
    return tell("cycle", "Seconds a cycle", [NOTE, *tables], rows, chosen)


if __name__ == "__main__":
    sys.exit(main())
