"""Bet on the return when the relative strength index leaves an extreme."""

from __future__ import annotations

import numpy as np
import talib

from engine.domain.candles import Candles
from engine.domain.model import Action
from services.strategy.indicators import Floats, crossing, may_cross
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

FULL_DEPTH = 6.0  # points of RSI
NO_MOVE = 1e-12  # below 1e-14 TA-Lib takes an average move for none, and the index for 0
ROUNDING = 1e-6  # points


class RsiReversion(Parameters, frozen=True, kw_only=True):
    """Period in candles; the two levels in points of RSI, 0 to 100."""

    period: int = 14
    oversold: float = 30.0
    overbought: float = 70.0

    def __post_init__(self) -> None:
        require_at_least("period", self.period, 2)
        require_at_least("oversold", self.oversold, 0)
        require_below("oversold", self.oversold, "overbought", self.overbought)
        require_at_least("100 - overbought", 100 - self.overbought, 0)


def judge(candles: Candles, _holding: Holding | None, parameters: RsiReversion) -> Opinion | None:
    """Buy when RSI rises back above `oversold` at the last candle, sell when it falls back.

    Confidence: how deep the extreme was that it comes from, over the last `period` candles.
    0.5 at the level itself, 1 at 6 points of RSI beyond it.
    """
    rsi = talib.RSI(candles.close, parameters.period)
    recent = rsi[-parameters.period :]
    if crossing(rsi - parameters.oversold) > 0:
        depth = parameters.oversold - float(recent.min())
        return _opinion(Action.BUY, depth, f"back above {parameters.oversold:g}", parameters)
    if crossing(rsi - parameters.overbought) < 0:
        depth = float(recent.max()) - parameters.overbought
        return _opinion(Action.SELL, depth, f"back below {parameters.overbought:g}", parameters)
    return None


def rows(candles: Candles, parameters: RsiReversion, window: int) -> Rows:
    """Candles at which the index may leave an extreme."""
    rsi = talib.RSI(candles.close, parameters.period)
    margin = _margin(candles, parameters.period, window)
    buy, _ = may_cross(rsi - parameters.oversold, margin)
    _, sell = may_cross(rsi - parameters.overbought, margin)
    return Rows(buy, sell)


def _margin(candles: Candles, period: int, window: int) -> Floats:
    """How far the index of a window may be from that of the whole history, in points.

    Wilder's averages of gains and of losses start with a plain one, so that a window's differ by
    the largest move at most, of which (1 - 1/period) is left after each further candle. An error
    of e in each moves 100 gains / (gains + losses) by at most 100 e / (gains + losses).
    """
    close = candles.close
    moves = np.abs(np.diff(close, prepend=close[:1]))
    left = (1 - 1 / period) ** max(window - 1 - period, 0)
    off = np.maximum.accumulate(moves) * left
    least = talib.ATR(close, close, close, period) - 2 * off  # the average of all moves
    with np.errstate(all="ignore"):
        margin = np.where(least > NO_MOVE, 100 * off / least, np.inf) + ROUNDING
    margin[1:] = np.maximum(margin[1:], margin[:-1])
    return margin


def _opinion(action: Action, depth: float, what: str, parameters: RsiReversion) -> Opinion:
    return Opinion(
        action=action,
        confidence=confidence(depth / FULL_DEPTH),
        reason=f"RSI({parameters.period}) {what}, {depth:.1f} points deep",
    )


STRATEGY = Strategy(
    name="rsi_reversion",
    version="1",
    parameters=RsiReversion,
    # Wilder's average remembers: after four periods the start weighs under a twentieth.
    min_candles=lambda parameters: 4 * parameters.period + 1,
    judge=judge,
    rows=rows,
)
