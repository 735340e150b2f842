"""Prices, candles and signals of a run: the same for a seed, whoever asks and whenever."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from engine.domain.candles import Candles
from engine.domain.messages import (
    CandleAnswer,
    EvaluateAnswer,
    MarketTime,
    QuoteAnswer,
    StrategyChoice,
    SymbolList,
)
from engine.domain.model import Action, Instrument, MarketClock, Position, Quote, Signal
from engine.ports import SeriesEnd
from tests.faults.simulation.scheduler import START

HOUR_MS = 3_600_000
COUNT = 600
SEEN = 24
NAMES = ("AAA/USD", "BBB/USD", "CCC/USD", "DDD/USD")
FIRST_MS = round(START.timestamp() * 1000) - COUNT * HOUR_MS
CENT = Decimal("0.01")


@functools.cache
def history(symbol: str) -> Candles:
    """One path a symbol for all runs; each run lives in its own part of it."""
    dice = np.random.default_rng(NAMES.index(symbol))
    close = np.round(100 * np.exp(np.cumsum(dice.normal(0, 0.012, COUNT))), 2)
    opened = np.concatenate((close[:1], close[:-1]))
    wick = np.round(np.abs(dice.normal(0, 0.4, COUNT)), 2)
    return Candles.of(
        time=np.arange(COUNT, dtype=np.int64) * HOUR_MS + FIRST_MS,
        open=opened,
        high=np.maximum(opened, close) + wick,
        low=np.minimum(opened, close) - wick,
        close=close,
        volume=np.full(COUNT, 1000.0),
    )


@functools.cache
def _price(symbol: str, index: int) -> Decimal:
    return Decimal(str(round(float(history(symbol).close[index]), 2)))


@functools.cache
def _instrument(symbol: str) -> Instrument:
    return Instrument(
        symbol=symbol,
        volume_24h=Decimal(50_000_000) - NAMES.index(symbol),
        spread_bps=2.0,
        tick_size=CENT,
        lot_size=Decimal("0.0001"),
        min_notional=Decimal(10),
    )


class Market:
    """A replayed market of a few symbols; some cycles move it on by a candle, some do not."""

    def __init__(self, seed: int, symbols: int, now: Callable[[], datetime]) -> None:
        self.names = NAMES[:symbols]
        self.index = 60 + self._draw(seed, "start") % (COUNT - 120)
        self._seed = seed
        self._now = now
        self._moved: dict[str, int] = {}

    def time(self) -> datetime:
        """The close of the newest candle."""
        opened = FIRST_MS + self.index * HOUR_MS
        return datetime.fromtimestamp((opened + HOUR_MS) / 1000, UTC)

    def quote(self, symbol: str) -> Quote:
        """Around the last close; it has moved a little since."""
        last = _price(symbol, self.index)
        away = Decimal(self._draw(self._seed, f"{symbol}|{self.index}|quote") % 21 - 10) * CENT
        bid = last + away
        return Quote(bid=bid, ask=bid + 2 * CENT, last=last, as_of=self._now())

    def clock(self) -> MarketTime:
        """The market's now."""
        return MarketTime(as_of=self.time(), clock=MarketClock.REPLAY)

    def symbols(self) -> SymbolList:
        """The universe."""
        instruments = tuple(_instrument(symbol) for symbol in self.names)
        return SymbolList(as_of=self.time(), clock=MarketClock.REPLAY, symbols=instruments)

    def advance(self, cycle_id: str, candles: int) -> MarketTime:
        """Once a cycle."""
        if cycle_id not in self._moved:
            is_new = self._draw(self._seed, f"{len(self._moved)}|candle") % 3 > 0
            self.index += candles if is_new else 0
            self._moved[cycle_id] = self.index
        return MarketTime(as_of=self.time(), clock=MarketClock.REPLAY)

    def candles(
        self, symbols: Sequence[str], _timeframe: str, limit: int, _since: dict[str, int]
    ) -> CandleAnswer:
        """The newest closed candles, whatever the caller has."""
        return CandleAnswer(
            as_of=self.time(),
            clock=MarketClock.REPLAY,
            candles={symbol: self.series(symbol, limit) for symbol in symbols},
            errors={},
        )

    def series(self, symbol: str, limit: int = SEEN) -> Candles:
        """The newest closed candles of one symbol."""
        whole, end = history(symbol), self.index + 1
        begin = end - min(limit, SEEN)
        return whole.between(begin, end)

    def quotes(self, symbols: Sequence[str]) -> QuoteAnswer:
        """Of each symbol."""
        quotes = {symbol: self.quote(symbol) for symbol in symbols}
        return QuoteAnswer(as_of=self.time(), clock=MarketClock.REPLAY, quotes=quotes)

    def evaluate(
        self,
        _timeframe: str,
        strategies: Sequence[StrategyChoice],
        market_data: dict[str, Candles],
        _positions: Sequence[Position],
        input_id: str,
    ) -> EvaluateAnswer:
        """What each strategy thinks, drawn from seed, symbol and candle."""
        found = []
        for symbol, series in market_data.items():
            moment = int(series.time[-1])
            for strategy in strategies:
                draw = self._draw(self._seed, f"{symbol}|{moment}|{strategy.id}")
                action = (Action.BUY, Action.BUY, Action.SELL, Action.HOLD)[draw % 4]
                found.append(
                    Signal(
                        symbol=symbol,
                        strategy=strategy.id,
                        version="1",
                        action=action,
                        confidence=0.5 + (draw // 4 % 50) / 100,
                        price=Decimal(str(round(float(series.close[-1]), 2))),
                        candle_time=moment,
                    )
                )
        return EvaluateAnswer(input_id=input_id, signals=tuple(found))

    @staticmethod
    def _draw(seed: int, what: str) -> int:
        digest = hashlib.blake2b(f"{seed}|{what}".encode(), digest_size=4).digest()
        return int.from_bytes(digest)


class MarketCache:
    """A candle cache in Redis: everything of this moment, or nothing while Redis is away."""

    def __init__(self, is_away: Callable[[], bool]) -> None:
        self._is_away = is_away
        self._candles: dict[str, Candles] = {}
        self._symbols: SymbolList | None = None
        self._quotes: dict[str, Quote] = {}
        self._quiet: dict[str, int] = {}

    def flush(self) -> None:
        """Redis lost everything."""
        self._candles.clear()
        self._symbols = None
        self._quotes.clear()
        self._quiet.clear()

    def load(self, symbols: Sequence[str], _timeframe: str) -> dict[str, Candles]:
        """What is cached."""
        if self._is_away():
            return {}
        return {name: self._candles[name] for name in symbols if name in self._candles}

    def save(
        self,
        candles: Mapping[str, Candles],
        _timeframe: str,
        quiet: Collection[str] = (),
        _about: str = "",
    ) -> None:
        """Keep candles, and of whom nobody had anything to say."""
        if not self._is_away():
            self._candles |= candles
            self._quiet |= {name: int(candles[name].time[-1]) for name in quiet}

    def load_ends(
        self, symbols: Sequence[str], _timeframe: str, _about: str
    ) -> dict[str, SeriesEnd]:
        """Where the series end, and of which nobody had anything to say."""
        if self._is_away():
            return {}
        ends = {
            name: int(self._candles[name].time[-1]) for name in symbols if name in self._candles
        }
        return {
            name: SeriesEnd(self._quiet.get(name, newest), name in self._quiet)
            for name, newest in ends.items()
        }

    def load_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The last good ones."""
        if self._is_away():
            return {}
        return {name: self._quotes[name] for name in symbols if name in self._quotes}

    def save_quotes(self, quotes: dict[str, Quote]) -> None:
        """Keep them."""
        if not self._is_away():
            self._quotes |= quotes

    def load_symbols(self) -> SymbolList | None:
        """The last good list."""
        return None if self._is_away() else self._symbols

    def save_symbols(self, symbols: SymbolList) -> None:
        """Keep it."""
        if not self._is_away():
            self._symbols = symbols
