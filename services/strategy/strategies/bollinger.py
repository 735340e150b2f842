"""Bet on the return when the close comes back inside its Bollinger bands."""

from __future__ import annotations

import math

import numpy as np
import talib

from engine.domain.candles import Candles
from engine.domain.model import Action
from services.strategy.indicators import Floats, margin_of, share
from services.strategy.strategy import (
    Holding,
    Opinion,
    Parameters,
    Rows,
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


def rows(candles: Candles, parameters: Bollinger, _window: int) -> Rows:
    """Candles that may close inside the bands, the one before outside: below, and above."""
    close, period = candles.close, parameters.period
    away = close - talib.SMA(close, period)
    reach = parameters.deviations * talib.STDDEV(close, period)
    margin = margin_of(close) + parameters.deviations * _spread_error(close)
    buy, sell = np.zeros((2, len(close)), dtype=np.bool_)
    is_inside = np.abs(away[1:]) <= reach[1:] + margin[1:]
    buy[1:] = is_inside & (away[:-1] < margin[1:] - reach[:-1])
    sell[1:] = is_inside & (away[:-1] > reach[:-1] - margin[1:])
    return Rows(buy, sell)


def _spread_error(close: Floats) -> Floats:
    """How far a standard deviation may be off at each candle.

    TA-Lib takes it from sums of the closes and of their squares that run over the column: each
    candle rounds them twice, and the root of a difference near 0 is what makes much of it.
    """
    roundings = 8 * len(close) * float(np.finfo(np.float64).eps)
    return np.maximum.accumulate(np.abs(close)) * math.sqrt(roundings)


STRATEGY = Strategy(
    name="bollinger",
    version="1",
    parameters=Bollinger,
    min_candles=lambda parameters: parameters.period + 1,
    judge=judge,
    rows=rows,
)
