"""Follow the break out of the range of the candles before."""

from __future__ import annotations

import numpy as np
import talib

from engine.domain.candles import Candles
from engine.domain.model import Action
from services.strategy.indicators import atr, share
from services.strategy.strategy import (
    Holding,
    Opinion,
    Parameters,
    Rows,
    Strategy,
    confidence,
    require_at_least,
)

FULL_BREAK_ATR = 0.8


class Donchian(Parameters, frozen=True, kw_only=True):
    """Candles whose highs are broken to enter, and whose lows to leave."""

    entry: int = 20
    exit: int = 10

    def __post_init__(self) -> None:
        require_at_least("entry", self.entry, 2)
        require_at_least("exit", self.exit, 2)


def judge(candles: Candles, _holding: Holding | None, parameters: Donchian) -> Opinion | None:
    """Buy when the last close is the first above the highs before it, sell below the lows.

    Confidence: how far it broke out. 0.5 at the range's edge, 1 at 0.8 ATR(14) beyond it.
    """
    before, last = candles.close[-2:].tolist()
    top = _highest(candles, parameters.entry, 1)
    if last > top and before <= _highest(candles, parameters.entry, 2):
        reason = f"close above the high of {parameters.entry} candles"
        return _opinion(candles, Action.BUY, last - top, reason)
    bottom = _lowest(candles, parameters.exit, 1)
    if last < bottom and before >= _lowest(candles, parameters.exit, 2):
        reason = f"close below the low of {parameters.exit} candles"
        return _opinion(candles, Action.SELL, bottom - last, reason)
    return None


def _highest(candles: Candles, count: int, ago: int) -> float:
    return float(candles.high[-count - ago : -ago].max())


def _lowest(candles: Candles, count: int, ago: int) -> float:
    return float(candles.low[-count - ago : -ago].min())


def rows(candles: Candles, parameters: Donchian, _window: int) -> Rows:
    """Candles that close outside the range before them; a maximum has no error."""
    above, below = np.zeros((2, len(candles)), dtype=np.bool_)
    if len(candles) <= max(parameters.entry, parameters.exit):
        return Rows(above, below)
    top, bottom = (
        talib.MAX(candles.high, parameters.entry),
        talib.MIN(candles.low, parameters.exit),
    )
    above[1:], below[1:] = candles.close[1:] > top[:-1], candles.close[1:] < bottom[:-1]
    return Rows(above, below)


def _opinion(candles: Candles, action: Action, beyond: float, reason: str) -> Opinion:
    strength = share(beyond, FULL_BREAK_ATR * atr(candles))
    return Opinion(action=action, confidence=confidence(strength), reason=reason)


STRATEGY = Strategy(
    name="donchian",
    version="1",
    parameters=Donchian,
    min_candles=lambda parameters: max(parameters.entry, parameters.exit) + 2,
    judge=judge,
    rows=rows,
)
