"""Buys and sells without a reason, often: the same candles give the same opinions."""

from __future__ import annotations

from zlib import crc32

from engine.domain.candles import Candles
from engine.domain.model import Action
from services.strategy import Holding, Opinion, Parameters, Strategy

STEPS = 1000


class Churn(Parameters, frozen=True, kw_only=True):
    """Chances of an entry and of an exit at each candle, in thousandths."""

    salt: int = 1
    entries: int = 450
    exits: int = 650


def judge(candles: Candles, holding: Holding | None, parameters: Churn) -> Opinion | None:
    """Toss a coin that depends on the candle alone."""
    seed = f"{parameters.salt}|{candles.time[-1]}|{candles.close[-1]:.10g}".encode()
    draw = crc32(seed) % STEPS
    confidence = 0.6 + 0.4 * (crc32(seed[::-1]) % STEPS) / STEPS
    if holding is not None and draw < parameters.exits:
        return Opinion(action=Action.SELL, confidence=confidence, reason="churn")
    if draw >= STEPS - parameters.entries:
        stop = float(candles.close[-1]) * 0.97
        return Opinion(action=Action.BUY, confidence=confidence, reason="churn", stop_loss=stop)
    return None


STRATEGY = Strategy(
    name="churn",
    version="1",
    parameters=Churn,
    min_candles=lambda _: 20,
    judge=judge,
    adds_to_holdings=True,
)
