"""Requests and answers of the strategy engine, as its published contract has them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

import msgspec

from engine.domain.amounts import text
from engine.domain.model import Action, Signal

MAX_BODY_BYTES = 64 << 20
MAX_SYMBOLS = 1000
MAX_STRATEGIES = 100


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all requests: closed."""


class Choice(Request, frozen=True, kw_only=True):
    """A strategy to ask. `id` is the caller's name for it, echoed in its signals."""

    name: str
    parameters: dict[str, float | int | str | bool] = {}
    id: str | None = None

    @property
    def label(self) -> str:
        """How its signals call it."""
        return self.name if self.id is None else self.id


class Held(Request, frozen=True, kw_only=True):
    """What is held of a symbol."""

    quantity: Decimal
    average_price: Decimal


class EvaluateRequest(Request, frozen=True, kw_only=True):
    """Candles by symbol, each as columns or packed: base64 of six columns of 8 bytes a value.

    They are read one symbol at a time: a bad one costs only itself.
    """

    timeframe: str
    strategies: Annotated[list[Choice], msgspec.Meta(max_length=MAX_STRATEGIES)]
    market_data: Annotated[dict[str, msgspec.Raw], msgspec.Meta(max_length=MAX_SYMBOLS)]
    positions: dict[str, Held] = {}
    input_id: str = ""


class SignalText(msgspec.Struct, frozen=True, kw_only=True):
    """A signal on the wire; prices are decimal text, `candle_time` the candle's open in ms."""

    symbol: str
    strategy: str
    version: str
    action: Action
    confidence: float
    price: str
    candle_time: int
    stop_loss: str | None
    take_profit: str | None
    reason: str

    @classmethod
    def of(cls, signal: Signal) -> Self:
        """The same signal with its prices as text."""
        return cls(
            symbol=signal.symbol,
            strategy=signal.strategy,
            version=signal.version,
            action=signal.action,
            confidence=signal.confidence,
            price=text(signal.price),
            candle_time=signal.candle_time,
            stop_loss=None if signal.stop_loss is None else text(signal.stop_loss),
            take_profit=None if signal.take_profit is None else text(signal.take_profit),
            reason=signal.reason,
        )


class EvaluateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Signals other than hold; a text for each symbol that could not be judged.

    `takes_packed` says that the next request may send candles packed.
    """

    input_id: str
    signals: list[SignalText]
    errors: dict[str, str]
    takes_packed: bool = True


class ParameterDescription(msgspec.Struct, frozen=True):
    """One parameter's type and default."""

    type: str
    default: float | int | str | bool


class StrategyDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy that can be asked; `min_candles` is with the default parameters."""

    name: str
    version: str
    parameters: dict[str, ParameterDescription]
    min_candles: int


class StrategyList(msgspec.Struct, frozen=True, kw_only=True):
    """Every strategy, and the files that could not be used."""

    strategies: list[StrategyDescription]
    errors: dict[str, str]
