"""freqtrade's own cycle, in its own virtual environment: `python freqtrade_side.py PAIRS RUNS`.

The bot is the real one in dry-run, and `process()` is what is measured: every pair has news each
time. The calls of the exchange's library answer from memory with ready-made lists, so that neither
the network nor the reading of answers is counted.
Prints one JSON object: CPU seconds and wall seconds of each run, and the memory at the end.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ccxt.pro
import numpy as np
from freqtrade.configuration import Configuration
from freqtrade.enums import RunMode, State
from freqtrade.exchange import Exchange
from freqtrade.freqtradebot import FreqtradeBot

CANDLES = 500
STARTUP = 60
TIMEFRAME = "1h"
STRATEGY = """
import talib.abstract as ta
from freqtrade.strategy import IStrategy


class Measured(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "1h"
    stoploss = -0.10
    minimal_roi = {"0": 10}
    process_only_new_candles = False
    startup_candle_count = 60

    def populate_indicators(self, dataframe, metadata):
        dataframe["fast"] = ta.SMA(dataframe, timeperiod=20)
        dataframe["slow"] = ta.SMA(dataframe, timeperiod=50)
        dataframe["rsi"] = ta.RSI(dataframe, timeperiod=14)
        dataframe["atr"] = ta.ATR(dataframe, timeperiod=14)
        macd = ta.MACD(dataframe)
        dataframe["macd"], dataframe["signal"] = macd["macd"], macd["macdsignal"]
        bands = ta.BBANDS(dataframe, timeperiod=20)
        dataframe["lower"], dataframe["upper"] = bands["lowerband"], bands["upperband"]
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        crossed = (dataframe["fast"] > dataframe["slow"]) & (
            dataframe["fast"].shift(1) <= dataframe["slow"].shift(1)
        )
        weak = (dataframe["rsi"] < 30) & (dataframe["macd"] > dataframe["signal"])
        dataframe.loc[crossed | weak, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        crossed = (dataframe["fast"] < dataframe["slow"]) | (dataframe["rsi"] > 70)
        dataframe.loc[crossed, "exit_long"] = 1
        return dataframe
"""


def market(pair: str) -> dict[str, Any]:
    """What the exchange says of a pair."""
    base = pair.partition("/")[0]
    limits = {"amount": {"min": 0.001, "max": None}, "price": {"min": 0.01, "max": None}}
    return {
        "id": pair.replace("/", ""),
        "symbol": pair,
        "base": base,
        "quote": "USDT",
        "active": True,
        "spot": True,
        "type": "spot",
        "contract": False,
        "linear": None,
        "precision": {"amount": 0.001, "price": 0.01},
        "limits": {**limits, "cost": {"min": 5, "max": None}},
        "taker": 0.001,
        "maker": 0.001,
        "info": {},
    }


def candles_of(pairs: list[str]) -> dict[str, list[list[float]]]:
    """A random walk for each pair, up to the hour that closed last, as the library gives it."""
    dice = np.random.default_rng(7)
    last = int(time.time() // 3600 - 1) * 3_600_000
    found = {}
    for pair in pairs:
        close = 100 * np.exp(np.cumsum(dice.normal(0, 0.01, CANDLES)))
        open_ = np.concatenate([[100.0], close[:-1]])
        rows = np.column_stack(
            [
                last - 3_600_000 * np.arange(CANDLES - 1, -1, -1),
                open_,
                np.maximum(open_, close) * 1.002,
                np.minimum(open_, close) * 0.998,
                close,
                dice.uniform(100, 1000, CANDLES),
            ]
        )
        found[pair] = [[int(row[0]), *row[1:].tolist()] for row in rows]
    return found


def stub(pairs: list[str]) -> None:
    """The exchange's own class answers from memory."""
    markets = {pair: market(pair) for pair in pairs}
    candles = candles_of(pairs)
    price = {pair: rows[-1][4] for pair, rows in candles.items()}

    def validate(self: Exchange, *_: Any) -> None:
        self._startup_candle_count = STARTUP

    def reload(self: Exchange, *_: Any, **__: Any) -> None:
        self._markets = markets

    async def fetch(_self: Any, pair: str, **_: Any) -> list[list[float]]:
        return candles[pair]

    def ticker(_self: Exchange, pair: str) -> dict[str, Any]:
        now = price[pair]
        return {"symbol": pair, "bid": now * 0.9999, "ask": now * 1.0001, "last": now}

    def book(_self: Exchange, pair: str, _limit: int) -> dict[str, Any]:
        now = price[pair]
        return {"symbol": pair, "bids": [[now * 0.9999, 1e6]], "asks": [[now * 1.0001, 1e6]]}

    for name, stand_in in {
        "reload_markets": reload,
        "validate_config": validate,
        "check_time_offset": lambda *_: None,
        "_now_is_time_to_refresh": lambda *_: True,
        "fetch_ticker": ticker,
        "get_tickers": lambda self, *_, **__: {pair: ticker(self, pair) for pair in pairs},
        "fetch_l2_order_book": book,
        "get_fee": lambda *_, **__: 0.001,
    }.items():
        setattr(Exchange, name, stand_in)
    ccxt.pro.binance.fetch_ohlcv = fetch


def settings(folder: Path, pairs: list[str]) -> dict[str, Any]:
    """A dry run over static pairs."""
    strategies = folder / "strategies"
    strategies.mkdir()
    (strategies / "measured.py").write_text(STRATEGY)
    given = {
        "dry_run": True,
        "dry_run_wallet": 100_000,
        "max_open_trades": 20,
        "stake_currency": "USDT",
        "stake_amount": 1000,
        "timeframe": TIMEFRAME,
        "db_url": "sqlite://",
        "strategy": "Measured",
        "user_data_dir": str(folder),
        "exchange": {"name": "binance", "pair_whitelist": pairs, "enable_ws": False},
        "pairlists": [{"method": "StaticPairList"}],
        "entry_pricing": {"price_side": "same", "use_order_book": False},
        "exit_pricing": {"price_side": "same", "use_order_book": False},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(given))
    arguments = {"config": [str(path)], "user_data_dir": str(folder)}
    return Configuration(arguments, RunMode.DRY_RUN).get_config()


def main(count: int, runs: int) -> None:
    """Measure and print."""
    logging.disable(logging.CRITICAL)
    pairs = [f"C{number:04d}/USDT" for number in range(count)]
    stub(pairs)
    with tempfile.TemporaryDirectory() as name:
        bot = FreqtradeBot(settings(Path(name), pairs))
        bot.state = State.RUNNING
        bot.process()
        cpu, wall = [], []
        for _ in range(runs):
            began, cpu_began = time.perf_counter(), time.process_time()
            bot.process()
            cpu.append(time.process_time() - cpu_began)
            wall.append(time.perf_counter() - began)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"cpu_s": cpu, "wall_s": wall, "peak_mb": peak_mb}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
