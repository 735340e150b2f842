"""Real candles through the files feed and the strategies; needs CANDLES_DIR."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from engine.domain.model import Action
from engine.settings import TIMEFRAME_SECONDS, Settings
from services.market_data.feeds.build import build_feed
from services.market_data.feeds.files import FilesFeed
from services.strategy.evaluation import Asked, Subject, judge_symbol
from services.strategy.strategies import BUILT_IN
from services.strategy.strategy import Holding

FOLDER = Path(os.environ.get("CANDLES_DIR", ""))
FILE = FOLDER / "crypto_1h.parquet"
HOUR = TIMEFRAME_SECONDS["1h"] * 1000

pytestmark = pytest.mark.skipif(
    not os.environ.get("CANDLES_DIR") or not FILE.is_file(),
    reason="CANDLES_DIR does not name a folder with crypto_1h.parquet",
)


@pytest.fixture(scope="module")
def feed() -> FilesFeed:
    settings = Settings.model_validate(
        {
            "trading_engine": {"account_currency": "USDT"},
            "services": {"market_data": {"feed": "files", "path": str(FILE)}},
        }
    )
    feed = build_feed(settings)
    assert isinstance(feed, FilesFeed)
    return feed


def test_the_candles_served_are_those_of_the_file(feed: FilesFeed) -> None:
    table = pyarrow.parquet.read_table(FILE)
    symbols = np.array(table.column("symbol").to_pylist())
    rows = {name: table.column(name).to_numpy() for name in ("ts", "close")}
    now = feed.later(feed.start_ms, 100)
    for symbol in ("BTC/USDT", "PEPE/USDT", "TON/USDT"):
        chosen = (symbols == symbol) & (rows["ts"] + HOUR <= now)
        order = np.argsort(rows["ts"][chosen])
        served = feed.candles(symbol, "1h", now, 5000, None)
        assert np.array_equal(served.time, rows["ts"][chosen][order])
        assert np.array_equal(served.close, rows["close"][chosen][order])


def test_most_pairs_are_listed_with_prices_on_their_ticks(feed: FilesFeed) -> None:
    listed = feed.instruments(feed.start_ms)
    assert len(listed) > 130
    for each in listed:
        prices = feed.prices(each.symbol, feed.start_ms)
        assert 0 < prices.bid < prices.ask
        assert all(price % each.tick_size == 0 for price in (prices.bid, prices.ask))


def test_every_strategy_buys_and_sells_something_in_a_week(feed: FilesFeed) -> None:
    asked = [
        Asked(each.name, each, each.parse({}), each.needs(each.parse({}))) for each in BUILT_IN
    ]
    held = Holding(quantity=1.0, average_price=1.0)
    seen: set[tuple[str, Action]] = set()
    for hours in range(0, 168, 4):
        now = feed.later(feed.start_ms, hours)
        for each in feed.instruments(now)[:60]:
            candles = feed.candles(each.symbol, "1h", now, 500, None)
            for holding in (None, held):
                signals, _ = judge_symbol(asked, Subject(each.symbol, candles, holding))
                seen |= {(signal.strategy, signal.action) for signal in signals}
    assert seen == {(each.name, action) for each in BUILT_IN for action in ("buy", "sell")}
