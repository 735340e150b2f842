"""Example: buy what rose by a threshold over a period, sell it when the rise is gone.

Copy this file to `momentum.py` to load it: files whose name starts with `_` are left alone.
"""

# ruff: noqa: INP001 - a folder of single files, not a package

from __future__ import annotations

from engine.domain.candles import Candles
from engine.domain.model import Action
from services.strategy import Holding, Opinion, Parameters, Strategy, confidence


class Momentum(Parameters, frozen=True, kw_only=True):
    """`period` in candles; `threshold` as a fraction of the price."""

    period: int = 24
    threshold: float = 0.03

    def __post_init__(self) -> None:
        """Refuse what makes no sense: the message reaches whoever configured it."""
        if self.period < 1:
            raise ValueError(f"period must be at least 1, was {self.period}")
        if self.threshold <= 0:
            raise ValueError(f"threshold must be above 0, was {self.threshold}")


def judge(candles: Candles, holding: Holding | None, parameters: Momentum) -> Opinion | None:
    """Judge the last closed candle. None means hold.

    Confidence: how far the rise is beyond the threshold. 0.5 at the threshold, 1 at twice it.
    """
    before, now = (
        float(candles.close[-1 - ago] / candles.close[-1 - ago - parameters.period] - 1)
        for ago in (1, 0)
    )
    if before < parameters.threshold <= now:
        strength = now / parameters.threshold - 1
        return Opinion(
            action=Action.BUY,
            confidence=confidence(strength),
            reason=f"rose {now:.1%} in {parameters.period} candles",
        )
    if holding is not None and now <= 0:
        return Opinion(action=Action.SELL, confidence=1.0, reason="the rise is gone")
    return None


STRATEGY = Strategy(
    name="momentum",
    version="1",
    parameters=Momentum,
    min_candles=lambda parameters: parameters.period + 2,
    judge=judge,
)
