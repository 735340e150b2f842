"""What several strategies measure with."""

from __future__ import annotations

import numpy as np
import talib
from numpy.typing import NDArray

from engine.domain.model import Candles

ATR_PERIOD = 14
STOP_ATR = 2.0

Floats = NDArray[np.float64]


def atr(candles: Candles, period: int = ATR_PERIOD) -> float:
    """Wilder's average true range at the last candle, in quote currency; NaN when too few."""
    ranges = talib.ATR(candles.high, candles.low, candles.close, period)
    return float(ranges[-1])


def crossing(difference: Floats) -> int:
    """1 when the last value rose above zero from zero or below, -1 for the reverse, else 0."""
    before, now = float(difference[-2]), float(difference[-1])
    if before <= 0 < now:
        return 1
    if before >= 0 > now:
        return -1
    return 0


def default_stop(candles: Candles) -> float | None:
    """2 ATR(14) below the last close; None where that is no price or cannot be known."""
    stop = float(candles.close[-1]) - STOP_ATR * atr(candles)
    return stop if stop > 0 else None


def share(amount: float, whole: float) -> float:
    """`amount / whole`, and 0 where there is no whole to speak of."""
    return amount / whole if whole > 0 else 0.0
