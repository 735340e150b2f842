"""The exit that is found equals a walk along the candles, one price after another."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.amounts import from_float
from engine.domain.candles import Candles
from engine.domain.exits import ProtectiveExit, protective_exit
from engine.domain.limits import DistanceRule, ExitPlan
from engine.domain.sizing import atr
from tests.factories import HOUR_MS, NOW, candles_of, make_position, make_symbol_facts

Row = tuple[float, float, float, float]


def candle(first: int, second: int, up: int, down: int) -> Row:
    return (first, max(first, second) + up, min(first, second) - down, second)


rows = st.lists(
    st.builds(
        candle,
        st.integers(90, 110),
        st.integers(90, 110),
        st.integers(0, 8),
        st.integers(0, 8),
    ),
    min_size=1,
    max_size=30,
)
trailings = st.one_of(
    st.none(),
    st.builds(DistanceRule, unit=st.just("fraction"), amount=st.sampled_from([Decimal("0.125")])),
    st.builds(DistanceRule, unit=st.just("atr"), amount=st.sampled_from([Decimal(1), Decimal(2)])),
)
levels = st.one_of(st.none(), st.integers(80, 99).map(Decimal))
targets = st.one_of(st.none(), st.integers(101, 120).map(Decimal))


def left(
    candles: Candles,
    *,
    minutes: int,
    stop: Decimal | None,
    target: Decimal | None,
    trailing: DistanceRule | None,
    market: int = 100,
) -> ProtectiveExit | None:
    return protective_exit(
        make_position(opened_at=NOW - timedelta(minutes=minutes), market_price=Decimal(market)),
        make_symbol_facts(stop_price=stop, target_price=target),
        candles,
        exits=ExitPlan(stop=None, target=None, trailing=trailing, time_candles=0),
        timeframe_s=3600,
        market_time=NOW,
    )


def walked(
    candles: Candles,
    *,
    minutes: int,
    stop: Decimal | None,
    target: Decimal | None,
    trailing: DistanceRule | None,
    market: int = 100,
) -> str | None:
    """The same by a plain loop; only the reason."""
    entered = round((NOW - timedelta(minutes=minutes)).timestamp() * 1000)
    averages, highest, level = atr(candles), 100.0, math.nan

    def raised(index: int) -> float:
        if trailing is None:
            return math.nan
        if trailing.unit == "fraction":
            return highest * (1 - float(trailing.amount))
        known = averages[index] if index >= 0 else math.nan
        new = highest - float(trailing.amount) * known
        return new if math.isnan(level) or new > level else level

    floor = -math.inf if stop is None else float(stop)
    top = math.inf if target is None else float(target)
    times = candles.time.tolist()
    first = next((i for i, t in enumerate(times) if t + HOUR_MS > entered), len(times))
    level = raised(first - 1)
    for index in range(first, len(times)):
        close = float(candles.close[index])
        is_whole = times[index] >= entered
        low = float(candles.low[index]) if is_whole else close
        high = float(candles.high[index]) if is_whole else close
        before = level
        highest = max(highest, high)
        level = raised(index)
        trail = before if low <= before else level if close <= level else math.nan
        if low <= floor and not trail > floor:
            return "stop"
        if not math.isnan(trail):
            return "trailing"
        if high >= top:
            return "target"
    if market <= floor and not level > floor:
        return "stop"
    if market <= level:
        return "trailing"
    return "target" if market >= top else None


@given(
    rows,
    st.integers(0, 1700),
    st.fixed_dictionaries({"stop": levels, "target": targets, "trailing": trailings}),
    st.integers(85, 115),
)
@settings(max_examples=200)
def test_the_exit_found_is_the_one_that_a_walk_finds(
    path: list[Row],
    minutes: int,
    plan: dict[str, object],
    market: int,
) -> None:
    candles = candles_of(*path)
    found = left(candles, minutes=minutes, market=market, **plan)  # type: ignore[arg-type]
    expected = walked(candles, minutes=minutes, market=market, **plan)  # type: ignore[arg-type]
    assert (None if found is None else found.reason) == expected


@given(rows, st.integers(0, 1700), levels, targets, trailings)
@settings(max_examples=150)
def test_what_a_stop_would_have_got_is_never_better_than_its_level(
    path: list[Row],
    minutes: int,
    stop: Decimal | None,
    target: Decimal | None,
    trailing: DistanceRule | None,
) -> None:
    candles = candles_of(*path)
    found = left(candles, minutes=minutes, stop=stop, target=target, trailing=trailing)
    if found is None:
        return
    if found.reason == "target":
        assert found.touch_price >= found.trigger_price
    else:
        assert found.touch_price <= found.trigger_price


@given(rows, st.integers(0, 1700), levels, targets)
@settings(max_examples=150)
def test_a_level_is_had_or_the_open_of_a_candle_that_gapped_beyond_it(
    path: list[Row], minutes: int, stop: Decimal | None, target: Decimal | None
) -> None:
    """Of the candle that the position was opened in, the close stands for the open."""
    candles = candles_of(*path)
    found = left(candles, minutes=minutes, stop=stop, target=target, trailing=None)
    if found is None or found.candle_time == 0:
        return
    row = int(np.searchsorted(candles.time, found.candle_time))
    entered_ms = round((NOW - timedelta(minutes=minutes)).timestamp() * 1000)
    is_whole = found.candle_time >= entered_ms
    opened = from_float(float(candles.open[row] if is_whole else candles.close[row]))
    beyond = min if found.reason == "stop" else max
    assert found.touch_price == beyond(found.trigger_price, opened)


@given(rows, rows, levels, targets, trailings)
@settings(max_examples=150)
def test_later_candles_never_change_an_earlier_exit(
    path: list[Row],
    later: list[Row],
    stop: Decimal | None,
    target: Decimal | None,
    trailing: DistanceRule | None,
) -> None:
    """The same position, judged now and again some candles later."""
    rules = {"stop": stop, "target": target, "trailing": trailing}
    known = candles_of(*path)
    minutes = 60 * len(path)
    found = left(known, minutes=minutes, market=100, **rules)  # type: ignore[arg-type]
    if found is None or found.candle_time == 0:
        return
    longer = candles_of(*path, *later, end=int(known.time[-1]) + HOUR_MS * len(later))
    assert np.array_equal(longer.time[: len(known)], known.time)
    again = left(longer, minutes=minutes, market=100, **rules)  # type: ignore[arg-type]
    assert again == found
