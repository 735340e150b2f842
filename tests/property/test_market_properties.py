"""Properties of the simulated market and of the replay clock."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.domain.candles import Candles
from services.market_data.clock import ReplayClock
from services.market_data.feeds.feed import ReplayFeed
from services.market_data.feeds.files import FilesFeed
from services.market_data.feeds.simulated import GENESIS_MS, SimulatedFeed
from tests.market_feeds import HOUR, make_simulated

SEQUENTIAL = make_simulated(symbols=200)
SYMBOLS = [each.symbol for each in SEQUENTIAL.instruments(SEQUENTIAL.start_ms)]


def same(first: Candles, second: Candles) -> bool:
    return np.array_equal(first.block, second.block)


@given(
    symbol=st.sampled_from(SYMBOLS),
    last=st.integers(1, 3000),
    limit=st.integers(1, 400),
)
@settings(max_examples=60, deadline=None)
def test_random_access_gives_what_reading_from_the_start_gives(
    symbol: str, last: int, limit: int
) -> None:
    now = GENESIS_MS + last * HOUR
    fresh = make_simulated(symbols=200).candles(symbol, "1h", now, limit, None)
    assert same(fresh, SEQUENTIAL.candles(symbol, "1h", now, 5000, None).tail(limit))


@given(seed=st.integers(-(2**70), 2**70), count=st.integers(1, 150), index=st.integers(0, 149))
@settings(max_examples=50, deadline=None)
def test_a_symbols_candles_do_not_depend_on_how_many_symbols_there_are(
    seed: int, count: int, index: int
) -> None:
    few, many = make_simulated(symbols=count, seed=seed), make_simulated(symbols=150, seed=seed)
    symbol = list(few._index)[index % count]
    windows = [feed.candles(symbol, "1h", few.start_ms, 10, None) for feed in (few, many)]
    assert same(*windows)


@given(
    seed=st.integers(0, 2**32),
    chunk=st.integers(0, 10**6),
    step_s=st.sampled_from([60, 3600, 86400]),
)
@settings(max_examples=60, deadline=None)
def test_every_candle_is_sound_at_any_time_of_any_market(
    seed: int, chunk: int, step_s: int
) -> None:
    feed = make_simulated(seed=seed, step_s=step_s)
    now = GENESIS_MS + (chunk * 128 + 200) * step_s * 1000
    for symbol in ("BTC/USD", "ETH/USD", "SOL/USD"):
        rows = feed.candles(symbol, "1h", now, 150, None)
        table = rows.prices()
        assert len(rows) == 150
        assert np.isfinite(table).all()
        assert (table > 0).all()
        assert (rows.high >= np.maximum(rows.open, rows.close)).all()
        assert (rows.low <= np.minimum(rows.open, rows.close)).all()
        assert (np.diff(rows.time) == step_s * 1000).all()


def _file_feed() -> FilesFeed:
    """Thirty hours with a night of eight hours in the middle."""
    time = GENESIS_MS + HOUR * np.array([*range(15), *range(23, 38)], dtype=np.int64)
    price = np.full(30, 100.0)
    rows = Candles.of(time, price, price, price, price, price)
    return FilesFeed({"A/USD": rows}, timeframe="1h", step_s=3600, history=3, spread_bps=5)


class ClockMachine(RuleBasedStateMachine):
    """Any sequence of moves, repeats, operator's moves and restarts."""

    @initialize(is_file=st.booleans())
    def start(self, is_file: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        self.folder = Path(tempfile.mkdtemp())
        self.feed: ReplayFeed = _file_feed() if is_file else make_simulated()
        self.clock = ReplayClock(self.folder / "clock", "feed", self.feed)
        self.seen = self.clock.now_ms()
        self.cycles: dict[str, int] = {}
        self.names = itertools.count()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(candles=st.integers(0, 7))
    def a_new_cycle_moves_by_whole_candles(self, candles: int) -> None:
        name = f"c{next(self.names)}"
        moved = self.clock.advance(name, candles)
        expected = self.seen
        for _ in range(candles):
            expected = self.feed.later(expected, 1)
        assert moved == expected
        self.cycles[name] = moved

    @rule(data=st.data(), candles=st.integers(0, 7))
    def a_repeated_cycle_moves_nothing(self, data: st.DataObject, candles: int) -> None:
        if self.cycles:
            name = data.draw(st.sampled_from(sorted(self.cycles)))
            assert self.clock.advance(name, candles) == self.seen

    @rule(hours=st.integers(0, 12), odd=st.integers(0, HOUR - 1))
    def the_operator_moves_to_a_time(self, hours: int, odd: int) -> None:
        target = self.seen + hours * HOUR + odd
        assert self.seen <= self.clock.move_to(target) <= target

    @rule()
    def the_process_restarts(self) -> None:
        self.clock = ReplayClock(self.folder / "clock", "feed", self.feed)
        assert self.clock.now_ms() == self.seen

    @invariant()
    def it_stands_on_a_close_and_never_goes_back(self) -> None:
        if not hasattr(self, "clock"):
            return
        now = self.clock.now_ms()
        assert now >= self.seen
        assert (now - GENESIS_MS) % HOUR == 0
        assert self.feed.at_or_before(now) == now
        if self.feed.end_ms is not None:
            assert now <= self.feed.end_ms
            assert self.clock.has_ended == (now == self.feed.end_ms)
        self.seen = now


ClockMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestReplayClock = ClockMachine.TestCase


@given(seed=st.integers(0, 1000), hours=st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_a_window_never_reaches_beyond_the_markets_now(seed: int, hours: int) -> None:
    feed: SimulatedFeed = make_simulated(seed=seed)
    now = feed.start_ms + hours * HOUR + 1
    assert feed.candles("BTC/USD", "1h", now, 500, None).time[-1] + HOUR <= now
