"""What several strategies measure with."""

from __future__ import annotations

import numpy as np
import talib
from numpy.typing import NDArray

from engine.domain.candles import Candles

ATR_PERIOD = 14
RUNNING_SUM_ERROR = 1e-8  # of the largest value so far; doubles lose 1e-16 a step

Floats = NDArray[np.float64]


def atr(candles: Candles, period: int = ATR_PERIOD) -> float:
    """Wilder's average true range at the last candle, in quote currency; NaN when too few."""
    ranges = talib.ATR(candles.high, candles.low, candles.close, period)
    return ranges.item(-1)


def crossing(difference: Floats) -> int:
    """1 when the last value rose above zero from zero or below, -1 for the reverse, else 0."""
    before, now = difference.item(-2), difference.item(-1)
    if before <= 0 < now:
        return 1
    if before >= 0 > now:
        return -1
    return 0


def may_cross(difference: Floats, margin: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Candles at which `crossing` may be 1 and may be -1, no value being off by over `margin`."""
    up, down = np.zeros((2, len(difference)), dtype=np.bool_)
    before, now, off = difference[:-1], difference[1:], margin[1:]
    up[1:] = (before <= off) & (now > -off)
    down[1:] = (before >= -off) & (now < off)
    return up, down


def margin_of(values: Floats) -> Floats:
    """How far a sum that runs over a column may be off at each candle, with room to spare."""
    return np.maximum.accumulate(np.abs(values)) * RUNNING_SUM_ERROR


def span_of(values: Floats) -> Floats:
    """How far apart the values up to each candle are: what an average of some can be off by."""
    return np.maximum.accumulate(values) - np.minimum.accumulate(values)


def default_stop(candles: Candles, multiple: float) -> float | None:
    """`multiple` ATR(14) below the last close; None where that is no price or cannot be known."""
    stop = candles.close.item(-1) - multiple * atr(candles)
    return stop if stop > 0 else None


def share(amount: float, whole: float) -> float:
    """`amount / whole`, and 0 where there is no whole to speak of."""
    return amount / whole if whole > 0 else 0.0
