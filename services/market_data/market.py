"""The market as the service tells it: one feed under one clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from engine.domain.candles import Candles
from engine.domain.model import Instrument
from engine.errors import DataQualityError, NotFound, ServiceUnavailable
from services.market_data.clock import MarketNow
from services.market_data.feeds.feed import Feed, Prices
from services.market_data.messages import SymbolsQuery

T = TypeVar("T")


@dataclass(frozen=True)
class Market:
    """What the routes ask. `wall` is the wall clock."""

    feed: Feed
    clock: MarketNow
    wall: Callable[[], datetime]

    @property
    def is_simulated(self) -> bool:
        """True when the prices are made up."""
        return self.feed.name == "simulated"

    def listed(self, now_ms: int, query: SymbolsQuery) -> list[Instrument]:
        """Instruments that pass the filters, by volume."""
        instruments = self.feed.instruments(now_ms)
        if query.min_volume_24h is not None:
            least = query.min_volume_24h
            instruments = [each for each in instruments if each.volume_24h >= least]
        if query.max_spread_bps is not None:
            widest = query.max_spread_bps
            instruments = [each for each in instruments if each.spread_bps <= widest]
        return instruments[: query.limit]

    def candles(
        self, now_ms: int, symbols: Sequence[str], timeframe: str, limit: int, since: dict[str, int]
    ) -> tuple[dict[str, Candles], dict[str, str]]:
        """Candles of each symbol, or why there are none."""
        return each_symbol(
            symbols,
            lambda symbol: self.feed.candles(symbol, timeframe, now_ms, limit, since.get(symbol)),
        )

    def prices(
        self, now_ms: int, symbols: Sequence[str]
    ) -> tuple[dict[str, Prices], dict[str, str]]:
        """Bid, ask and last of each symbol, or why there are none."""
        return each_symbol(symbols, lambda symbol: self.feed.prices(symbol, now_ms))


def each_symbol(
    symbols: Sequence[str], ask: Callable[[str], T]
) -> tuple[dict[str, T], dict[str, str]]:
    """Answers and errors by symbol. Raises ServiceUnavailable when the source gave nothing."""
    answers: dict[str, T] = {}
    errors: dict[str, str] = {}
    silence: ServiceUnavailable | None = None
    for symbol in symbols:
        try:
            answers[symbol] = ask(symbol)
        except (NotFound, DataQualityError) as exc:
            errors[symbol] = str(exc)
        except ServiceUnavailable as exc:
            silence = exc
            errors[symbol] = exc.detail
    if silence is not None and not answers:
        raise silence
    return answers, errors
