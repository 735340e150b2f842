"""Candles a second of a replay, beside the package backtesting on the same data and strategy.

`./dev bench replay --data PATH [--backtesting PYTHON] [--runs 3]`: PYTHON is that of an environment
with backtesting==0.6.6 and ta-lib (default: that of the folder BACKTESTING_VENV). Both are measured
in CPU seconds of one process, after reading, one after the other in each run; the best run counts.
The orders are counted beside them, since it is decisions that cost the time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine.domain.candles import Candles
from replay.history import History
from replay.loading import load
from replay.options import Options, read_options
from replay.results import results_of
from replay.runner import Runner
from replay.terms import limits_of, strategies_of, terms_of

SIDE = Path(__file__).with_name("backtesting_side.py")
RESULT = Path(__file__).parent / "results" / "replay.md"
LEAST = 100
STRATEGY = ("--strategy", "sma_cross", "--cash", "10000000", "--fee", "0.002", "--sizing")
WAYS = {
    "all symbols in one account, 5 % an entry, no limits": ("fraction=0.05", "--limits", "none"),
    "all symbols in one account, every rule and a stop": ("risk=0.01", "--stop", "atr=2"),
    "all symbols in one account, all cash an entry, no limits": ("fraction=1", "--limits", "none"),
}
ALONE = "one symbol after another, all cash an entry, no limits"
PACKAGE = "backtesting 0.6.6, one symbol after another, all cash an entry"


class Spent(NamedTuple):
    """CPU seconds, and the orders that were filled in them."""

    seconds: float
    orders: int


def spent_on(options: Options, candles: dict[str, Candles]) -> Spent:
    started = time.process_time()
    limits, terms = limits_of(options, candles), terms_of(options)
    history = History(candles, options, limits)
    runner = Runner(options, history, limits, terms, strategies_of(options))
    runner.run(lambda _done, _total: None)
    results_of(runner.account)
    return Spent(time.process_time() - started, len(runner.account.fills))


def spent_alone(options: Options, candles: dict[str, Candles]) -> Spent:
    """Each symbol in an account of its own, as the package has it."""
    parts = [spent_on(options, {symbol: rows}) for symbol, rows in candles.items()]
    return Spent(sum(part.seconds for part in parts), sum(part.orders for part in parts))


def spent_by_package(python: str, candles: dict[str, Candles]) -> Spent:
    names = ("Open", "High", "Low", "Close", "Volume")
    history = [
        (
            rows.time.tolist(),
            {name: column.tolist() for name, column in zip(names, rows.prices(), strict=True)},
        )
        for rows in candles.values()
    ]
    done = subprocess.run(
        [python, str(SIDE)], input=json.dumps(history), capture_output=True, text=True, check=True
    )
    return Spent(**json.loads(done.stdout))


def measure(given: argparse.Namespace) -> list[list[str]]:
    """A row for each way, and one for the package."""
    best: dict[str, Spent] = {}
    total = 0

    def note(name: str, spent: Spent) -> None:
        best[name] = min(spent, best.get(name, spent))

    for _ in range(given.runs):
        for name, way in WAYS.items():
            options = read_options(["--data", given.data, *STRATEGY, *way], os.environ)
            candles = {symbol: rows for symbol, rows in load(options).items() if len(rows) > LEAST}
            total = int(np.sum([len(rows) for rows in candles.values()]))
            note(name, spent_on(options, candles))
        note(ALONE, spent_alone(options, candles))
        if given.backtesting:
            note(PACKAGE, spent_by_package(given.backtesting, candles))
    theirs = best.get(PACKAGE)
    return [
        [
            *(name, str(total), str(spent.orders), f"{spent.seconds:.2f}"),
            f"{total / spent.seconds:,.0f}",
            "" if theirs is None else f"{theirs.seconds / spent.seconds:.1f}",
        ]
        for name, spent in best.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench replay")
    parser.add_argument("--data", required=True)
    known = Path(os.environ.get("BACKTESTING_VENV", "")) / "bin" / "python"
    found = str(known) if "BACKTESTING_VENV" in os.environ and known.exists() else None
    parser.add_argument("--backtesting", metavar="PYTHON", default=found)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    head = ["run", "candles", "orders", "CPU s", "candles a second", "times as fast"]
    rows = [head, ["---"] * len(head), *measure(given)]
    text = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    RESULT.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
