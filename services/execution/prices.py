"""What the market is, as a broker asks for it: the quote, the last volume, the steps, the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar

import msgspec
import requests

from engine.domain.candles import CandleColumns
from engine.domain.matching import Picture, Steps
from engine.domain.messages import QuoteAnswer, SymbolList
from engine.domain.model import Quote, Value

T = TypeVar("T")

# Steps hardly ever change; a symbol that is new is looked for at once, but not in a storm.
STEPS_FRESH_S = 60.0
STEPS_RETRY_S = 2.0
OK = 200


class PriceUnavailable(Exception):
    """The market cannot be asked now: an order can be neither accepted nor judged."""


class UnknownSymbol(Exception):
    """The market answers, and does not trade this symbol."""


class MarketPrice(Value, frozen=True, kw_only=True):
    """The market picture of a symbol at market time `as_of`."""

    picture: Picture
    as_of: datetime


class PriceSource(Protocol):
    """Where a broker's prices come from."""

    def price(self, symbol: str) -> MarketPrice:
        """The market of `symbol` now. Raises PriceUnavailable or UnknownSymbol."""
        ...


class _LastVolume(Value, frozen=True, kw_only=True):
    """The last closed candle's time (epoch ms) and volume."""

    time: int
    volume: Decimal


class _CandleAnswer(msgspec.Struct, frozen=True):
    candles: dict[str, CandleColumns] = {}
    errors: dict[str, str] = {}


class HttpPrices:
    """Prices from the market data service, one session a thread, no redirects."""

    def __init__(
        self,
        base_url: str,
        *,
        timeframe: str,
        timeframe_s: int,
        timeout_s: float,
        key: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = base_url
        self._timeframe = timeframe
        self._timeframe_ms = timeframe_s * 1000
        self._timeout_s = timeout_s
        self._key = key
        self._monotonic = monotonic
        self._local = threading.local()
        self._steps: dict[str, Steps] = {}
        self._steps_at: float | None = None
        self._steps_lock = threading.Lock()
        self._volumes: dict[str, _LastVolume] = {}

    def price(self, symbol: str) -> MarketPrice:
        """The market of `symbol` now. Raises PriceUnavailable or UnknownSymbol."""
        answer = self._call("POST", "/quotes", QuoteAnswer, {"symbols": [symbol]})
        quote = answer.quotes.get(symbol)
        if quote is None:
            raise UnknownSymbol(answer.errors.get(symbol, "no quote"))
        _require_usable(symbol, quote)
        last = self._last_volume(symbol, int(answer.as_of.timestamp() * 1000))
        picture = Picture(
            bid=quote.bid,
            ask=quote.ask,
            volume=last.volume,
            candle_time=last.time,
            steps=self._steps_of(symbol),
        )
        return MarketPrice(picture=picture, as_of=answer.as_of)

    def _last_volume(self, symbol: str, now_ms: int) -> _LastVolume:
        """The last closed candle; it stays the same until the next one can have closed."""
        known = self._volumes.get(symbol)
        newest = now_ms - now_ms % self._timeframe_ms - self._timeframe_ms
        if known is not None and known.time == newest:
            return known
        asked = {"symbols": [symbol], "timeframe": self._timeframe, "limit": 1}
        answer = self._call("POST", "/ohlcv", _CandleAnswer, asked)
        columns = answer.candles.get(symbol)
        if columns is None:
            raise UnknownSymbol(answer.errors.get(symbol, "no candles"))
        last = _last_of(symbol, columns)
        self._volumes[symbol] = last
        return last

    def _steps_of(self, symbol: str) -> Steps:
        with self._steps_lock:
            age = self._steps_age()
            known = self._steps.get(symbol)
            if known is None and age > STEPS_RETRY_S:
                self._load_steps()
            elif known is not None and age > STEPS_FRESH_S:
                self._refresh_steps()
            known = self._steps.get(symbol, known)
        if known is None:
            raise UnknownSymbol("not listed")
        return known

    def _steps_age(self) -> float:
        return float("inf") if self._steps_at is None else self._monotonic() - self._steps_at

    def _refresh_steps(self) -> None:
        try:
            self._load_steps()
        except PriceUnavailable:
            # What was listed a minute ago is still the truth about steps.
            self._steps_at = self._monotonic()

    def _load_steps(self) -> None:
        listed = self._call("GET", "/symbols", SymbolList)
        self._steps = {
            each.symbol: Steps(
                tick_size=each.tick_size, lot_size=each.lot_size, min_notional=each.min_notional
            )
            for each in listed.symbols
            if each.tick_size > 0 and each.lot_size > 0
        }
        self._steps_at = self._monotonic()

    def _call(self, method: str, path: str, shape: type[T], body: object = None) -> T:
        content = None if body is None else msgspec.json.encode(body)
        try:
            response = self._request(method, path, content)
        except requests.RequestException as exc:
            raise PriceUnavailable(f"market data: {type(exc).__name__}") from exc
        if response.status_code != OK:
            raise PriceUnavailable(f"market data answered {response.status_code}")
        try:
            return msgspec.json.decode(response.content, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise PriceUnavailable(f"market data: unusable answer to {path}") from exc

    def _request(self, method: str, path: str, content: bytes | None) -> requests.Response:
        """Every call here only reads, so that one more try does no harm."""

        def send() -> requests.Response:
            return self._session().request(
                method,
                self._base_url + path,
                data=content,
                timeout=self._timeout_s,
                allow_redirects=False,
            )

        try:
            return send()
        except requests.Timeout:
            raise
        except requests.ConnectionError:
            # A kept connection may have been closed at the other end since the last call.
            return send()

    def _session(self) -> requests.Session:
        session: Any = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            session.headers["Content-Type"] = "application/json"
            if self._key:
                session.headers["Authorization"] = f"Bearer {self._key}"
            self._local.session = session
        return session  # type: ignore[no-any-return]


def _require_usable(symbol: str, quote: Quote) -> None:
    sound = quote.bid.is_finite() and quote.ask.is_finite() and 0 < quote.bid <= quote.ask
    if not sound:
        raise PriceUnavailable(f"market data: unusable quote of {symbol}")


def _last_of(symbol: str, columns: CandleColumns) -> _LastVolume:
    """The newest candle's volume; none where the symbol has no candle yet."""
    if not columns.time or len(columns.time) != len(columns.volume):
        return _LastVolume(time=0, volume=Decimal(0))
    volume = Decimal(repr(float(columns.volume[-1])))
    if not volume.is_finite() or volume < 0:
        raise PriceUnavailable(f"market data: unusable volume of {symbol}")
    return _LastVolume(time=columns.time[-1], volume=volume)
