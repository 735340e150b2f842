"""What a source of market data must offer, and the values it answers with.

Times are epoch milliseconds; `now_ms` is the market's now, the close of the newest closed candle
in replay and the wall clock when live. A feed never shows a candle that closes after `now_ms`.
"""

from __future__ import annotations

import functools
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import NamedTuple, Protocol, runtime_checkable

from engine.domain.candles import Candles
from engine.domain.model import Instrument, MarketClock

DAY_MS = 86_400_000
MIN_NOTIONAL = Decimal(10)
BASIS_POINTS = Decimal(10_000)


class Prices(NamedTuple):
    """Best bid and ask, and the last price, on the instrument's tick."""

    bid: Decimal
    ask: Decimal
    last: Decimal


class Feed(Protocol):
    """A source of symbols, candles and quotes."""

    @property
    def name(self) -> str:
        """The feed's name in the configuration."""
        ...

    @property
    def market_clock(self) -> MarketClock:
        """Whether market time is the wall clock or a replayed one."""
        ...

    def serves(self, timeframe: str) -> bool:
        """Whether candles of this length can be had."""
        ...

    def instruments(self, now_ms: int) -> list[Instrument]:
        """What is listed now, by volume, the largest first. Raises ServiceUnavailable."""
        ...

    def candles(
        self, symbol: str, timeframe: str, now_ms: int, limit: int, since: int | None
    ) -> Candles:
        """The newest `limit` closed candles, of those that opened after `since`.

        Raises NotFound for an unknown symbol, DataQualityError where a candle cannot be told
        as numbers, ServiceUnavailable when the source does not answer.
        """
        ...

    def prices(self, symbol: str, now_ms: int) -> Prices:
        """Bid, ask and last. Raises as `candles`, and DataQualityError without a price."""
        ...


@runtime_checkable
class ReplayFeed(Feed, Protocol):
    """A feed of past or made candles, whose now is moved by whole candles."""

    @property
    def start_ms(self) -> int:
        """The market's now of a clock that was never moved."""
        ...

    @property
    def end_ms(self) -> int | None:
        """The last now there is; None when the feed has no end."""
        ...

    def later(self, now_ms: int, candles: int) -> int:
        """The market's now after `candles` further candles closed, at most `end_ms`."""
        ...

    def at_or_before(self, moment_ms: int) -> int:
        """The newest market's now that is not after `moment_ms`, within start and end."""
        ...


def around(price: float, spread_bps: float, tick: Decimal) -> Prices:
    """Quote with the spread around `price`: bid down to the tick, ask up, bid at least a tick."""
    middle = Decimal(repr(price))
    half = middle * Decimal(repr(spread_bps)) / BASIS_POINTS / 2
    bid = max(on_tick(middle - half, tick, ROUND_FLOOR), tick)
    return Prices(
        bid=bid,
        ask=max(on_tick(middle + half, tick, ROUND_CEILING), bid),
        last=max(on_tick(middle, tick, ROUND_HALF_EVEN), tick),
    )


def on_tick(price: Decimal, tick: Decimal, rounding: str) -> Decimal:
    """`price` as a whole number of ticks, with the tick's decimals."""
    return ((price / tick).to_integral_value(rounding) * tick).quantize(tick)


@functools.cache
def step_of_decimals(decimals: int) -> Decimal:
    """The step of that many decimals: 2 -> 0.01, without exponent."""
    return Decimal(f"{1 / 10**decimals:.{decimals}f}") if decimals else Decimal(1)
