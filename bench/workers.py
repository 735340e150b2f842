"""How much faster more worker processes are when the services take their time.

`./dev bench workers [--processes 1 2 4 8 16] [--batches 160] [--runs 5]`: one symbol a batch; the
stub services answer after 50 ms, twice a batch. Efficiency is the wall time of one process over
`processes` times the wall time of so many.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from bench.measure import Meter, Row, environment, median, options, table, tell, timed_cycles
from tests.integration.stack import ROOT, free_ports, running, wait_for

DELAY_MS = 50
COLUMNS = ("workers", "batches", "wall_s", "efficiency", "cpu_s", "redis_commands", "runs")
NOTE = (
    "Each batch makes two calls that take 50 ms. Everything is on this machine, so that beyond "
    "some number of processes the two cores are the limit, not the engine."
)


@contextmanager
def stubs(symbols: int) -> Iterator[str]:
    """The stub services, ended with the block; their address."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "bench.stub_services", str(port), str(symbols), str(DELAY_MS)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        wait_for(lambda: _answers(url), 10, "the stub services answer")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=1).ok
    except requests.RequestException:
        return False


def measure(processes: int, batches: int, runs: int) -> Row:
    """Warm cycles with so many worker processes."""
    with stubs(batches) as url, tempfile.TemporaryDirectory() as folder:
        settings = {
            **environment(batches, processes),
            "TRADING_ENGINE__BATCH_SIZE": "1",
            "SERVICES__MARKET_DATA__CANDLES_PER_CYCLE": "0",
            "TRADING_ENGINE__ONLY_NEW_CANDLES": "false",
            "SERVICES__MARKET_DATA__URL": url,
            "SERVICES__STRATEGY__URL": url,
        }
        with running(Path(folder), **settings) as stack:
            timed_cycles(stack, 2, time.perf_counter)
            with Meter(stack.pid) as meter:
                found = timed_cycles(stack, runs, time.perf_counter)
    unfit = [report["status"] for report, _ in found if report["status"] != "COMPLETED"]
    if unfit:
        raise SystemExit(f"bench workers: a measured cycle is {unfit[0]}: {found[-1][0]}")
    return {
        "bench": "workers",
        "case": "stubs",
        "symbols": batches,
        "batches": batches,
        "workers": processes,
        "wall_s": median(wall for _, wall in found),
        "cpu_s": round(meter.total_cpu_s / runs, 3),
        "peak_mb": meter.peak_mb,
        "redis_commands": round(meter.redis["redis_commands"] / runs),
        "runs": runs,
    }


def main() -> int:
    """Measure, print, write."""
    parser = options("workers", __doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--batches", type=int, default=160)
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.processes, chosen.batches, chosen.runs = [1, 2], 16, 1
    rows: list[Row] = []
    for processes in chosen.processes:
        sys.stderr.write(f"{processes} processes ...\n")
        rows.append(measure(processes, chosen.batches, chosen.runs))
    alone = rows[0]["wall_s"] * rows[0]["workers"]
    for row in rows:
        row["efficiency"] = round(alone / row["wall_s"] / row["workers"], 2)
    return tell("workers", "More workers", [NOTE, table(rows, COLUMNS)], rows, chosen)


if __name__ == "__main__":
    sys.exit(main())
