"""Runs in an environment with the package backtesting: SMA 20/50 over each symbol.

Prints the CPU seconds, and the orders that were filled in them: two a trade.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import pandas as pd
import talib
from backtesting import Backtest, Strategy
from backtesting.lib import crossover

warnings.filterwarnings("ignore")


class SmaCross(Strategy):  # type: ignore[misc]
    """In when the averages cross up, out when they cross down."""

    def init(self) -> None:
        self.fast = self.I(talib.SMA, self.data.Close, 20)
        self.slow = self.I(talib.SMA, self.data.Close, 50)

    def next(self) -> None:
        if crossover(self.fast, self.slow) and not self.position:
            self.buy()
        elif crossover(self.slow, self.fast):
            self.position.close()


if __name__ == "__main__":
    history = json.load(sys.stdin)
    frames = [
        pd.DataFrame(columns, index=pd.to_datetime(times, unit="ms")) for times, columns in history
    ]
    trades = 0
    started = time.process_time()
    for frame in frames:
        test = Backtest(frame, SmaCross, cash=1e7, commission=0.002, finalize_trades=True)
        trades += test.run()["# Trades"]
    spent = time.process_time() - started
    json.dump({"seconds": spent, "orders": 2 * trades}, sys.stdout)
