"""Requests and answers of the market data service, as its published contract has them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

import msgspec

from engine.domain.amounts import text
from engine.domain.candles import CandleColumns
from engine.domain.model import Instrument, MarketClock
from services.market_data.feeds.feed import Prices

MAX_SYMBOLS = 1000
MAX_CANDLES = 5000
MAX_BODY_BYTES = 1 << 20

Symbol = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
SymbolNames = Annotated[list[Symbol], msgspec.Meta(max_length=MAX_SYMBOLS)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all requests: closed."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers: the market's now, and what kind of clock tells it."""

    as_of: datetime
    clock: MarketClock


class SymbolsQuery(Request, frozen=True, kw_only=True):
    """Filters of the symbol list; each is optional."""

    min_volume_24h: Decimal | None = None
    max_spread_bps: Annotated[float, msgspec.Meta(ge=0)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument on the wire; amounts are decimal text, `volume_24h` in quote currency."""

    symbol: str
    volume_24h: str
    spread_bps: float
    tick_size: str
    lot_size: str
    min_notional: str

    @classmethod
    def of(cls, instrument: Instrument) -> Self:
        """The same instrument as text."""
        return cls(
            symbol=instrument.symbol,
            volume_24h=text(instrument.volume_24h),
            spread_bps=instrument.spread_bps,
            tick_size=text(instrument.tick_size),
            lot_size=text(instrument.lot_size),
            min_notional=text(instrument.min_notional),
        )


class SymbolsAnswer(Answered, frozen=True, kw_only=True):
    """Instruments by volume, the largest first. `simulated`: the prices are not real."""

    symbols: list[Listed]
    simulated: bool


class OhlcvRequest(Request, frozen=True, kw_only=True):
    """Closed candles of many symbols; `since` (open time in epoch ms) is exclusive."""

    symbols: SymbolNames
    timeframe: str
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_CANDLES)] = 500
    since: dict[str, int] = {}


class OhlcvAnswer(Answered, frozen=True, kw_only=True):
    """Candles as columns; each asked symbol is in exactly one of `candles` and `errors`."""

    timeframe: str
    candles: dict[str, CandleColumns]
    errors: dict[str, str]
    simulated: bool


class QuotesRequest(Request, frozen=True, kw_only=True):
    """Quotes of many symbols."""

    symbols: SymbolNames


class QuoteText(msgspec.Struct, frozen=True, kw_only=True):
    """Best bid and ask and the last price, decimal text; `as_of` is wall time of the answer."""

    bid: str
    ask: str
    last: str
    as_of: datetime

    @classmethod
    def of(cls, prices: Prices, as_of: datetime) -> Self:
        """The same prices as text."""
        return cls(bid=text(prices.bid), ask=text(prices.ask), last=text(prices.last), as_of=as_of)


class QuotesAnswer(Answered, frozen=True, kw_only=True):
    """Each asked symbol is in exactly one of `quotes` and `errors`."""

    quotes: dict[str, QuoteText]
    errors: dict[str, str]
    simulated: bool


class ClockRequest(Request, frozen=True, kw_only=True):
    """Either a cycle's move by `candles`, or an operator's move to `as_of`."""

    cycle_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    candles: Annotated[int, msgspec.Meta(ge=0, le=MAX_CANDLES)] | None = None
    as_of: datetime | None = None


class ClockAnswer(Answered, frozen=True, kw_only=True):
    """The market's now; `ended` when no further candle will ever close."""

    ended: bool
    feed: str
    simulated: bool
