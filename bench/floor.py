"""The same work without the engine: the least that a cycle could cost here.

`./dev bench floor [--symbols 25 100 1000] [--runs 15]`: for each batch of 25 one bulk request for
what is new, one encoding and decoding of the evaluation's body, the indicators, a chord of no-op
tasks of the same shape, and a bare INSERT of the same rows. Beside it a whole cycle of the
product, in the same round.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import psutil
import requests
import talib

from bench.floor_tasks import timed
from bench.measure import (
    Row,
    cpu_s,
    environment,
    median,
    options,
    redis_of,
    table,
    tell,
    timed_cycles,
)
from engine.domain.candles import CandleColumns
from tests.integration.stack import ROOT, Stack, running, wait_for

BATCH = 25
CANDLES = 500
PARTS = ("fetch", "encode", "indicators", "chord", "insert")
COLUMNS = (*PARTS, "floor_cpu_s", "cpu_s", "ratio", "overhead", "from", "to", "runs")
NOTE = (
    "CPU seconds, medians, both sides of each call counted. `ratio` is the cycle's CPU over the "
    "floor's of the same round, `overhead` what is above the floor, in floors; `from` and `to` are "
    "the least and the most overhead of all rounds."
)
_decoder = msgspec.json.Decoder(dict[str, CandleColumns])


def in_batches(symbols: list[str]) -> list[list[str]]:
    """Lists of 25."""
    return [symbols[at : at + BATCH] for at in range(0, len(symbols), BATCH)]


def fetch(stack: Stack, symbols: list[str]) -> Callable[[], None]:
    """One bulk request a batch for the one candle that is new."""
    url = f"{stack.service_urls['market_data']}/ohlcv"
    session = requests.Session()

    def ask(names: list[str], limit: int) -> Any:
        body = {"symbols": names, "timeframe": "1h", "limit": limit, "since": {}}
        headers = {"Content-Type": "application/json"}
        answer = session.post(url, data=orjson.dumps(body), headers=headers, timeout=20)
        answer.raise_for_status()
        return orjson.loads(answer.content)

    def work() -> None:
        for names in in_batches(symbols):
            found = ask(names, 1)["candles"]
            for columns in found.values():
                np.asarray(columns["close"], dtype=np.float64)

    return work


def columns_of(count: int) -> dict[str, Any]:
    """Candles of a batch, as arrays."""
    dice = np.random.default_rng(3)
    found = {}
    for number in range(count):
        close = 100 * np.exp(np.cumsum(dice.normal(0, 0.01, CANDLES)))
        found[f"S{number}"] = {
            "time": np.arange(CANDLES, dtype=np.int64) * 3_600_000,
            "open": close * 0.999,
            "high": close * 1.002,
            "low": close * 0.998,
            "close": close,
            "volume": dice.uniform(1, 9, CANDLES),
        }
    return found


def encode(batches: int) -> Callable[[], None]:
    """The evaluation's body out and in again, and the columns as arrays."""
    given = columns_of(BATCH)

    def work() -> None:
        for _ in range(batches):
            body = orjson.dumps(given, option=orjson.OPT_SERIALIZE_NUMPY)
            for columns in _decoder.decode(body).values():
                columns.candles()

    return work


def indicators(batches: int) -> Callable[[], None]:
    """What the five strategies compute."""
    given = columns_of(BATCH)

    def work() -> None:
        for _ in range(batches):
            for columns in given.values():
                close, high, low = columns["close"], columns["high"], columns["low"]
                talib.SMA(close, 20)
                talib.SMA(close, 50)
                talib.RSI(close, 14)
                talib.MACD(close)
                talib.BBANDS(close, 20)
                talib.ATR(high, low, close, 14)
                talib.MAX(high, 20)
                talib.MIN(low, 10)

    return work


@contextmanager
def no_op_workers(address: str, processes: int) -> Iterator[list[int]]:
    """Workers of the no-op application; their PIDs."""
    environ = {**os.environ, "REDIS_URL": address}
    command = [sys.executable, "-m", "celery", "-A", "bench.floor_tasks", "worker"]
    command += ["-c", str(processes), "--without-gossip", "--without-mingle", "-l", "error"]
    worker = subprocess.Popen([*command, "-n", "floor@%h"], cwd=ROOT, env=environ)
    try:
        root = psutil.Process(worker.pid)
        wait_for(lambda: len(root.children()) >= processes, 20, "the no-op workers are there")
        yield [worker.pid, *(child.pid for child in root.children(recursive=True))]
    finally:
        worker.terminate()
        worker.wait(20)


@contextmanager
def no_op_chords(address: str, batches: int, pids: list[int]) -> Iterator[Callable[[], float]]:
    """What sends one such chord, and tells the CPU seconds of its sender and of `pids`."""
    command = [sys.executable, "-m", "bench.floor_tasks", str(batches), *map(str, pids)]
    environ = {**os.environ, "REDIS_URL": address}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True, bufsize=1
    ) as sender:

        def send() -> float:
            told = ""
            if sender.stdin is not None and sender.stdout is not None:
                sender.stdin.write("\n")
                told = sender.stdout.readline()
            if not told:
                raise SystemExit("bench floor: the sender of chords has ended")
            return float(told)

        yield send


def insert(folder: Path, symbols: int) -> Callable[[], None]:
    """An outcome for each symbol and some signals, one transaction a batch, as durable as ours."""
    connection = sqlite3.connect(folder / "floor.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE outcomes (cycle, symbol, batch, stage, status, reason)")
    connection.execute("CREATE TABLE signals (cycle, batch, symbol, strategy, kept, payload)")
    row = ("20251122T120000Z-00000000", "S00000/USD", 1, "risk", "OK", "")
    signal = ("20251122T120000Z-00000000", 1, "S00000/USD", "sma_cross", True, "x" * 400)

    def work() -> None:
        for _ in range(symbols // BATCH):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO outcomes VALUES (?,?,?,?,?,?)", [row] * BATCH)
            connection.executemany("INSERT INTO signals VALUES (?,?,?,?,?,?)", [signal] * 3)
            connection.execute("COMMIT")

    return work


@contextmanager
def parts(stack: Stack, folder: Path, symbols: int) -> Iterator[dict[str, Callable[[], float]]]:
    """What does each part of the floor once, and tells its CPU seconds."""
    batches, address = symbols // BATCH, address_of(stack)
    services = _pids(stack, "-m services")
    listed = requests.get(f"{stack.service_urls['market_data']}/symbols", timeout=20).json()
    names = [each["symbol"] for each in listed["symbols"]][:symbols]
    with (
        no_op_workers(address, int(stack.environ["WORKERS__PROCESSES"])) as workers,
        no_op_chords(address, batches, [*workers, *_pids(stack, "valkey-server")]) as chord,
    ):
        yield {
            "fetch": partial(timed, fetch(stack, names), services),
            "encode": partial(timed, encode(batches), []),
            "indicators": partial(timed, indicators(batches), []),
            "chord": chord,
            "insert": partial(timed, insert(folder, symbols), []),
        }


def address_of(stack: Stack) -> str:
    """Another database of the product's own Redis."""
    client = redis_of(stack.pid)
    if client is None:
        raise SystemExit("bench floor: the product's Redis was not found")
    known = client.connection_pool.connection_kwargs
    return f"redis://:{known['password']}@127.0.0.1:{known['port']}/9"


def measure(symbols: int, runs: int) -> Row:
    """Rounds of a cycle and then the floor's parts: the machine's speed of the hour is in both."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), **environment(symbols)) as stack,
        parts(stack, Path(folder), symbols) as floor,
    ):
        timed_cycles(stack, 2, time.perf_counter)
        rounds = [_round(stack, floor) for _ in range(runs + 1)][1:]
        processes = int(stack.environ["WORKERS__PROCESSES"])
    floors = [sum(found[part] for part in PARTS) for found in rounds]
    ratios = sorted(found["cpu_s"] / least for found, least in zip(rounds, floors, strict=True))
    return {
        "bench": "floor",
        "case": "step",
        "symbols": symbols,
        "workers": processes,
        "wall_s": median(found["wall_s"] for found in rounds),
        "cpu_s": median(found["cpu_s"] for found in rounds),
        "floor_cpu_s": median(floors),
        "ratio": median(ratios, 2),
        "overhead": round(median(ratios, 4) - 1, 2),
        "from": round(ratios[0] - 1, 2),
        "to": round(ratios[-1] - 1, 2),
        "runs": runs,
        **{part: median((found[part] for found in rounds), 4) for part in PARTS},
    }


def _round(stack: Stack, floor: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Seconds of one cycle and of each part of the floor."""
    before = cpu_s(stack.pid)
    ((_, wall_s),) = timed_cycles(stack, 1, time.perf_counter)
    used_s = cpu_s(stack.pid) - before
    return {"wall_s": wall_s, "cpu_s": used_s, **{part: run() for part, run in floor.items()}}


def _pids(stack: Stack, mark: str) -> list[int]:
    children = psutil.Process(stack.pid).children(recursive=True)
    return [child.pid for child in children if mark in " ".join(child.cmdline())]


def main() -> int:
    """Measure, print, write."""
    parser = options("floor", __doc__)
    parser.add_argument("--symbols", type=int, nargs="+", default=[25, 100, 1000])
    parser.add_argument("--runs", type=int, default=15)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.symbols, chosen.runs = [25], 1
    rows = []
    for symbols in chosen.symbols:
        sys.stderr.write(f"{symbols} symbols ...\n")
        rows.append(measure(symbols, chosen.runs))
    return tell("floor", "The floor", [NOTE, table(rows, ("symbols", *COLUMNS))], rows, chosen)


if __name__ == "__main__":
    sys.exit(main())
