"""The ccxt feed: live public candles of a named exchange. Needs requirements-live.txt.

Closed candles only: an exchange also lists the one that is still forming.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Protocol

import numpy as np

from engine.domain.amounts import plain
from engine.domain.candles import Candles
from engine.domain.model import Instrument, MarketClock
from engine.errors import ConfigError, DataQualityError, NotFound, ServiceUnavailable
from services.market_data.feeds.feed import (
    BASIS_POINTS,
    MIN_NOTIONAL,
    Prices,
    step_of_decimals,
)

TICKERS_FRESH_S = 2.0
MARKETS_FRESH_S = 3600.0
PAGE = 1000  # candles that exchanges commonly give at once
DECIMAL_PLACES = 2  # ccxt's precision modes
TICK_SIZE = 4


class Exchange(Protocol):
    """What is used of a ccxt exchange."""

    timeframes: dict[str, Any]
    precisionMode: int  # noqa: N815 - ccxt's name

    def load_markets(self, reload: bool = ...) -> dict[str, Any]:  # noqa: FBT001 - ccxt's signature
        """Markets by symbol."""
        ...

    def fetch_tickers(self) -> dict[str, Any]:
        """Tickers by symbol."""
        ...

    def fetch_ohlcv(
        self, symbol: str, timeframe: str, since: int | None, limit: int
    ) -> Sequence[Sequence[float]]:
        """Rows of open time in ms, open, high, low, close, volume; ascending."""
        ...

    def parse_timeframe(self, timeframe: str) -> int:
        """Seconds of a timeframe."""
        ...


def connect(name: str) -> Exchange:
    """The ccxt exchange of that id. Raises ConfigError when ccxt or the id is missing."""
    try:
        library = importlib.import_module("ccxt")
    except ImportError as exc:
        raise ConfigError(
            ["services.market_data.feed: ccxt needs `pip install -r requirements-live.txt`"]
        ) from exc
    if name not in library.exchanges:
        raise ConfigError([f"services.market_data.exchange: {name!r} is no exchange of ccxt"])
    exchange: Exchange = getattr(library, name)({"enableRateLimit": True})
    return exchange


class CcxtFeed:
    """Active spot markets quoted in `currency`. `monotonic` tells seconds, for the caches.

    Calls of the exchange are made one at a time: ccxt's objects are not safe to share.
    """

    name = "ccxt"
    market_clock = MarketClock.LIVE

    def __init__(self, exchange: Exchange, currency: str, monotonic: Callable[[], float]) -> None:
        self._exchange = exchange
        self._currency = currency
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._markets: tuple[float, dict[str, Any]] | None = None
        self._tickers: tuple[float, dict[str, Any]] | None = None

    def serves(self, timeframe: str) -> bool:
        """What the exchange has."""
        return timeframe in self._exchange.timeframes

    def instruments(self, now_ms: int) -> list[Instrument]:  # noqa: ARG002 - the port's signature
        """Markets with a two-sided ticker, by quote volume."""
        tickers = self._all_tickers()
        listed = [
            self._instrument(symbol, market, tickers[symbol])
            for symbol, market in self._tradable().items()
            if _is_two_sided(tickers.get(symbol))
        ]
        return sorted(listed, key=lambda each: (-each.volume_24h, each.symbol))

    def candles(
        self, symbol: str, timeframe: str, now_ms: int, limit: int, since: int | None
    ) -> Candles:
        """See Feed.candles; pages through what the exchange gives at once."""
        self._known(symbol)
        step_ms = self._exchange.parse_timeframe(timeframe) * 1000
        oldest = (now_ms // step_ms - limit) * step_ms
        begin = oldest if since is None else max(oldest, (since // step_ms + 1) * step_ms)
        rows: list[Sequence[float]] = []
        while begin + step_ms <= now_ms:
            page = self._ask("fetch_ohlcv", symbol, timeframe, begin, min(limit, PAGE))
            fresh = [row for row in page if row[0] >= begin]
            if not fresh:
                break
            rows.extend(fresh)
            begin = int(fresh[-1][0]) + step_ms
        closed = [row for row in rows if row[0] + step_ms <= now_ms]
        return _columns(closed[-limit:])

    def prices(self, symbol: str, now_ms: int) -> Prices:  # noqa: ARG002 - the port's signature
        """Best bid and ask of the exchange's ticker."""
        self._known(symbol)
        ticker = self._all_tickers().get(symbol)
        if ticker is None or not _is_two_sided(ticker):
            raise DataQualityError("no price: the exchange has no bid and ask")
        last = ticker.get("last") or ticker["bid"]
        return Prices(bid=_decimal(ticker["bid"]), ask=_decimal(ticker["ask"]), last=_decimal(last))

    def _known(self, symbol: str) -> None:
        if symbol not in self._tradable():
            raise NotFound("unknown symbol")

    def _tradable(self) -> dict[str, Any]:
        if self._markets is None or self._is_old(self._markets[0], MARKETS_FRESH_S):
            markets = self._ask("load_markets", self._markets is not None)
            tradable = {
                symbol: market
                for symbol, market in markets.items()
                if market.get("spot")
                and market.get("active") is not False
                and market.get("quote") == self._currency
            }
            self._markets = (self._monotonic(), tradable)
        return self._markets[1]

    def _all_tickers(self) -> dict[str, Any]:
        if self._tickers is None or self._is_old(self._tickers[0], TICKERS_FRESH_S):
            self._tickers = (self._monotonic(), self._ask("fetch_tickers"))
        return self._tickers[1]

    def _is_old(self, at: float, limit_s: float) -> bool:
        return self._monotonic() - at > limit_s

    def _ask(self, call: str, *arguments: object) -> Any:
        """One call of the exchange. Whatever it raises, the source did not answer."""
        try:
            with self._lock:
                return getattr(self._exchange, call)(*arguments)
        except Exception as exc:
            reason = " ".join(str(exc).split()) or type(exc).__name__
            raise ServiceUnavailable("market_data", f"exchange: {reason}") from exc

    def _instrument(
        self, symbol: str, market: dict[str, Any], ticker: dict[str, Any]
    ) -> Instrument:
        precision = market.get("precision") or {}
        smallest = ((market.get("limits") or {}).get("cost") or {}).get("min")
        bid, ask = _decimal(ticker["bid"]), _decimal(ticker["ask"])
        return Instrument(
            symbol=symbol,
            volume_24h=_decimal(ticker.get("quoteVolume") or 0),
            spread_bps=float((ask - bid) / (ask + bid) * 2 * BASIS_POINTS),
            tick_size=self._step(precision.get("price")),
            lot_size=self._step(precision.get("amount")),
            min_notional=MIN_NOTIONAL if smallest is None else _decimal(smallest),
        )

    def _step(self, precision: float | None) -> Decimal:
        """A step from ccxt's precision: the step itself, or a number of decimals."""
        if precision is None:
            return step_of_decimals(8)
        if self._exchange.precisionMode == TICK_SIZE:
            return _decimal(precision)
        if self._exchange.precisionMode == DECIMAL_PLACES:
            return step_of_decimals(max(int(precision), 0))
        return step_of_decimals(8)


def _is_two_sided(ticker: dict[str, Any] | None) -> bool:
    return ticker is not None and bool(ticker.get("bid")) and bool(ticker.get("ask"))


def _decimal(value: float | str) -> Decimal:
    """The number that the shortest text of a float says."""
    return plain(Decimal(str(value)))


def _columns(rows: Sequence[Sequence[float]]) -> Candles:
    table = np.asarray([row[:6] for row in rows], dtype=np.float64).reshape(-1, 6)
    if not np.isfinite(table).all():
        raise DataQualityError("a candle of the exchange holds a value that is no number")
    return Candles.of(table[:, 0], *table[:, 1:].T)
