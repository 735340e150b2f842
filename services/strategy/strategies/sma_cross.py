"""Follow the trend when a fast average of closes crosses a slow one."""

from __future__ import annotations

import talib

from engine.domain.candles import Candles
from engine.domain.model import Action
from services.strategy.indicators import atr, crossing, margin_of, may_cross, share
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

FULL_GAP_ATR = 0.2


class SmaCross(Parameters, frozen=True, kw_only=True):
    """Lengths of the two averages, in candles."""

    fast: int = 20
    slow: int = 50

    def __post_init__(self) -> None:
        require_at_least("fast", self.fast, 2)
        require_below("fast", self.fast, "slow", self.slow)


def judge(candles: Candles, _holding: Holding | None, parameters: SmaCross) -> Opinion | None:
    """Buy when the fast average crosses above the slow one at the last candle, sell below it.

    Confidence: how decisively they crossed. 0.5 where they barely touch, 1 where the last candle
    alone moved them apart by 0.2 ATR(14).
    """
    close = candles.close
    gap = talib.SMA(close, parameters.fast) - talib.SMA(close, parameters.slow)
    direction = crossing(gap)
    if direction == 0:
        return None
    moved = abs(gap.item(-1) - gap.item(-2))
    side = "above" if direction > 0 else "below"
    return Opinion(
        action=Action.BUY if direction > 0 else Action.SELL,
        confidence=confidence(share(moved, FULL_GAP_ATR * atr(candles))),
        reason=f"SMA({parameters.fast}) crossed {side} SMA({parameters.slow})",
    )


def rows(candles: Candles, parameters: SmaCross, _window: int) -> Rows:
    """Candles at which the averages may have crossed, above and below."""
    close = candles.close
    gap = talib.SMA(close, parameters.fast) - talib.SMA(close, parameters.slow)
    return Rows(*may_cross(gap, margin_of(close)))


STRATEGY = Strategy(
    name="sma_cross",
    version="1",
    parameters=SmaCross,
    min_candles=lambda parameters: parameters.slow + 1,
    judge=judge,
    rows=rows,
)
