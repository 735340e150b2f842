"""The market data service over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
import numpy as np
import structlog

from engine.clients.answers import MAX_VALUES, shortened
from engine.clients.checks import require_sound
from engine.clients.transport import Transport
from engine.clients.wire import encode
from engine.domain.candles import CandleColumns, Candles
from engine.domain.messages import CandleAnswer, MarketTime, QuoteAnswer, SymbolList
from engine.domain.model import Instrument, MarketClock, Quote
from engine.errors import BadPayload, ServiceError, ServiceUnavailable
from engine.ports import Clock

T = TypeVar("T")
MAX_SYMBOLS_PER_CALL = 250
FRESH_FOR = timedelta(seconds=5)
MISSING = "missing: not in the answer"
COLUMNS = 6
TWICE = 2
MAX_SYMBOLS = 50_000


class _Symbols(msgspec.Struct, kw_only=True):
    as_of: datetime
    clock: MarketClock
    symbols: list[msgspec.Raw]


class _Ohlcv(msgspec.Struct, kw_only=True):
    as_of: datetime
    clock: MarketClock
    timeframe: str
    candles: dict[str, msgspec.Raw]
    errors: dict[str, str] = {}


class _Quotes(msgspec.Struct, kw_only=True):
    as_of: datetime
    clock: MarketClock
    quotes: dict[str, msgspec.Raw]
    errors: dict[str, str] = {}


class HttpMarketData:
    """Port MarketData. Live answers must be within 5 s of the engine's own clock.

    One symbol's garbage ends in `errors` of that symbol; garbage around it is a BadPayload.
    With `must_be_live` an answer on a replay clock is refused (BadPayload).
    """

    def __init__(self, transport: Transport, clock: Clock, *, must_be_live: bool = False) -> None:
        self._transport = transport
        self._clock = clock
        self._must_be_live = must_be_live
        self._log = structlog.get_logger(__name__)

    def symbols(self) -> SymbolList:
        """The universe by volume, without instruments that make no sense. Raises ServiceError."""
        asked_at = self._clock.now()
        answer = self._transport.fetch("GET", "/symbols", decode=_decode_symbols, idempotent=True)
        self._require_fresh(answer.as_of, answer.clock, asked_at)
        instruments, faults = _each(enumerate(answer.symbols), _instrument)
        known: dict[str, Instrument] = {}
        for index, instrument in instruments.items():
            if known.setdefault(instrument.symbol, instrument) is not instrument:
                faults[index] = f"{instrument.symbol} is listed twice"
        if faults:
            self._log.warning(
                "instruments_refused", count=len(faults), first=next(iter(faults.values()))
            )
        if answer.symbols and not known:
            raise BadPayload(self._transport.service, "no instrument makes sense")
        ordered = sorted(known.values(), key=lambda one: (-one.volume_24h, one.symbol))
        return SymbolList(as_of=answer.as_of, clock=answer.clock, symbols=tuple(ordered))

    def time(self) -> MarketTime:
        """The market's now, as a list of one symbol tells it. Raises ServiceError."""
        asked_at = self._clock.now()
        answer = self._transport.call(
            "GET", "/symbols", query={"limit": 1}, answer=MarketTime, idempotent=True
        )
        self._require_fresh(answer.as_of, answer.clock, asked_at)
        return answer

    def advance(self, cycle_id: str, candles: int) -> MarketTime:
        """Move a replay clock, once a cycle. Raises ServiceError."""
        asked_at = self._clock.now()
        body = encode({"cycle_id": cycle_id, "candles": candles})
        answer = self._transport.call(
            "POST", "/clock", body=body, answer=MarketTime, idempotent=True
        )
        self._require_fresh(answer.as_of, answer.clock, asked_at)
        return answer

    def candles(
        self, symbols: Sequence[str], timeframe: str, limit: int, since: dict[str, int]
    ) -> CandleAnswer:
        """Closed candles, the last `limit`, and newer than `since` where that is given.

        Every asked symbol is in exactly one of `candles` and `errors`. Raises ServiceError when
        no part of the answer came.
        """

        def ask(part: Sequence[str], timeout_s: float) -> CandleAnswer:
            wanted = {symbol: since[symbol] for symbol in part if symbol in since}
            return self._candles(part, timeframe, limit, wanted, timeout_s)

        parts = self._in_parts(symbols, ask)
        answers = [answer for _, answer in parts if isinstance(answer, CandleAnswer)]
        candles: dict[str, Candles] = {}
        errors: dict[str, str] = {}
        for asked, answer in parts:
            if isinstance(answer, ServiceError):
                errors.update(dict.fromkeys(asked, answer.detail))
            else:
                candles.update(answer.candles)
                errors.update(answer.errors)
        oldest = min(answers, key=lambda answer: answer.as_of)
        return CandleAnswer(oldest.as_of, oldest.clock, candles, errors)

    def quotes(self, symbols: Sequence[str]) -> QuoteAnswer:
        """Best bid and ask; every asked symbol is in exactly one of `quotes` and `errors`.

        Raises ServiceError when no part of the answer came.
        """
        parts = self._in_parts(symbols, self._quotes)
        answers = [answer for _, answer in parts if isinstance(answer, QuoteAnswer)]
        quotes: dict[str, Quote] = {}
        errors: dict[str, str] = {}
        for asked, answer in parts:
            if isinstance(answer, ServiceError):
                errors.update(dict.fromkeys(asked, answer.detail))
            else:
                quotes.update(answer.quotes)
                errors.update(answer.errors)
        oldest = min(answers, key=lambda answer: answer.as_of)
        return QuoteAnswer(as_of=oldest.as_of, clock=oldest.clock, quotes=quotes, errors=errors)

    def _in_parts(
        self, symbols: Sequence[str], ask: Callable[[Sequence[str], float], T]
    ) -> list[tuple[Sequence[str], T | ServiceError]]:
        """Ask for at most 250 symbols at a time, all parts within one call's time.

        A part that fails after another one came is its error; the first part's error is raised
        when none came.
        """
        ends_at = self._transport.monotonic() + self._transport.settings.timeout_s
        asked = list(dict.fromkeys(symbols))
        answers: list[tuple[Sequence[str], T | ServiceError]] = []
        for start in range(0, max(len(asked), 1), MAX_SYMBOLS_PER_CALL):
            part = asked[start : start + MAX_SYMBOLS_PER_CALL]
            try:
                left = ends_at - self._transport.monotonic()
                answers.append((part, ask(part, max(left, 0.0))))
            except ServiceError as exc:
                # Without its traceback, which would keep the answer that it is about.
                answers.append((part, exc.with_traceback(None)))
        errors = [item for _, item in answers if isinstance(item, ServiceError)]
        if len(errors) < len(answers):
            return answers
        error = errors[0]
        answers.clear()
        errors.clear()
        try:
            raise error
        finally:
            del error

    def _candles(
        self,
        symbols: Sequence[str],
        timeframe: str,
        limit: int,
        since: dict[str, int],
        timeout_s: float,
    ) -> CandleAnswer:
        asked_at = self._clock.now()
        body = {"symbols": symbols, "timeframe": timeframe, "limit": limit, "since": since}
        answer = self._transport.fetch(
            "POST",
            "/ohlcv",
            body=encode(body),
            decode=lambda data: _decode_ohlcv(data, timeframe),
            timeout_s=timeout_s,
            idempotent=True,
            most_values=max(MAX_VALUES, TWICE * COLUMNS * limit * len(symbols)),
        )
        self._require_fresh(answer.as_of, answer.clock, asked_at)
        candles, faults = _each(_wanted(symbols, answer.candles, answer.errors), _columns)
        errors = _all_errors(symbols, candles, faults, answer.errors)
        shortened_candles = {
            symbol: _newer(columns, since.get(symbol)).tail(limit)
            for symbol, columns in candles.items()
        }
        return CandleAnswer(answer.as_of, answer.clock, shortened_candles, errors)

    def _quotes(self, symbols: Sequence[str], timeout_s: float) -> QuoteAnswer:
        asked_at = self._clock.now()
        answer = self._transport.fetch(
            "POST",
            "/quotes",
            body=encode({"symbols": symbols}),
            decode=_decode_quotes,
            timeout_s=timeout_s,
            idempotent=True,
        )
        self._require_fresh(answer.as_of, answer.clock, asked_at)
        quotes, faults = _each(_wanted(symbols, answer.quotes, answer.errors), _quote)
        errors = _all_errors(symbols, quotes, faults, answer.errors)
        if answer.clock is MarketClock.LIVE:
            latest = self._clock.now() + FRESH_FOR
            for symbol in [name for name, quote in quotes.items() if quote.as_of > latest]:
                errors[symbol] = "quote from the future"
                del quotes[symbol]
        return QuoteAnswer(as_of=answer.as_of, clock=answer.clock, quotes=quotes, errors=errors)

    def _require_fresh(self, as_of: datetime, clock: MarketClock, asked_at: datetime) -> None:
        """Raise unless the answer is of now; it was made between asking and receiving."""
        service = self._transport.service
        if clock is MarketClock.REPLAY:
            if self._must_be_live:
                raise BadPayload(service, "replay clock in live mode")
            return
        now = self._clock.now()
        if as_of < asked_at - FRESH_FOR:
            seconds = (asked_at - as_of).total_seconds()
            raise ServiceUnavailable(service, f"stale answer: {seconds:.1f} s old")
        if as_of > now + FRESH_FOR:
            seconds = (as_of - now).total_seconds()
            raise ServiceUnavailable(service, f"stale answer: {seconds:.1f} s ahead of this clock")


def _decode_symbols(body: bytes) -> _Symbols:
    answer = msgspec.json.decode(body, type=_Symbols)
    require_sound(answer.as_of, "as_of")
    if len(answer.symbols) > MAX_SYMBOLS:
        raise ValueError(f"{len(answer.symbols)} symbols, at most {MAX_SYMBOLS}")
    return answer


def _decode_ohlcv(body: bytes, timeframe: str) -> _Ohlcv:
    answer = _lenient(body, _Ohlcv, "candles")
    require_sound(answer.as_of, "as_of")
    if answer.timeframe != timeframe:
        raise ValueError(f"timeframe {answer.timeframe!r} instead of {timeframe!r}")
    return answer


def _decode_quotes(body: bytes) -> _Quotes:
    answer = _lenient(body, _Quotes, "quotes")
    require_sound(answer.as_of, "as_of")
    return answer


def _lenient(body: bytes, answer: type[T], part: str) -> T:
    """Decode; where NaN or Infinity stand in the JSON, they spoil only the symbol they are of.

    Many servers write them although JSON has no such numbers. They become null, which no column
    or price may be.
    """
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if not any(word in body for word in (b"NaN", b"Infinity")):
            raise
        document = json.loads(body, parse_constant=lambda _name: None)
        if not isinstance(document, dict) or not isinstance(document.get(part), dict):
            raise
        return msgspec.json.decode(msgspec.json.encode(document), type=answer)


def _instrument(_index: int, raw: msgspec.Raw) -> Instrument:
    instrument = msgspec.json.decode(raw, type=Instrument)
    require_sound(instrument, "instrument")
    has_steps = instrument.tick_size > 0 and instrument.lot_size > 0
    is_negative = min(instrument.volume_24h, instrument.min_notional) < 0
    if not instrument.symbol or not has_steps or is_negative or instrument.spread_bps < 0:
        raise ValueError(f"{shortened(instrument.symbol)}: a step or amount that cannot be")
    return instrument


def _columns(_symbol: str, raw: msgspec.Raw) -> Candles:
    candles = msgspec.json.decode(raw, type=CandleColumns).candles()
    if not np.isfinite(candles.prices()).all():
        raise ValueError("a value is not finite")
    return candles


def _quote(_symbol: str, raw: msgspec.Raw) -> Quote:
    quote = msgspec.json.decode(raw, type=Quote)
    require_sound(quote, "quote")
    if quote.bid <= 0 or quote.ask <= 0 or quote.last <= 0:
        raise ValueError("a price is not positive")
    if quote.bid > quote.ask:
        raise ValueError("bid above ask")
    return quote


def _newer(candles: Candles, since: int | None) -> Candles:
    if since is None or len(candles) == 0:
        return candles
    newer = candles.time > since
    if newer.all():
        return candles
    return candles.chosen(newer)


K = TypeVar("K")


def _each(
    items: Iterable[tuple[K, msgspec.Raw]], decode: Callable[[K, msgspec.Raw], T]
) -> tuple[dict[K, T], dict[K, str]]:
    """Decode one by one: values, and the faults of those that are none."""
    values: dict[K, T] = {}
    faults: dict[K, str] = {}
    for key, raw in items:
        try:
            values[key] = decode(key, raw)
        except (ValueError, TypeError, ArithmeticError, RecursionError) as exc:
            faults[key] = shortened(f"garbage: {exc}")
    return values, faults


def _wanted(
    symbols: Sequence[str], found: dict[str, msgspec.Raw], errors: dict[str, str]
) -> list[tuple[str, msgspec.Raw]]:
    """What was asked for; an error weighs more than a value beside it."""
    return [(name, found[name]) for name in symbols if name in found and name not in errors]


def _all_errors(
    symbols: Sequence[str], values: dict[str, Any], faults: dict[str, str], told: dict[str, str]
) -> dict[str, str]:
    """A reason for every asked symbol without a value."""
    return {
        name: shortened(faults.get(name) or told.get(name) or MISSING)
        for name in symbols
        if name not in values
    }
