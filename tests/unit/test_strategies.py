"""Each strategy against values computed by hand or from the indicator's own definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import talib

from engine.domain.candles import Candles
from engine.domain.model import Action
from services.strategy.evaluation import price_of
from services.strategy.strategies import bollinger, donchian, macd, rsi_reversion, sma_cross
from services.strategy.strategy import Opinion, Strategy, confidence
from tests.factories import candles_of, make_candles


def judge(strategy: Strategy[Any], candles: Candles, **parameters: Any) -> Opinion | None:
    return strategy.judge(candles, None, strategy.parse(parameters))


def first(candles: Candles, count: int) -> Candles:
    return candles.between(0, count)


def walk(seed: int = 3, count: int = 400) -> Candles:
    rng = np.random.default_rng(seed)
    return make_candles(100 * np.exp(np.cumsum(rng.normal(0, 0.01, count))), spread=0.4)


def actions(strategy: Strategy[Any], candles: Candles, start: int = 100) -> dict[int, Action]:
    """The action at each prefix's last candle, by that candle's index."""
    found = {
        end - 1: judge(strategy, first(candles, end)) for end in range(start, len(candles) + 1)
    }
    return {index: opinion.action for index, opinion in found.items() if opinion is not None}


def crossings(difference: np.ndarray, start: int = 100) -> dict[int, Action]:
    """Where a difference changes its sign, from index `start - 1` on."""
    found: dict[int, Action] = {}
    for index in range(start - 1, len(difference)):
        if difference[index - 1] <= 0 < difference[index]:
            found[index] = Action.BUY
        if difference[index - 1] >= 0 > difference[index]:
            found[index] = Action.SELL
    return found


def mean_of_last(values: np.ndarray, period: int) -> np.ndarray:
    return np.array(
        [values[max(end - period, 0) : end].mean() for end in range(1, len(values) + 1)]
    )


def test_sma_cross_follows_the_crossings_of_plain_averages() -> None:
    candles = walk()
    expected = crossings(mean_of_last(candles.close, 20) - mean_of_last(candles.close, 50))
    assert expected
    assert actions(sma_cross.STRATEGY, candles) == expected


def test_macd_follows_the_crossings_of_its_signal_line() -> None:
    candles = walk()
    line, signal, _ = talib.MACD(candles.close, 12, 26, 9)
    assert actions(macd.STRATEGY, candles) == crossings(line - signal)


def test_rsi_reversion_acts_where_the_index_leaves_an_extreme() -> None:
    candles = walk()
    rsi = talib.RSI(candles.close, 14)
    low = {at: what for at, what in crossings(rsi - 30).items() if what is Action.BUY}
    high = {at: what for at, what in crossings(rsi - 70).items() if what is Action.SELL}
    assert low
    assert high
    assert actions(rsi_reversion.STRATEGY, candles) == low | high


def test_bollinger_acts_where_the_close_returns_inside_the_bands() -> None:
    candles = walk()
    upper, _, lower = talib.BBANDS(candles.close, 20, 2, 2)
    expected: dict[int, Action] = {}
    close = candles.close
    for index in range(99, len(close)):
        inside = lower[index] <= close[index] <= upper[index]
        if inside and close[index - 1] < lower[index - 1]:
            expected[index] = Action.BUY
        if inside and close[index - 1] > upper[index - 1]:
            expected[index] = Action.SELL
    assert {Action.BUY, Action.SELL} == set(expected.values())
    assert actions(bollinger.STRATEGY, candles) == expected


def test_donchian_acts_on_the_first_close_beyond_the_range_before_it() -> None:
    candles = walk()
    close, expected = candles.close, {}
    for index in range(99, len(close)):
        top = [candles.high[at - 20 : at].max() for at in (index - 1, index)]
        bottom = [candles.low[at - 10 : at].min() for at in (index - 1, index)]
        if close[index] > top[1] and close[index - 1] <= top[0]:
            expected[index] = Action.BUY
        elif close[index] < bottom[1] and close[index - 1] >= bottom[0]:
            expected[index] = Action.SELL
    assert {Action.BUY, Action.SELL} == set(expected.values())
    assert actions(donchian.STRATEGY, candles) == expected


def test_donchian_confidence_is_half_at_the_edge_and_whole_at_08_atr_beyond() -> None:
    """Thirty candles of range 100 to 102 have an ATR near 2; then a close beyond the top."""
    flat = [(101.0, 102.0, 100.0, 101.0)] * 30

    def broken(close: float) -> tuple[float, float]:
        candles = candles_of(*flat, (101.0, close, 100.0, close))
        opinion = judge(donchian.STRATEGY, candles)
        assert opinion is not None
        average = (2 * 13 + (close - 100)) / 14
        return opinion.confidence, 0.5 + 0.5 * min((close - 102) / (0.8 * average), 1)

    for close in (102.01, 102.8, 103.4, 110.0):
        given, expected = broken(close)
        assert given == pytest.approx(expected)


def test_rsi_confidence_is_the_depth_of_the_extreme_in_points() -> None:
    candles = walk()
    rsi = talib.RSI(candles.close, 14)
    for index in (at for at, what in crossings(rsi - 30).items() if what is Action.BUY):
        opinion = judge(rsi_reversion.STRATEGY, first(candles, index + 1))
        assert opinion is not None
        depth = 30 - rsi[index - 13 : index + 1].min()
        assert opinion.confidence == pytest.approx(0.5 + 0.5 * min(depth / 6, 1))


def test_bollinger_confidence_is_the_distance_outside_in_deviations() -> None:
    candles = walk()
    found = False
    for index in range(99, len(candles)):
        opinion = judge(bollinger.STRATEGY, first(candles, index + 1))
        if opinion is None:
            continue
        found = True
        before = candles.close[index - 20 : index]
        excess = abs(before[-1] - before.mean()) / before.std() - 2
        assert opinion.confidence == pytest.approx(0.5 + 0.5 * min(excess / 0.5, 1), rel=1e-6)
    assert found


@pytest.mark.parametrize(("strategy", "full"), [(sma_cross.STRATEGY, 0.2), (macd.STRATEGY, 0.1)])
def test_crossing_confidence_is_the_last_candles_move_in_atr(
    strategy: Strategy[Any], full: float
) -> None:
    candles = walk()
    close = candles.close
    if strategy is sma_cross.STRATEGY:
        difference = talib.SMA(close, 20) - talib.SMA(close, 50)
    else:
        difference = talib.MACD(close, 12, 26, 9)[2]
    average = talib.ATR(candles.high, candles.low, close, 14)
    for index in actions(strategy, candles):
        opinion = judge(strategy, first(candles, index + 1))
        assert opinion is not None
        move = abs(difference[index] - difference[index - 1]) / (full * average[index])
        assert opinion.confidence == pytest.approx(0.5 + 0.5 * min(move, 1))


@pytest.mark.parametrize(
    ("strength", "expected"), [(-1.0, 0.5), (0.0, 0.5), (0.5, 0.75), (1.0, 1.0), (9.0, 1.0)]
)
def test_confidence_is_linear_and_clipped(strength: float, expected: float) -> None:
    assert confidence(strength) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (70908.94, "70908.94"),
        (1e-7, "0.0000001"),
        (0.1 + 0.2, "0.3"),
        (123456789012.0, "123456789000"),
    ],
)
def test_prices_are_plain_decimals_of_ten_digits(value: float, text: str) -> None:
    assert format(price_of(value), "f") == text


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_price_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no price"):
        price_of(value)


@pytest.mark.parametrize(
    ("strategy", "parameters", "needs"),
    [
        (sma_cross.STRATEGY, {}, 51),
        (rsi_reversion.STRATEGY, {}, 57),
        (macd.STRATEGY, {}, 62),
        (bollinger.STRATEGY, {}, 21),
        (donchian.STRATEGY, {}, 22),
        (donchian.STRATEGY, {"entry": 20, "exit": 55}, 57),
        (sma_cross.STRATEGY, {"fast": 2, "slow": 3}, 15),
    ],
)
def test_it_asks_for_what_its_indicators_and_the_default_stop_need(
    strategy: Strategy[Any], parameters: dict[str, int], needs: int
) -> None:
    assert strategy.needs(strategy.parse(parameters)) == needs
