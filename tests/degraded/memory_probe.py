"""A worker's clients against one address: prints by how many megabytes the process grew at most.

`python -m tests.degraded.memory_probe URL ROUNDS`; the caller changes what the address answers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from engine.clients.execution import HttpExecution
from engine.clients.market_data import HttpMarketData
from engine.clients.portfolio import HttpPortfolio
from engine.clients.strategy import HttpStrategyEngine
from engine.domain.candles import Candles
from engine.domain.messages import StrategyChoice
from engine.errors import OrderStateUnknown, ServiceError
from tests.clients_kit import WallClock, make_transport

SYMBOLS = [f"S{number}/USD" for number in range(25)]
PATIENT = {"failures": 10**6, "reset_s": 15}


def calls(url: str) -> list[Callable[[], object]]:
    """One of each kind of call that a worker makes."""
    transport = make_transport(
        url, retries=0, timeout_s=20, max_answer_bytes=33554432, breaker=PATIENT
    )
    market, orders = HttpMarketData(transport, WallClock()), HttpExecution(transport)
    series = Candles.of(np.arange(500), *(np.ones(500) for _ in range(5)))
    choice = StrategyChoice(id="sma", name="sma")
    asked = dict.fromkeys(SYMBOLS, series)
    return [
        market.symbols,
        lambda: market.candles(SYMBOLS, "1h", 500, {}),
        lambda: market.quotes(SYMBOLS),
        lambda: HttpStrategyEngine(transport).evaluate("1h", [choice], asked, [], "in-1"),
        HttpPortfolio(transport, "paper").snapshot,
        lambda: orders.events(0, 500),
        lambda: orders.submit("o-1", "{}", 20),
    ]


def peak_mb() -> float:
    """The most that this process ever held: Linux's high-water mark."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def forget_peak() -> None:
    """Begin a new high-water mark: a child begins with that of its parent."""
    Path("/proc/self/clear_refs").write_text("5")


def main(url: str, rounds: int) -> None:
    """Make every call in each round, and say how much memory it took."""
    made = calls(url)
    forget_peak()
    before = peak_mb()
    for _ in range(rounds):
        for call in made:
            with suppress(ServiceError, OrderStateUnknown):
                call()
    sys.stdout.write(f"{peak_mb() - before:.0f}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
