"""What candles and quotes must be to be decided on."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.clients.wire import encode
from engine.domain.candles import Candles
from engine.domain.limits import QualityLimits
from engine.domain.model import Quote
from engine.domain.quality import judge, judge_quote, merge
from tests.factories import HOUR_MS, NEWEST, NOW, make_candles, make_limits, make_quote

LIMITS = make_limits().quality


def changed(candles: Candles, **columns: Any) -> Candles:
    fields = {
        name: getattr(candles, name) for name in ("time", "open", "high", "low", "close", "volume")
    }
    return Candles.of(**fields | columns)


def with_value(candles: Candles, name: str, index: int, value: float) -> Candles:
    column = getattr(candles, name).copy()
    column[index] = value
    return changed(candles, **{name: column})


def without(candles: Candles, index: int) -> Candles:
    keep = np.arange(len(candles)) != index
    return candles.chosen(keep)


def fault(
    candles: Candles, *, market_time: datetime = NOW, limits: QualityLimits = LIMITS, need: int = 2
) -> str | None:
    found = judge(candles, timeframe_s=3600, market_time=market_time, limits=limits, need=need)
    return None if found is None else found.partition(":")[0]


GOOD = make_candles([100 + n % 7 for n in range(50)], spread=1.0)


def test_good_candles_have_no_fault() -> None:
    assert fault(GOOD) is None


def test_each_fault_is_named_by_its_word() -> None:
    assert fault(GOOD, need=51) == "too_few"
    assert fault(make_candles([])) == "too_few"
    swapped = GOOD.time.copy()
    swapped[[10, 11]] = swapped[[11, 10]]
    assert fault(changed(GOOD, time=swapped)) == "disordered"
    assert fault(with_value(GOOD, "time", 10, int(GOOD.time[11]))) == "duplicated"
    assert fault(with_value(GOOD, "time", 10, int(GOOD.time[10]) + 60_000)) == "misaligned"
    assert fault(without(GOOD, 20)) == "gapped"


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_a_fault(column: str, value: float) -> None:
    assert fault(with_value(GOOD, column, 7, value)) == "not_finite"


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_a_price_of_zero_is_a_fault(column: str) -> None:
    assert fault(with_value(GOOD, column, 7, 0.0)) == "non_positive"


def test_a_negative_volume_is_a_fault_and_an_absent_one_is_not() -> None:
    assert fault(with_value(GOOD, "volume", 7, -1.0)) == "non_positive"
    assert fault(changed(GOOD, volume=np.zeros(50))) is None


@pytest.mark.parametrize(
    ("column", "value"), [("high", 99.0), ("low", 200.0), ("open", 500.0), ("close", 1.0)]
)
def test_open_and_close_must_lie_between_low_and_high(column: str, value: float) -> None:
    assert fault(with_value(GOOD, column, 7, value)) == "inverted"


def test_as_many_gaps_as_allowed_are_no_fault() -> None:
    gappy = without(without(GOOD, 20), 30)
    allowed = make_limits(quality={"max_gaps": 2}).quality
    assert fault(gappy, limits=allowed) is None
    one = make_limits(quality={"max_gaps": 1}).quality
    assert fault(gappy, limits=one) == "gapped"


def test_the_candle_that_should_have_closed_may_be_late_by_the_grace() -> None:
    due = NOW + timedelta(hours=1)
    assert fault(GOOD, market_time=due + timedelta(seconds=90)) is None
    assert fault(GOOD, market_time=due + timedelta(seconds=91)) == "stale"


def test_a_candle_that_has_not_closed_is_from_the_future() -> None:
    assert fault(GOOD, market_time=NOW) is None
    assert fault(GOOD, market_time=NOW - timedelta(seconds=1)) == "future"


def test_a_jump_of_the_close_is_a_spike() -> None:
    jumped = make_candles([100.0] * 20 + [151.0] * 20)
    assert fault(jumped) == "spiking"
    assert fault(make_candles([100.0] * 20 + [150.0] * 20)) is None
    assert fault(make_candles([100.0] * 20 + [49.0] * 20)) == "spiking"


def test_equal_closes_without_volume_are_frozen() -> None:
    flat = make_candles([100.0] * 24)
    still = changed(flat, volume=np.zeros(24))
    assert fault(flat) is None
    assert fault(still) == "frozen"
    assert fault(with_value(still, "volume", 0, 1.0)) is None
    assert fault(still.tail(23)) is None


def test_a_fault_tells_when() -> None:
    found = judge(
        with_value(GOOD, "close", 49, float("nan")),
        timeframe_s=3600,
        market_time=NOW,
        limits=LIMITS,
        need=2,
    )
    assert found == "not_finite: at 2025-11-22T11:00:00Z"


def test_twenty_five_symbols_are_judged_in_milliseconds() -> None:
    series = [make_candles(100 + np.sin(np.arange(500)) + n, spread=1.0) for n in range(25)]
    took = []
    for _ in range(5):
        started = time.perf_counter()
        assert all(fault(candles, need=500) is None for candles in series)
        took.append(time.perf_counter() - started)
    assert min(took) < 0.05


def test_fresh_candles_follow_cached_ones_up_to_the_limit() -> None:
    merged = merge(GOOD.tail(50), make_candles([105.0, 106.0], end=NEWEST + 2 * HOUR_MS), 10)
    assert len(merged) == 10
    assert list(merged.close[-2:]) == [105.0, 106.0]
    assert np.all(np.diff(merged.time) == HOUR_MS)


def test_a_fresh_candle_replaces_the_cached_one_of_its_time() -> None:
    merged = merge(GOOD, make_candles([777.0], end=NEWEST - 3 * HOUR_MS), 500)
    assert len(merged) == 50
    assert merged.close[-4] == 777.0
    assert np.all(np.diff(merged.time) == HOUR_MS)


def test_without_news_the_cache_remains_and_without_a_cache_the_news() -> None:
    nothing = make_candles([])
    assert list(merge(GOOD, nothing, 5).time) == list(GOOD.time[-5:])
    assert list(merge(None, GOOD, 5).time) == list(GOOD.time[-5:])
    assert list(merge(nothing, GOOD, 5).time) == list(GOOD.time[-5:])


def test_disorder_in_fresh_candles_is_not_hidden_by_merging() -> None:
    fresh = make_candles([100.0, 101.0, 102.0])
    backwards = changed(fresh, time=fresh.time[::-1].copy())
    assert fault(merge(GOOD, backwards, 500)) == "disordered"


def quote_fault(quote: Quote, age_s: float = 0.0) -> str | None:
    found = judge_quote(quote, now=NOW + timedelta(seconds=age_s), max_age_s=15)
    return None if found is None else found.partition(":")[0]


def test_a_quote_is_judged() -> None:
    assert quote_fault(make_quote()) is None
    assert quote_fault(make_quote(bid=Decimal("100.1"))) == "crossed"
    assert quote_fault(make_quote(bid=Decimal(0))) == "non_positive"
    assert quote_fault(make_quote(last=Decimal(-1))) == "non_positive"
    assert quote_fault(make_quote(ask=Decimal("NaN"))) == "not_finite"
    assert quote_fault(make_quote(ask=Decimal("Infinity"))) == "not_finite"


def test_a_quote_may_be_as_old_as_the_limit_and_a_little_ahead() -> None:
    assert quote_fault(make_quote(), age_s=15) is None
    assert quote_fault(make_quote(), age_s=15.1) == "stale"
    assert quote_fault(make_quote(), age_s=-5) is None
    assert quote_fault(make_quote(), age_s=-5.1) == "future"


def test_series_that_overlap_join_into_columns_that_can_be_sent_as_they_are() -> None:
    """A strategy engine that takes no packed candles gets columns; orjson reads whole ones only."""
    merged = merge(GOOD, make_candles([777.0], end=NEWEST - 3 * HOUR_MS), 500)
    assert all(column.flags.c_contiguous for _, column in merged.named())
    assert encode(dict(merged.named())).startswith(b'{"time":[')
