"""Follow the momentum when the MACD line crosses its signal line."""

from __future__ import annotations

import talib

from engine.domain.candles import Candles
from engine.domain.model import Action
from services.strategy.indicators import atr, crossing, margin_of, may_cross, share, span_of
from services.strategy.strategy import (
    Holding,
    Opinion,
    Parameters,
    Rows,
    Strategy,
    confidence,
    require_at_least,
    require_below,
)

FULL_MOVE_ATR = 0.1


class Macd(Parameters, frozen=True, kw_only=True):
    """Lengths of the averages, in candles."""

    fast: int = 12
    slow: int = 26
    signal: int = 9

    def __post_init__(self) -> None:
        require_at_least("fast", self.fast, 2)
        require_below("fast", self.fast, "slow", self.slow)
        require_at_least("signal", self.signal, 1)


def judge(candles: Candles, _holding: Holding | None, parameters: Macd) -> Opinion | None:
    """Buy when the MACD line crosses above its signal line at the last candle, sell below it.

    Confidence: how fast momentum turned. 0.5 where the lines barely touch, 1 where the last
    candle alone moved the histogram by 0.1 ATR(14).
    """
    _, _, histogram = talib.MACD(candles.close, parameters.fast, parameters.slow, parameters.signal)
    direction = crossing(histogram)
    if direction == 0:
        return None
    moved = abs(histogram.item(-1) - histogram.item(-2))
    side = "above" if direction > 0 else "below"
    return Opinion(
        action=Action.BUY if direction > 0 else Action.SELL,
        confidence=confidence(share(moved, FULL_MOVE_ATR * atr(candles))),
        reason=(
            f"MACD({parameters.fast}, {parameters.slow}) crossed {side} "
            f"its signal({parameters.signal})"
        ),
    )


def rows(candles: Candles, parameters: Macd, window: int) -> Rows:
    """Candles at which the lines may cross, above and below.

    The averages of a window start anew: each differs from the whole history's by what the closes
    span at most, of which 1 - 2 / (length + 1) is left after each further candle, and the signal's
    also by what is left of the differences that it took in.
    """
    close = candles.close
    _, _, histogram = talib.MACD(close, parameters.fast, parameters.slow, parameters.signal)
    kept = 1 - 2 / (max(parameters.slow, parameters.signal) + 1)
    after = max(window - parameters.slow, 0)
    left = 2 * (after + 3) * kept ** max(after + 1 - parameters.signal, 0)
    return Rows(*may_cross(histogram, span_of(close) * left + margin_of(close)))


STRATEGY = Strategy(
    name="macd",
    version="1",
    parameters=Macd,
    # Exponential averages remember: a further slow period lets the start fade.
    min_candles=lambda parameters: 2 * parameters.slow + parameters.signal + 1,
    judge=judge,
    rows=rows,
)
