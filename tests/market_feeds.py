"""Feeds and candle files for the tests of the market data service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from engine.settings import Settings
from services.market_data.feeds.simulated import SimulatedFeed

HOUR = 3_600_000
FIRST_OPEN = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp() * 1000)
ROWS = 40


def market_settings(data_dir: Path, **market_data: Any) -> Settings:
    """Settings with ten candles of history and the given market data section."""
    return Settings.model_validate(
        {
            "data_dir": str(data_dir),
            "trading_engine": {"candles": 10},
            "services": {"market_data": market_data},
        }
    )


def make_simulated(symbols: int = 3, seed: int = 7, **changed: Any) -> SimulatedFeed:
    fields: dict[str, Any] = {"currency": "USD", "timeframe": "1h", "step_s": 3600, "history": 10}
    return SimulatedFeed(symbols=symbols, seed=seed, **fields | changed)


def rows_of(symbol: str, price: float, count: int = ROWS, first: int = FIRST_OPEN) -> pa.Table:
    """Rising candles of one symbol: each opens at `price + number` and closes half above."""
    opened = price + np.arange(count)
    return pa.table(
        {
            "symbol": [symbol] * count,
            "ts": first + HOUR * np.arange(count),
            "open": opened,
            "high": opened + 0.75,
            "low": opened - 0.25,
            "close": opened + 0.5,
            "volume": np.full(count, 12.5),
        }
    )


def write_parquet(path: Path, *tables: pa.Table) -> Path:
    pyarrow.parquet.write_table(pa.concat_tables(tables), path)
    return path


def write_csv(path: Path, *tables: pa.Table) -> Path:
    pyarrow.csv.write_csv(pa.concat_tables(tables), path)
    return path


class FakeExchange:
    """An exchange as ccxt shows it: it lists the forming candle too, and pages of 15."""

    timeframes = {"1h": "1h", "1d": "1d"}
    precisionMode = 4  # noqa: N815 - ccxt's name

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.calls: list[str] = []
        self.failure: Exception | None = None

    def load_markets(self, reload: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - ccxt's
        self._called("load_markets")
        return {
            "BTC/USD": self._market("USD"),
            "ETH/USD": self._market("USD"),
            "XRP/USD": self._market("USD"),
            "OLD/USD": self._market("USD") | {"active": False},
            "ETH/BTC": self._market("BTC"),
            "BTC/USD:USD": self._market("USD") | {"spot": False},
        }

    def fetch_tickers(self) -> dict[str, Any]:
        self._called("fetch_tickers")
        return {
            "BTC/USD": {"bid": 99.99, "ask": 100.01, "last": 100.0, "quoteVolume": 5e6},
            "ETH/USD": {"bid": 9.99, "ask": 10.01, "last": None, "quoteVolume": 9e6},
            "XRP/USD": {"bid": None, "ask": 1.0, "last": 1.0, "quoteVolume": 1e6},
        }

    def fetch_ohlcv(
        self, symbol: str, timeframe: str, since: int | None, limit: int
    ) -> Sequence[Sequence[float]]:
        self._called(f"fetch_ohlcv {symbol}")
        begin = -(-(since or 0) // HOUR) * HOUR
        opens = range(begin, self.now_ms + 1, HOUR)[: min(limit, 15)]
        return [[float(at), 10.0, 11.0, 9.0, 10.5, 3.0] for at in opens]

    def parse_timeframe(self, timeframe: str) -> int:
        return {"1h": 3600, "1d": 86400}[timeframe]

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure

    def _market(self, quote: str) -> dict[str, Any]:
        return {
            "spot": True,
            "active": True,
            "quote": quote,
            "precision": {"price": 0.01, "amount": 1e-05},
            "limits": {"cost": {"min": 5}},
        }
