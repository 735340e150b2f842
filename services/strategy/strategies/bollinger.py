"""Bet on the return when the close comes back inside its Bollinger bands."""

from __future__ import annotations

import talib

from engine.domain.candles import Candles
from engine.domain.model import Action
from services.strategy.indicators import share
from services.strategy.strategy import (
    Holding,
    Opinion,
    Parameters,
    Strategy,
    confidence,
    require_at_least,
)

FULL_EXCESS = 0.5  # standard deviations


class Bollinger(Parameters, frozen=True, kw_only=True):
    """Period in candles; distance of the bands in standard deviations of the closes."""

    period: int = 20
    deviations: float = 2.0

    def __post_init__(self) -> None:
        require_at_least("period", self.period, 2)
        require_at_least("deviations", self.deviations, 0.1)


def judge(candles: Candles, _holding: Holding | None, parameters: Bollinger) -> Opinion | None:
    """Buy when the close returns above the lower band at the last candle, sell below the upper.

    Confidence: how far outside the close before it was. 0.5 at the band itself, 1 at half a
    standard deviation beyond it.
    """
    closes = candles.close[-2:].tolist()
    middles = talib.SMA(candles.close, parameters.period)[-2:].tolist()
    spreads = talib.STDDEV(candles.close, parameters.period)[-2:].tolist()
    before, last = (close - middle for close, middle in zip(closes, middles, strict=True))
    reach, reach_now = (parameters.deviations * spread for spread in spreads)
    was_outside, is_outside = abs(before) > reach, abs(last) > reach_now
    if not was_outside or is_outside:
        return None
    excess = share(abs(before) - reach, spreads[0])
    is_low = before < 0
    band = "lower" if is_low else "upper"
    return Opinion(
        action=Action.BUY if is_low else Action.SELL,
        confidence=confidence(excess / FULL_EXCESS),
        reason=(
            f"close back inside the {band} band({parameters.period}, "
            f"{parameters.deviations:g}) from {excess:.2f} deviations outside"
        ),
    )


STRATEGY = Strategy(
    name="bollinger",
    version="1",
    parameters=Bollinger,
    min_candles=lambda parameters: parameters.period + 1,
    judge=judge,
)
