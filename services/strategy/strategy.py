"""What a strategy is: parameters that check themselves, and a function of candles.

A strategy's file makes one `Strategy` and calls it STRATEGY. Its function sees closed candles
only, ascending, at least `min_candles` of them, and judges the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.domain.candles import Candles
from engine.domain.model import Action, Value
from services.strategy.indicators import ATR_PERIOD


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every strategy's parameters: typed, closed, each with a default.

    `__post_init__` raises ValueError, naming the parameter, where values do not fit together.
    """


P = TypeVar("P", bound=Parameters)


class Holding(Value, frozen=True, kw_only=True):
    """What is held of the symbol that is judged."""

    quantity: float
    average_price: float


class Opinion(Value, frozen=True, kw_only=True):
    """A strategy's view at the last closed candle.

    `confidence` is 0 to 1; what it measures is for the strategy to say. Without a `stop_loss` a
    buy gets the service's default, 2 ATR(14) below the close. Prices are in quote currency.
    """

    action: Action
    confidence: float
    reason: str
    stop_loss: float | None = None
    take_profit: float | None = None


class Rows(NamedTuple):
    """Candles of a whole history at which a strategy may buy, and at which it may sell."""

    buy: NDArray[np.bool_]
    sell: NDArray[np.bool_]


@dataclass(frozen=True)
class Strategy(Generic[P]):
    """A named function of candles.

    `judge(candles, holding, parameters)` gives an Opinion, or None for hold; `holding` is None
    when nothing is held. Unless `adds_to_holdings`, a buy of what is held already is dropped; a
    sell of what is not held always is.

    `rows(candles, parameters, window)` is optional and only makes replays fast: it says of each
    candle of a whole history whether `judge` may see anything there, as one column or as `Rows`.
    Where it says no, `judge` gives no such opinion whatever is held, for the `window` candles that
    end there, or for all of them where there are fewer.
    """

    name: str
    version: str
    parameters: type[P]
    min_candles: Callable[[P], int]
    judge: Callable[[Candles, Holding | None, P], Opinion | None]
    adds_to_holdings: bool = False
    rows: Callable[[Candles, P, int], NDArray[np.bool_] | Rows] | None = None

    def needs(self, parameters: P) -> int:
        """How many candles it takes: the strategy's own need, and the default stop's."""
        return max(self.min_candles(parameters), ATR_PERIOD + 1)

    def seen(self, candles: Candles, parameters: P, window: int) -> Rows | None:
        """What `rows` says, of buys and of sells; None without it."""
        if self.rows is None:
            return None
        found = self.rows(candles, parameters, window)
        return found if isinstance(found, Rows) else Rows(found, found)

    def parse(self, given: dict[str, Any]) -> P:
        """Parameters from what a request says. Raises ValueError naming the parameter."""
        try:
            return msgspec.convert(given, self.parameters)
        except msgspec.ValidationError as exc:
            raise ValueError(str(exc)) from exc


def confidence(strength: float) -> float:
    """From a strength of 0 (barely an event) to 1 (a full one): 0.5 to 1, linear, clipped."""
    return 0.5 + 0.5 * min(max(strength, 0.0), 1.0)


def require_at_least(name: str, value: float, least: float) -> None:
    """Raise ValueError unless `value` is at least `least`."""
    if not value >= least:
        raise ValueError(f"{name} must be at least {least:g}, was {value:g}")


def require_below(name: str, value: float, other: str, limit: float) -> None:
    """Raise ValueError unless `value` is below `limit`."""
    if not value < limit:
        raise ValueError(f"{name} must be below {other}, was {value:g} and {limit:g}")
