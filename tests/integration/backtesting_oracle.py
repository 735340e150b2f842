"""Runs in the package's own environment: its candles and its runs, as JSON."""

from __future__ import annotations

import json
import sys
import warnings

import empyrical
import pandas as pd
import talib
from backtesting import Backtest, Strategy
from backtesting.lib import crossover
from backtesting.test import GOOG

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


class Rsi(Strategy):  # type: ignore[misc]
    """A tenth of the equity when RSI rises above 30; left by stop or target only."""

    def init(self) -> None:
        self.rsi = self.I(talib.RSI, self.data.Close, 14)

    def next(self) -> None:
        close = self.data.Close[-1]
        if crossover(self.rsi, 30) and not self.position:
            self.buy(size=0.1, sl=close * 0.97, tp=close * 1.05)


class AtrRisk(SmaCross):
    """One hundredth of the equity at risk, the stop two average true ranges below."""

    def init(self) -> None:
        super().init()
        self.atr = self.I(talib.ATR, self.data.High, self.data.Low, self.data.Close, 14)

    def next(self) -> None:
        if crossover(self.fast, self.slow) and not self.position:
            distance = 2 * self.atr[-1]
            size = int(self.equity * 0.01 / distance)
            self.buy(size=size, sl=self.data.Close[-1] - distance)
        elif crossover(self.slow, self.fast):
            self.position.close()


RUNS = {
    "sma": (SmaCross, 10_000, 0.002, False),
    "sma_at_close": (SmaCross, 10_000, 0.002, True),
    "sma_free": (SmaCross, 10_000, 0.0, False),
    "rsi": (Rsi, 100_000, 0.001, False),
    "atr": (AtrRisk, 100_000, 0.001, False),
}


def run(strategy: type, cash: float, fee: float, at_close: bool) -> dict[str, object]:  # noqa: FBT001
    """Final equity and every trade: size, times, prices, profit."""
    stats = Backtest(
        GOOG,
        strategy,
        cash=cash,
        commission=fee,
        trade_on_close=at_close,
        finalize_trades=True,
    ).run()
    trades = [
        [
            float(trade.Size),
            trade.EntryTime.timestamp() * 1000,
            trade.ExitTime.timestamp() * 1000,
            float(trade.EntryPrice),
            float(trade.ExitPrice),
            float(trade.PnL),
        ]
        for trade in stats["_trades"].sort_values("ExitTime").itertuples()
    ]
    equity = stats["_equity_curve"]["Equity"].astype(float).tolist()
    return {"final": float(stats["Equity Final [$]"]), "trades": trades, "equity": equity}


def figures(equity: list[float]) -> dict[str, float]:
    """What empyrical says of the daily returns: 252 days, risk-free 0."""
    returns = pd.Series(equity, index=GOOG.index).pct_change().dropna()
    return {
        "sharpe": float(empyrical.sharpe_ratio(returns)),
        "sortino": float(empyrical.sortino_ratio(returns)),
        "volatility": float(empyrical.annual_volatility(returns)),
        "max_drawdown": float(empyrical.max_drawdown(returns)),
        "cagr": float(empyrical.cagr(returns)),
        "calmar": float(empyrical.calmar_ratio(returns)),
        "total_return": float(empyrical.cum_returns_final(returns)),
    }


if __name__ == "__main__":
    candles = {name: GOOG[name].astype(float).tolist() for name in GOOG.columns}
    candles["time"] = [int(time.timestamp() * 1000) for time in GOOG.index]
    runs = {name: run(*terms) for name, terms in RUNS.items()}
    known = {"goog": figures(candles["Close"]), "sma": figures(runs["sma"]["equity"])}
    json.dump({"candles": candles, "runs": runs, "figures": known}, sys.stdout)
