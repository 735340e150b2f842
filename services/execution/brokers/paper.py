"""The paper broker: real quotes, no money."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from engine.domain import matching
from engine.domain.matching import Match, Picture, Terms, WorkingOrder
from services.execution.prices import MarketPrice, PriceSource

MILLISECONDS = Decimal(1000)


class Broker(Protocol):
    """Where an order meets a market. The desk calls `price` outside any transaction."""

    def price(self, symbol: str) -> MarketPrice:
        """The market now. Raises PriceUnavailable or UnknownSymbol."""
        ...

    def latency_s(self, client_order_id: str, picture: Picture) -> float:
        """How long the venue takes to answer this order."""
        ...

    def refusal(self, order: WorkingOrder, picture: Picture) -> str:
        """Why the venue does not take this order; empty when it does."""
        ...

    def match(self, order: WorkingOrder, picture: Picture) -> Match:
        """What becomes of the order at this market."""
        ...


class PaperBroker:
    """Fills against the quotes of a PriceSource, by the pure rules of `domain.matching`."""

    def __init__(self, prices: PriceSource, terms: Terms, *, latency_ms: float = 0) -> None:
        self._prices = prices
        self._terms = terms
        self._latency_ms = Decimal(repr(float(latency_ms)))

    def price(self, symbol: str) -> MarketPrice:
        """The market now. Raises PriceUnavailable or UnknownSymbol."""
        return self._prices.price(symbol)

    def latency_s(self, client_order_id: str, picture: Picture) -> float:
        """Between none and the whole of the configured latency, decided by the seed."""
        if self._latency_ms == 0:
            return 0.0
        part = matching.draw(self._terms.seed, client_order_id, picture.candle_time, "latency")
        return float(self._latency_ms * part / MILLISECONDS)

    def refusal(self, order: WorkingOrder, picture: Picture) -> str:
        """Too small for the instrument's lot or minimum value."""
        return matching.refusal(order, picture)

    def match(self, order: WorkingOrder, picture: Picture) -> Match:
        """What becomes of the order at this quote."""
        return matching.match_quote(order, picture, self._terms)
