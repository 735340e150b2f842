"""The simulated feed: what its market is like, and that it costs what is asked for."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from engine.domain.quality import judge
from services.market_data.clock import to_time
from services.market_data.feeds.simulated import GENESIS_MS, SimulatedFeed
from tests.factories import make_limits
from tests.market_feeds import HOUR, make_simulated

WINDOW = 500


def default_feed() -> SimulatedFeed:
    return make_simulated(symbols=50, history=WINDOW)


def test_known_names_come_first_and_are_quoted_in_the_account_currency() -> None:
    feed = make_simulated(symbols=30, currency="EUR")
    symbols = {each.symbol for each in feed.instruments(feed.start_ms)}
    assert {"BTC/EUR", "ETH/EUR", "SOL/EUR", "SYM001/EUR"} <= symbols
    assert len(symbols) == 30


def test_the_default_universe_has_illiquid_and_wide_spread_symbols() -> None:
    feed = default_feed()
    listed = feed.instruments(feed.start_ms)
    illiquid = [each for each in listed if each.volume_24h < 1_000_000]
    wide = [each for each in listed if each.spread_bps > 50]
    assert len(illiquid) == len(wide) == 2
    assert len(listed) - len({each.symbol for each in (*illiquid, *wide)}) == 46


def test_every_candle_passes_the_quality_check_with_its_history() -> None:
    feed = default_feed()
    now = feed.start_ms + 300 * HOUR
    for instrument in feed.instruments(now):
        fault = judge(
            feed.candles(instrument.symbol, "1h", now, WINDOW, None),
            timeframe_s=3600,
            market_time=to_time(now),
            limits=make_limits().quality,
            need=WINDOW,
        )
        assert fault is None


def test_an_hour_moves_by_half_to_one_percent() -> None:
    feed = default_feed()
    for symbol in ("BTC/USD", "SOL/USD", "SYM010/USD"):
        close = feed.candles(symbol, "1h", feed.start_ms + 2000 * HOUR, 2000, None).close
        assert 0.004 < np.diff(np.log(close)).std() < 0.01


def test_symbols_move_together() -> None:
    feed = default_feed()
    now = feed.start_ms + 2000 * HOUR
    names = [each.symbol for each in feed.instruments(now)]
    closes = np.log([feed.candles(name, "1h", now, 2000, None).close for name in names])
    daily = np.diff(closes[:, ::24], axis=1)
    correlations = np.corrcoef(daily)
    assert correlations[np.triu_indices(len(names), 1)].mean() > 0.1


def test_candles_join_without_a_jump_across_chunks() -> None:
    feed = make_simulated()
    candles = feed.candles("BTC/USD", "1h", GENESIS_MS + 2000 * HOUR, 2000, None)
    gaps = np.abs(np.log(candles.open[1:] / candles.close[:-1]))
    assert gaps.max() < 0.003


def test_prices_are_on_the_tick_and_volumes_on_the_lot() -> None:
    feed = make_simulated(symbols=10)
    for instrument in feed.instruments(feed.start_ms):
        candles = feed.candles(instrument.symbol, "1h", feed.start_ms, 10, None)
        for price in candles.close.tolist():
            assert Decimal(repr(price)) % instrument.tick_size == 0
        for volume in candles.volume.tolist():
            assert Decimal(repr(volume)) % instrument.lot_size == 0


def test_another_seed_is_another_market() -> None:
    one, other = (make_simulated(seed=seed) for seed in (1, 2))
    first, second = (
        feed.candles("BTC/USD", "1h", feed.start_ms, 10, None).close for feed in (one, other)
    )
    assert not np.array_equal(first, second)


def test_there_is_nothing_before_the_first_candle() -> None:
    feed = make_simulated(history=10)
    candles = feed.candles("BTC/USD", "1h", feed.start_ms, 500, None)
    assert len(candles) == 10
    assert candles.time[0] == GENESIS_MS


def test_a_given_start_is_where_the_clock_starts() -> None:
    feed = make_simulated(start_ms=GENESIS_MS + 50 * HOUR + 1)
    assert feed.start_ms == GENESIS_MS + 50 * HOUR


def test_a_window_far_away_makes_only_the_chunks_it_needs() -> None:
    feed = make_simulated(symbols=1000)
    feed.candles("BTC/USD", "1h", GENESIS_MS + 1_000_000 * HOUR, WINDOW, None)
    assert feed._chunk.cache_info().currsize <= 5


@pytest.mark.parametrize(("symbols", "megabytes"), [(50, 3), (1000, 45), (100_000, 270)])
def test_memory_is_bounded_whatever_is_asked(symbols: int, megabytes: int) -> None:
    feed = make_simulated(symbols=symbols, history=WINDOW)
    limit = feed._chunk.cache_info().maxsize
    assert limit is not None
    columns = feed._chunk(0, 0).columns()
    assert limit * sum(column.nbytes for column in columns) < megabytes * 1e6


def test_a_whole_window_of_a_block_stays_in_memory() -> None:
    feed = default_feed()
    for _ in range(2):
        for hours in range(3):
            feed.candles("BTC/USD", "1h", feed.start_ms + hours * HOUR, WINDOW, None)
    assert feed._chunk.cache_info().misses <= WINDOW // 128 + 2


@pytest.mark.parametrize(("timeframe", "step_s"), [("1m", 60), ("1d", 86400)])
def test_other_lengths_scale_by_the_square_root_of_time(timeframe: str, step_s: int) -> None:
    feed = make_simulated(timeframe=timeframe, step_s=step_s, history=2000)
    close = feed.candles("BTC/USD", timeframe, feed.start_ms, 2000, None).close
    hourly = np.diff(np.log(close)).std() / np.sqrt(timedelta(seconds=step_s) / timedelta(hours=1))
    assert 0.004 < hourly < 0.01
