"""The strategy engine over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import orjson

from engine.clients.answers import decoder_of, shortened
from engine.clients.transport import Transport
from engine.clients.wire import encode
from engine.domain.candles import Candles
from engine.domain.messages import EvaluateAnswer, StrategyChoice
from engine.domain.model import Action, Position, Signal
from engine.domain.packed_candles import packed_json

_decode = decoder_of(EvaluateAnswer)


class HttpStrategyEngine:
    """Port StrategyEngine. Anything wrong in an answer discards the whole answer.

    Candles leave as lists until the service says that it takes them packed, and again as lists
    after every call that failed: another service may stand there now.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._packs = False

    def evaluate(
        self,
        timeframe: str,
        strategies: Sequence[StrategyChoice],
        market_data: dict[str, Candles],
        positions: Sequence[Position],
        input_id: str,
    ) -> EvaluateAnswer:
        """Signals about the symbols of `market_data`. Raises ServiceError.

        BadPayload: another `input_id`, a symbol or strategy that was not asked about, a
        confidence outside 0 to 1, a price that is not positive, a candle that was not sent yet.
        """
        packs, self._packs = self._packs, False
        body = {
            "timeframe": timeframe,
            "strategies": strategies,
            "market_data": _series(market_data, packs=packs),
            "positions": _holdings(positions),
            "input_id": input_id,
        }
        newest = {
            name: int(candles.time[-1]) if len(candles) else None
            for name, candles in market_data.items()
        }
        asked = {choice.id for choice in strategies}

        def decode(data: bytes) -> EvaluateAnswer:
            answer = _decode(data)
            if answer.input_id != input_id:
                raise ValueError(f"answer to input {shortened(answer.input_id)!r}")
            if packs and not answer.takes_packed:
                raise ValueError("it takes packed candles no more")
            for signal in answer.signals:
                _require_possible(signal, asked, newest)
            return answer

        answer = self._transport.fetch(
            "POST", "/evaluate", body=encode(body), decode=decode, idempotent=True
        )
        self._packs = answer.takes_packed
        errors = {name: shortened(text) for name, text in answer.errors.items() if name in newest}
        return EvaluateAnswer(input_id=input_id, signals=answer.signals, errors=errors)


def _series(market_data: dict[str, Candles], *, packs: bool) -> dict[str, object]:
    if packs:
        return {
            name: orjson.Fragment(packed_json(candles)) for name, candles in market_data.items()
        }
    return {name: dict(candles.named()) for name, candles in market_data.items()}


def _holdings(positions: Sequence[Position]) -> dict[str, dict[str, Decimal]]:
    return {
        held.symbol: {"quantity": held.quantity, "average_price": held.average_price}
        for held in positions
    }


def _require_possible(signal: Signal, asked: set[str], newest: dict[str, int | None]) -> None:
    """Raise ValueError for a signal that cannot follow from what was sent."""
    where = shortened(f"signal of {signal.strategy} about {signal.symbol}")
    if signal.symbol not in newest:
        raise ValueError(f"{where}: symbol not asked about")
    if signal.strategy not in asked:
        raise ValueError(f"{where}: strategy not asked")
    if not 0 <= signal.confidence <= 1:
        raise ValueError(f"{where}: confidence {signal.confidence}")
    prices = [signal.price, signal.stop_loss, signal.take_profit]
    if signal.action is not Action.HOLD and any(
        price is not None and price <= 0 for price in prices
    ):
        raise ValueError(f"{where}: a price is not positive")
    last = newest[signal.symbol]
    if last is None or signal.candle_time > last:
        raise ValueError(f"{where}: of a candle that was not sent")
