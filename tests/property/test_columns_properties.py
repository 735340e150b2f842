"""What is computed over whole columns says the same as the window that a cycle judges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain import quality
from engine.domain.candles import Candles
from engine.domain.model import Action
from engine.settings import Settings, decision_limits
from services.strategy.strategies import BUILT_IN
from services.strategy.strategy import Strategy

STEP = 3600
SMALL: dict[str, dict[str, float]] = {
    "sma_cross": {"fast": 3, "slow": 7},
    "donchian": {"entry": 5, "exit": 3},
    "rsi_reversion": {"period": 3, "oversold": 40, "overbought": 60},
    "macd": {"fast": 2, "slow": 4, "signal": 2},
    "bollinger": {"period": 5, "deviations": 1.0},
}


def walk(seed: int, count: int, size: float) -> Candles:
    """A random walk on a coarse grid, so that values often tie."""
    random = np.random.default_rng(seed)
    close = 100 + np.cumsum(random.integers(-3, 4, count)) * size
    close = np.maximum(np.round(close, 2), 1.0)
    start = np.concatenate(([close[0]], close[:-1]))
    high = np.maximum(start, close) + random.integers(0, 3, count) * size
    low = np.maximum(np.minimum(start, close) - random.integers(0, 3, count) * size, 0.5)
    time = np.arange(count, dtype=np.int64) * STEP * 1000
    return Candles.of(time, start, high, low, close, np.ones(count))


def window(candles: Candles, row: int, length: int) -> Candles:
    """What a cycle sees after the candle of `row` has closed."""
    begin = max(row + 1 - length, 0)
    return Candles.of(
        candles.time[begin : row + 1], *(each[begin : row + 1] for each in candles.prices())
    )


@pytest.mark.parametrize("strategy", BUILT_IN, ids=lambda each: each.name)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([0.01, 0.1, 0.5]),
    length=st.integers(16, 80),
    spike=st.sampled_from([1.0, 1e3, 1e7]),
)
def test_no_window_has_an_opinion_where_the_columns_see_nothing(
    strategy: Strategy[Any], seed: int, size: float, length: int, spike: float
) -> None:
    candles = walk(seed, 120, size)
    candles.close[20] *= spike
    candles.high[20] *= spike
    parameters = strategy.parse(SMALL[strategy.name])
    rows = strategy.seen(candles, parameters, length)
    assert rows is not None
    for row in range(strategy.needs(parameters) - 1, len(candles)):
        if length < strategy.needs(parameters):
            break  # a cycle does not ask it then
        opinion = strategy.judge(window(candles, row, length), None, parameters)
        if opinion is not None:
            assert (rows.buy if opinion.action is Action.BUY else rows.sell)[row]


def test_the_columns_leave_most_candles_out() -> None:
    """Else they would hold without being of any use."""
    candles = walk(7, 2000, 0.1)
    for strategy in BUILT_IN:
        rows = strategy.seen(candles, strategy.parse({}), 500)
        assert rows is not None
        assert 0 < (rows.buy | rows.sell).mean() < 0.25


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    length=st.integers(2, 40),
    row=st.integers(0, 59),
    fault=st.tuples(
        st.sampled_from(["open", "high", "low", "close", "volume"]),
        st.sampled_from([0.0, -1.0, 1.0, 1e6, float("nan"), float("inf"), 101.0]),
    )
    | st.tuples(st.just("time"), st.sampled_from([0, 3_600_000, 3_601_000])),
    frozen=st.sampled_from([1, 3, 24]),
)
def test_a_window_of_unsuspicious_candles_has_no_fault(
    seed: int, length: int, row: int, fault: tuple[str, float], frozen: int
) -> None:
    candles = walk(seed, 60, 0.1)
    column, value = fault
    getattr(candles, column)[row] = value
    limits = msgspec.structs.replace(
        decision_limits(Settings()).quality, frozen_candles=frozen, max_gaps=0
    )
    good = quality.unsuspicious(candles, timeframe_s=STEP, limits=limits)
    for last in range(1, len(candles)):
        begin = max(last + 1 - length, 0)
        if not good[begin : last + 1].all():
            continue
        now = datetime.fromtimestamp(0, UTC) + timedelta(
            milliseconds=int(candles.time[last]) + STEP * 1000
        )
        seen = window(candles, last, length)
        assert quality.first_fault(quality.Case(seen, STEP * 1000, now, limits, 1)) is None


@settings(max_examples=200)
@given(
    seed=st.integers(0, 99),
    rows=st.lists(st.integers(0, 59), max_size=2),
    fault=st.tuples(
        st.sampled_from(["open", "high", "low", "close", "volume"]),
        st.sampled_from([0.0, -1.0, 1.0, 1e6, float("nan"), float("inf"), 101.0]),
    )
    | st.tuples(st.just("time"), st.sampled_from([0, 3_600_000, 3_601_000])),
    judged_by=st.fixed_dictionaries(
        {"frozen_candles": st.sampled_from([0, 1, 3]), "max_gaps": st.sampled_from([0, 2])}
    ),
    late_s=st.sampled_from([-3600, 0, 7200, 90_000]),
)
def test_the_verdict_is_that_of_every_check_in_its_order(
    seed: int,
    rows: list[int],
    fault: tuple[str, float],
    judged_by: dict[str, int],
    late_s: int,
) -> None:
    candles = walk(seed, 60, 0.1)
    column, value = fault
    for row in rows:
        getattr(candles, column)[row] = value
    limits = msgspec.structs.replace(decision_limits(Settings()).quality, **judged_by)
    closed = timedelta(milliseconds=int(candles.time[-1]) + STEP * 1000, seconds=late_s)
    now = datetime.fromtimestamp(0, UTC) + closed
    for need in (2, 60, 61):
        case = quality.Case(candles, STEP * 1000, now, limits, need)
        verdict = quality.judge(
            candles, timeframe_s=STEP, market_time=now, limits=limits, need=need
        )
        assert verdict == quality.first_fault(case)


@settings(max_examples=200)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 2, 3, 40]), max_size=5),
    faults=st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(["open", "high", "low", "close", "volume", "time"]),
            st.integers(0, 39),
            st.sampled_from([0.0, -1.0, 1.0, 1e6, float("nan"), float("inf"), 3_601_000]),
        ),
        max_size=3,
    ),
    lacking=st.sets(st.integers(0, 4), max_size=2),
    judged_by=st.fixed_dictionaries(
        {"frozen_candles": st.sampled_from([0, 1, 3]), "max_gaps": st.sampled_from([0, 2])}
    ),
    late_s=st.sampled_from([-3600, 0, 7200, 90_000]),
)
def test_many_series_are_judged_as_each_is_alone(
    lengths: list[int],
    faults: list[tuple[int, str, int, float]],
    lacking: set[int],
    judged_by: dict[str, int],
    late_s: int,
) -> None:
    series = {f"S{at}": walk(at, 40, 0.1).tail(length) for at, length in enumerate(lengths)}
    for number, column, row, value in faults:
        name = f"S{number}"
        if row < len(series.get(name, ())) and not (column == "time" and not np.isfinite(value)):
            getattr(series[name], column)[row] = value
    for name in (f"S{number}" for number in lacking):
        if len(series.get(name, ())) > 3:
            rows = series[name]
            series[name] = Candles(np.delete(rows.block, 2, axis=1))
    given = {
        "timeframe_s": STEP,
        "market_time": datetime.fromtimestamp(40 * STEP + late_s, UTC),
        "limits": msgspec.structs.replace(decision_limits(Settings()).quality, **judged_by),
        "need": 2,
    }
    alone = {name: quality.judge(rows, **given) for name, rows in series.items()}
    assert quality.judge_all(series, **given) == {
        name: fault for name, fault in alone.items() if fault is not None
    }
