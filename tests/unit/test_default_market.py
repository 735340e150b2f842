"""The default seed's market trades from its first candle, through the real functions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.domain.model import Action, Signal
from engine.settings import Settings
from services.market_data.feeds.build import build_feed
from services.market_data.feeds.simulated import SimulatedFeed
from services.strategy.evaluation import Asked, Subject, judge_symbol
from services.strategy.registry import load_registry
from services.strategy.strategy import Holding
from tests.market_feeds import HOUR

SETTINGS = Settings()
HELD = Holding(quantity=1.0, average_price=1.0)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Asked]:
    known = load_registry(tmp_path_factory.mktemp("none")).strategies
    chosen: list[Asked] = []
    for entry in SETTINGS.services.strategy.strategies:
        strategy = known[entry.name]
        parameters = strategy.parse(dict(entry.parameters))
        chosen.append(Asked(entry.id, strategy, parameters, strategy.needs(parameters)))
    return chosen


@pytest.fixture(scope="module")
def feed() -> SimulatedFeed:
    feed = build_feed(SETTINGS)
    assert isinstance(feed, SimulatedFeed)
    return feed


def strong(
    feed: SimulatedFeed, asked: list[Asked], cycle: int, holding: Holding | None
) -> Iterator[Signal]:
    """Signals of at least the minimum confidence about liquid symbols, `cycle` candles on."""
    now = feed.start_ms + cycle * HOUR
    selection = SETTINGS.selection
    for each in feed.instruments(now):
        if each.volume_24h < selection.min_volume_24h or each.spread_bps > selection.max_spread_bps:
            continue
        candles = feed.candles(each.symbol, "1h", now, SETTINGS.trading_engine.candles, None)
        signals, faults = judge_symbol(asked, Subject(each.symbol, candles, holding))
        assert faults == []
        yield from (
            one for one in signals if one.confidence >= SETTINGS.trading_engine.min_confidence
        )


def test_the_first_cycle_brings_strong_buys_of_several_symbols(
    feed: SimulatedFeed, asked: list[Asked]
) -> None:
    buys = list(strong(feed, asked, 1, None))
    assert all(signal.action is Action.BUY for signal in buys)
    assert len({signal.symbol for signal in buys}) >= 4


def test_something_bought_at_first_is_left_within_five_cycles(
    feed: SimulatedFeed, asked: list[Asked]
) -> None:
    """By its own strategy's strong sell, or because a low touches its stop."""
    entries = {signal.symbol: signal for signal in strong(feed, asked, 1, None)}
    left: set[str] = set()
    for cycle in range(2, 6):
        for signal in strong(feed, asked, cycle, HELD):
            entry = entries.get(signal.symbol)
            if entry is not None and entry.strategy == signal.strategy:
                left.add(signal.symbol)
        for symbol, entry in entries.items():
            (low,) = feed.candles(symbol, "1h", feed.start_ms + cycle * HOUR, 1, None).low
            if entry.stop_loss is not None and low <= float(entry.stop_loss):
                left.add(symbol)
    assert left


def test_every_strategy_finds_strong_entries_and_some_weak_ones_over_a_day(
    feed: SimulatedFeed, asked: list[Asked]
) -> None:
    buys = [signal for cycle in range(1, 25) for signal in strong(feed, asked, cycle, None)]
    assert {signal.strategy for signal in buys} == {each.label for each in asked}
    assert 48 < len(buys) < 240
