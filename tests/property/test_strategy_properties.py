"""Properties that every strategy has, whatever the candles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.candles import Candles
from engine.domain.model import Action
from services.strategy.evaluation import Asked, Subject, judge_symbol
from services.strategy.strategies import BUILT_IN
from services.strategy.strategy import Holding, Strategy
from tests.factories import make_candles

HELD = Holding(quantity=1.0, average_price=100.0)


def walk(seed: int, count: int, scale: float) -> Candles:
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(3, count) * 0.01
    return make_candles(scale * np.exp(np.cumsum(steps)), spread=scale * 0.003)


def asked_of(strategy: Strategy[Any]) -> Asked:
    parameters = strategy.parse({})
    return Asked(strategy.name, strategy, parameters, strategy.needs(parameters))


walks = st.builds(
    walk,
    seed=st.integers(0, 2**32),
    count=st.integers(80, 260),
    scale=st.sampled_from([1.0, 100.0, 50000.0]),
)


@pytest.mark.parametrize("strategy", BUILT_IN, ids=lambda strategy: strategy.name)
@given(candles=walks, holding=st.sampled_from([None, HELD]))
@settings(max_examples=60, deadline=None)
def test_signals_are_sound(
    strategy: Strategy[Any], candles: Candles, holding: Holding | None
) -> None:
    signals, faults = judge_symbol([asked_of(strategy)], Subject("A/USD", candles, holding))
    assert faults == []
    for signal in signals:
        assert 0.5 <= signal.confidence <= 1
        assert signal.candle_time == candles.time[-1]
        assert signal.action is (Action.BUY if holding is None else Action.SELL)
        if signal.stop_loss is not None:
            assert 0 < signal.stop_loss < signal.price
        assert (signal.stop_loss is None) is (signal.action is Action.SELL)


@pytest.mark.parametrize("strategy", BUILT_IN, ids=lambda strategy: strategy.name)
@given(candles=walks, end=st.integers(60, 250), noise=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_later_candles_change_nothing(
    strategy: Strategy[Any], candles: Candles, end: int, noise: int
) -> None:
    """The judgement of a prefix is the same whatever stands behind it in memory."""
    end = min(end, len(candles) - 1)
    rng = np.random.default_rng(noise)
    others = Candles(candles.block.copy())
    for column in others.prices():
        column[end:] = rng.uniform(1, 1e6, len(column) - end)
    asked = [asked_of(strategy)]

    def judged(source: Candles) -> object:
        return judge_symbol(asked, Subject("A/USD", source.between(0, end), None))

    assert judged(others) == judged(candles)


@pytest.mark.parametrize("strategy", BUILT_IN, ids=lambda strategy: strategy.name)
@given(candles=walks, factor=st.sampled_from([0.25, 2.0, 1024.0]))
@settings(max_examples=40, deadline=None)
def test_the_unit_of_the_price_does_not_matter(
    strategy: Strategy[Any], candles: Candles, factor: float
) -> None:
    prices = [column * factor for column in candles.prices()[:4]]
    scaled = Candles.of(candles.time, *prices, candles.volume)
    first, second = (strategy.judge(each, None, strategy.parse({})) for each in (candles, scaled))
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.action is second.action
        assert first.confidence == pytest.approx(second.confidence)
