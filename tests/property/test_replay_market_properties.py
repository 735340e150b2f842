"""What a replay looks up of the market is what its feed would answer."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.amounts import plain
from engine.domain.candles import Candles
from engine.domain.model import Quote
from engine.errors import DataQualityError
from replay import quotes
from replay.trust import Trust
from services.market_data.feeds.feed import around
from tests.replays import replayed, waves, write

COUNT = 60


@given(
    price=st.floats(1e-6, 1e9),
    places=st.integers(0, 12),
    tick=st.sampled_from([Decimal(1), Decimal("0.01"), Decimal("0.000001"), Decimal("1e-12")]),
    spread=st.sampled_from([0.0, 7.0]),
)
@settings(max_examples=300)
def test_a_quote_is_the_spread_around_its_price(
    price: float, places: int, tick: Decimal, spread: float
) -> None:
    price = max(round(price, places), 1e-6)
    made, found = around(price, spread, tick), quotes.exact(price, spread, tick)
    for side in ("bid", "ask", "last"):
        assert repr(getattr(found, side)) == repr(plain(getattr(made, side)))
    assert repr(quotes.exact_bid(price, spread, tick)) == repr(found.bid)


@pytest.mark.parametrize("swapped", [[], [3, 7]], ids=["in order", "disordered"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_looked_up_by_moment_is_what_the_feed_finds_by_time(
    swapped: list[int], seed: int
) -> None:
    candles = {"A/USD": waves(seed, COUNT), "B/USD": spoilt(waves(seed + 1, COUNT), seed, swapped)}
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "candles.parquet", candles)
        history = replayed(path, "--strategy", "sma_cross").runner.history
    for now_ms in history.nows.tolist():
        for symbol in candles:
            assert history.instrument(symbol, now_ms) == history.feed.instrument(symbol, now_ms)
            quote = history.quote(symbol, now_ms)
            if isinstance(quote, str):
                with pytest.raises(DataQualityError, match=quote):
                    history.feed.prices(symbol, now_ms)
            else:
                prices = history.feed.prices(symbol, now_ms)
                assert (quote.bid, quote.ask, quote.last) == tuple(prices)
        assert history.filled_in("A/USD", now_ms) == history.feed.coming(now_ms)


@pytest.mark.parametrize("limits", ["config", "none"])
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    priced=st.tuples(st.sampled_from([1e-7, 3e-4, 0.7, 42.0, 1e3, 6e4, 2e9]), st.integers(0, 12)),
    spread=st.sampled_from(["0", "7"]),
    swapped=st.sampled_from([[], [3, 7]]),
)
def test_an_exact_bid_is_that_of_the_quote_to_the_last_digit(
    limits: str, seed: int, priced: tuple[float, int], spread: str, swapped: list[int]
) -> None:
    """Whole prices, many and few digits, a change of the tick on the way, and no price at all."""
    random = np.random.default_rng(seed)
    series = waves(seed, COUNT)
    price, places = priced
    digits, factor = [0, places, 12], price / 100
    columns = [
        np.maximum([round(each * factor, digits[random.integers(3)]) for each in column], price / 9)
        for column in (series.open, series.high, series.low, series.close)
    ]
    made = Candles.of(series.time, *columns, series.volume)
    candles = {"A/USD": made, "B/USD": spoilt(made, seed, swapped)}
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "candles.parquet", candles)
        options = ("--limits", limits, "--spread-bps", spread, "--strategy", "sma_cross")
        history = replayed(path, *options).runner.history
    for step, now_ms in enumerate(history.nows.tolist()):
        quotes_now = {symbol: history.quote(symbol, now_ms) for symbol in candles}
        bids = {s: quote.bid for s, quote in quotes_now.items() if isinstance(quote, Quote)}
        assert repr(history.exact_bids(candles, step)) == repr(bids)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    share=st.sampled_from(["0.1", "0.3", "0.6"]),
    volume=st.sampled_from(["0", "1000000000", "2000000000"]),
    most=st.sampled_from(["2", "500"]),
    held=st.sets(st.sampled_from(["A/USD", "B/USD", "C/USD", "D/EUR"])),
)
def test_no_market_is_trusted_that_would_not_be_if_every_symbol_were_looked_at(
    seed: int, share: str, volume: str, most: str, held: set[str]
) -> None:
    candles = {
        name: spoilt(waves(seed + at, COUNT + 9 * at, price=100.0 / (at + 1)), seed + at % 2, [])
        for at, name in enumerate(("A/USD", "B/USD", "C/USD", "D/EUR"))
    }
    environ = {
        "QUALITY__MAX_BAD_SHARE": share,
        "SELECTION__MIN_VOLUME_24H": volume,
        "SELECTION__MAX_SYMBOLS": most,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "candles.parquet", candles)
        options = ("--strategy", "sma_cross", "--candles", "20")
        runner = replayed(path, *options, environ=environ).runner
    quick, slow = (Trust(runner.history, runner.limits) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow, "_is_surely_kept", lambda _step, _held: False)
        for step, now_ms in enumerate(runner.history.nows.tolist()):
            # Nothing is held before it is listed.
            known = [each for each in sorted(held) if runner.history.first_close[each] <= now_ms]
            assert slow.is_lost(step, known) == quick.is_lost(step, known)


def spoilt(series: Candles, seed: int, swapped: list[int]) -> Candles:
    """The same with some candles missing, and those at these rows in reverse order."""
    random = np.random.default_rng(seed)
    rows = np.flatnonzero(random.random(len(series)) > 0.1)
    rows[swapped] = rows[swapped[::-1]]
    return series.chosen(rows)
