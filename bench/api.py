"""Requests a second and latency of the API's reads while cycles run.

`./dev bench api [--seconds 10] [--connections 8]` uses `wrk` where the machine has it, and plain
threads otherwise; which of them is in the table.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from bench.measure import Meter, Row, environment, options, table, tell
from tests.integration.stack import Stack, running

PATHS = ("/status", "/health", "/cycles")
SYMBOLS = 100
COLUMNS = ("case", "requests_s", "median_ms", "p99_ms", "failed", "cpu_api", "client")
NOTE = (
    "Cycles of 100 symbols run back to back meanwhile, on the same cores as the API and the "
    "client that asks."
)
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def cycles_on(stack: Stack, done: threading.Event) -> None:
    """One cycle after another until it is enough."""
    while not done.is_set():
        stack.post("/cycle?wait=60")


def by_wrk(url: str, seconds: int, connections: int) -> Row:
    """What wrk says."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"(50|99)%\s+([\d.]+[a-z]+)", text))
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if rate is None:
        raise SystemExit(f"bench api: wrk said {text}")
    return {
        "client": "wrk",
        "requests_s": round(float(rate.group(1))),
        "median_ms": _milliseconds(found["50"]),
        "p99_ms": _milliseconds(found["99"]),
        "failed": int(failed.group(1)) if failed else 0,
    }


def _milliseconds(text: str) -> float:
    matched = re.fullmatch(r"([\d.]+)([a-z]+)", text)
    if matched is None:
        raise SystemExit(f"bench api: wrk said {text}")
    return round(float(matched.group(1)) * UNITS[matched.group(2)], 1)


def by_threads(url: str, seconds: int, connections: int) -> Row:
    """The same asked by threads of this process; the client takes its part of the cores."""
    until = time.monotonic() + seconds

    def ask() -> tuple[list[float], int]:
        taken, failed = [], 0
        with requests.Session() as session:
            while time.monotonic() < until:
                began = time.perf_counter()
                failed += not session.get(url, timeout=10).ok
                taken.append((time.perf_counter() - began) * 1000)
        return taken, failed

    with ThreadPoolExecutor(connections) as pool:
        parts = [task.result() for task in [pool.submit(ask) for _ in range(connections)]]
    taken = sorted(each for part, _ in parts for each in part)
    return {
        "client": "threads",
        "requests_s": round(len(taken) / seconds),
        "median_ms": round(statistics.median(taken), 1),
        "p99_ms": round(taken[int(len(taken) * 0.99)], 1),
        "failed": sum(failed for _, failed in parts),
    }


def measure(seconds: int, connections: int) -> list[Row]:
    """Each path in turn."""
    ask = by_wrk if shutil.which("wrk") else by_threads
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), **environment(SYMBOLS)) as stack,
    ):
        stack.cycle()
        done = threading.Event()
        busy = threading.Thread(target=cycles_on, args=(stack, done))
        busy.start()
        try:
            for path in PATHS:
                with Meter(stack.pid) as meter:
                    row = ask(f"{stack.url}{path}", seconds, connections)
                row |= {"bench": "api", "case": path, "symbols": SYMBOLS, "runs": 1}
                row |= {"cpu_api": round(meter.cpu_s.get("api", 0.0), 2), "peak_mb": meter.peak_mb}
                rows.append(row)
        finally:
            done.set()
            busy.join()
    return rows


def main() -> int:
    """Measure, print, write."""
    parser = options("api", __doc__)
    parser.add_argument("--seconds", type=int, default=10, help="for each path")
    parser.add_argument("--connections", type=int, default=8)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.seconds = 2
    rows = measure(chosen.seconds, chosen.connections)
    return tell("api", "The API while cycles run", [NOTE, table(rows, COLUMNS)], rows, chosen)


if __name__ == "__main__":
    sys.exit(main())
