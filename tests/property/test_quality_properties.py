"""No damaged series passes, and no sound one is refused."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.domain.candles import Candles
from engine.domain.quality import judge, merge
from tests.factories import HOUR_MS, NEWEST, NOW, make_candles, make_limits

Floats = NDArray[np.float64]

LIMITS = make_limits().quality
walks = st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=80).map(
    lambda steps: 100 * np.cumprod(1 + np.array(steps))
)


def fault(candles: Candles) -> str | None:
    return judge(candles, timeframe_s=3600, market_time=NOW, limits=LIMITS, need=2)


@given(walks, st.floats(0, 5))
@settings(max_examples=100)
def test_a_sound_series_has_no_fault(closes: Floats, spread: float) -> None:
    narrow = min(spread, closes.min() / 2)
    assert fault(make_candles(closes, spread=narrow)) is None


@given(
    walks,
    st.data(),
    st.sampled_from(["open", "high", "low", "close"]),
    st.sampled_from([float("nan"), float("inf"), 0.0, -1.0]),
)
@settings(max_examples=100)
def test_no_damaged_price_passes(
    closes: Floats, data: st.DataObject, column: str, value: float
) -> None:
    candles = make_candles(closes, spread=1e-6)
    index = data.draw(st.integers(0, len(candles) - 1))
    getattr(candles, column)[index] = value
    assert fault(candles) is not None


@given(walks, st.data())
@settings(max_examples=100)
def test_a_missing_candle_inside_is_always_seen(closes: Floats, data: st.DataObject) -> None:
    candles = make_candles(np.concatenate((closes, closes[-1:])))
    index = data.draw(st.integers(1, len(candles) - 2))
    keep = np.arange(len(candles)) != index
    holed = candles.chosen(keep)
    assert fault(holed) is not None


@given(st.integers(0, 40), st.integers(0, 40), st.integers(-45, 5), st.integers(1, 60))
@settings(max_examples=150)
def test_a_merge_is_ascending_and_prefers_fresh_candles(
    old: int, new: int, shift: int, limit: int
) -> None:
    cached = make_candles(np.full(old, 1.0))
    fresh = make_candles(np.full(new, 2.0), end=NEWEST + shift * HOUR_MS)
    merged = merge(cached, fresh, limit)
    expected = dict.fromkeys(cached.time.tolist(), 1.0) | dict.fromkeys(fresh.time.tolist(), 2.0)
    rows = sorted(expected.items())[-limit:]
    assert list(zip(merged.time.tolist(), merged.close.tolist(), strict=True)) == rows
