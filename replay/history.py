"""Recorded candles as the market of a moment: windows, quotes and instruments; never the future."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.domain import quality
from engine.domain.amounts import ZERO, plain
from engine.domain.limits import Limits
from engine.domain.matching import Picture, Steps
from engine.domain.model import Candles, Instrument, Quote
from engine.errors import ConfigError, DataQualityError
from engine.settings import TIMEFRAME_SECONDS
from replay.options import Options
from services.market_data.feeds.feed import around
from services.market_data.feeds.files import FilesFeed
from services.market_data.feeds.tables import read_candles

MILLISECONDS = 1000
LEAST_CANDLES = 3
LEAST_HISTORY = 2
NO_TICK = Decimal("1e-12")


def moment(time_ms: int) -> datetime:
    """Epoch milliseconds as an aware instant."""
    return datetime.fromtimestamp(time_ms / MILLISECONDS, UTC)


def load(options: Options) -> dict[str, Candles]:
    """The candles that are replayed, by symbol. Raises ConfigError."""
    path = options.settings.services.market_data.path
    if not path:
        raise ConfigError(["--data: name a CSV or parquet file of candles, or a folder of them"])
    candles = read_candles(Path(path))
    unknown = [symbol for symbol in options.symbols if symbol not in candles]
    if unknown:
        raise ConfigError([f"--symbols: not in {path}: {', '.join(unknown)}"])
    chosen = {symbol: candles[symbol] for symbol in options.symbols or candles}
    if options.to_ms is not None:
        chosen = {symbol: _before(rows, options.to_ms) for symbol, rows in chosen.items()}
    chosen = {symbol: rows for symbol, rows in chosen.items() if len(rows)}
    opens = {int(time) for rows in chosen.values() for time in rows.time}
    if len(opens) < LEAST_CANDLES:
        raise ConfigError([f"--data: fewer than {LEAST_CANDLES} candles to replay in {path}"])
    return chosen


def timeframe_of(candles: Mapping[str, Candles]) -> str:
    """The usual distance of two candles, by name. Raises ConfigError for an unknown one."""
    opens = np.unique(np.concatenate([rows.time for rows in candles.values()]))
    usual_s = int(np.median(np.diff(opens))) // MILLISECONDS
    names = {seconds: name for name, seconds in TIMEFRAME_SECONDS.items()}
    if usual_s not in names:
        raise ConfigError(
            [f"--data: its candles are {usual_s} s apart; known: {', '.join(names.values())}"]
        )
    return names[usual_s]


def currency_of(candles: Mapping[str, Candles]) -> str:
    """What most symbols are quoted in; empty where they name no currency."""
    quoted = Counter(symbol.partition("/")[2] for symbol in sorted(candles))
    return quoted.most_common(1)[0][0]


@dataclass(frozen=True)
class _Rows:
    """One symbol: how many rows have closed at each now, and faults counted up to each row."""

    ends: NDArray[np.int64]
    suspicious: NDArray[np.int64]


class History:
    """Recorded candles, seen from one now after another."""

    def __init__(self, candles: dict[str, Candles], options: Options, limits: Limits) -> None:
        self.candles = candles
        self.limits = limits
        self.step_ms = limits.timeframe_s * MILLISECONDS
        self._options = options
        self._spread_bps = options.settings.services.market_data.spread_bps
        self.feed = FilesFeed(
            candles,
            timeframe=limits.timeframe,
            step_s=limits.timeframe_s,
            history=LEAST_HISTORY if options.is_plain else limits.candles,
            spread_bps=self._spread_bps,
        )
        self.nows = self._instants()
        self._rows = {symbol: self._rows_of(rows) for symbol, rows in candles.items()}
        self.first_close = {
            symbol: int(rows.time.min()) + self.step_ms for symbol, rows in candles.items()
        }
        self._suspects: NDArray[np.int64] = np.sum(
            [self._is_suspect(symbol) for symbol in candles], axis=0
        )
        self._listed: dict[str, Instrument] = {}
        self._listed_at = 0

    @property
    def end_ms(self) -> int:
        """When the last candle closes."""
        return int(max(rows.time.max() for rows in self.candles.values())) + self.step_ms

    def ends(self, symbol: str) -> NDArray[np.int64] | None:
        """How many rows have closed at each now; None for a disordered series."""
        rows = self._rows[symbol]
        return None if rows is None else rows.ends

    def window(self, symbol: str, step: int, now_ms: int) -> Candles | str:
        """What a cycle sees at this now, or the fault that keeps it from being traded on."""
        rows, count = self._rows[symbol], self.limits.candles
        if rows is not None and step < len(rows.ends):
            end = int(rows.ends[step])
            begin = max(end - count, 0)
            series = self.candles[symbol]
            is_sound = (
                end - begin >= LEAST_HISTORY and rows.suspicious[end] == rows.suspicious[begin]
            )
            if is_sound and series.time[end - 1] + self.step_ms == now_ms:
                return Candles(
                    series.time[begin:end], *(column[begin:end] for column in series.prices())
                )
        return self._judged(symbol, now_ms)

    def has_suspects(self, step: int) -> bool:
        """Whether any symbol may be unfit to be traded on at this now."""
        return bool(self._suspects[step] > 0)

    def bad_symbols(self, step: int, now_ms: int, symbols: list[str]) -> int:
        """How many of the symbols cannot be traded on now."""
        return sum(isinstance(self.window(symbol, step, now_ms), str) for symbol in symbols)

    def instrument(self, symbol: str, now_ms: int) -> Instrument:
        """The symbol as it is listed now; without limits its steps but the lot are lifted."""
        if now_ms != self._listed_at:
            self._listed, self._listed_at = {}, now_ms
        known = self._listed.get(symbol)
        if known is None:
            known = self._listed[symbol] = self._instrument(symbol, now_ms)
        return known

    def _instrument(self, symbol: str, now_ms: int) -> Instrument:
        listed = self.feed.instrument(symbol, now_ms)
        lot = listed.lot_size if self._options.lot is None else self._options.lot
        if self._options.is_enforced:
            return msgspec.structs.replace(listed, lot_size=lot)
        return msgspec.structs.replace(listed, lot_size=lot, tick_size=NO_TICK, min_notional=ZERO)

    def quote(self, symbol: str, now_ms: int) -> Quote | str:
        """What an order meets now, or why there is no price."""
        try:
            if self._options.fill_at_close:
                price = self._just_closed(symbol, now_ms)
            else:
                price = self.feed.next_open(symbol, now_ms)
        except DataQualityError as error:
            return str(error)
        return self.quote_at(symbol, price, now_ms)

    def quote_at(self, symbol: str, price: float, now_ms: int) -> Quote | str:
        """The spread around `price`, or the quote's fault."""
        tick = self.instrument(symbol, now_ms).tick_size
        prices = around(price, self._spread_bps, tick)
        now = moment(now_ms)
        quote = Quote(
            bid=plain(prices.bid), ask=plain(prices.ask), last=plain(prices.last), as_of=now
        )
        oldest = self.limits.risk.max_quote_age_s
        return quality.judge_quote(quote, now=now, max_age_s=oldest) or quote

    def filled_in(self, symbol: str, now_ms: int) -> int:
        """Open time of the candle that an order of this now fills in."""
        if self._options.fill_at_close:
            return self.newest(symbol, now_ms).time
        return self.feed.coming(now_ms)

    def picture(self, symbol: str, quote: Quote, now_ms: int) -> Picture:
        """The market as the paper broker sees it."""
        instrument, newest = self.instrument(symbol, now_ms), self.newest(symbol, now_ms)
        return Picture(
            bid=quote.bid,
            ask=quote.ask,
            volume=newest.volume,
            candle_time=newest.time,
            steps=Steps(
                tick_size=instrument.tick_size,
                lot_size=instrument.lot_size,
                min_notional=instrument.min_notional,
            ),
        )

    def newest(self, symbol: str, now_ms: int) -> Newest:
        """The last closed candle."""
        one = self.feed.candles(symbol, self.limits.timeframe, now_ms, 1, None)
        if len(one) == 0:
            return Newest(0, ZERO, float("nan"))
        volume = Decimal(repr(float(one.volume[-1])))
        return Newest(int(one.time[-1]), max(volume, ZERO), float(one.close[-1]))

    def _just_closed(self, symbol: str, now_ms: int) -> float:
        newest = self.newest(symbol, now_ms)
        if newest.time + self.step_ms != now_ms or not newest.close > 0:
            raise DataQualityError("no price: no candle of the symbol closed now")
        return newest.close

    def _judged(self, symbol: str, now_ms: int) -> Candles | str:
        limits = self.limits
        try:
            fresh = self.feed.candles(symbol, limits.timeframe, now_ms, limits.candles, None)
        except DataQualityError as error:
            return str(error)
        series = quality.merge(None, fresh, limits.candles)
        fault = quality.judge(
            series,
            timeframe_s=limits.timeframe_s,
            market_time=moment(now_ms),
            limits=limits.quality,
            need=LEAST_HISTORY,
        )
        return series if fault is None else fault

    def _rows_of(self, series: Candles) -> _Rows | None:
        if not np.all(np.diff(series.time) > 0):
            return None
        good = quality.unsuspicious(
            series, timeframe_s=self.limits.timeframe_s, limits=self.limits.quality
        )
        return _Rows(
            ends=np.searchsorted(series.time, self.nows - self.step_ms, side="right"),
            suspicious=np.concatenate(([0], np.cumsum(~good))),
        )

    def _is_suspect(self, symbol: str) -> NDArray[np.int64]:
        """For each now 1 where a listed symbol is not known to be sound, else 0."""
        rows, series = self._rows[symbol], self.candles[symbol]
        listed = self.nows >= self.first_close[symbol]
        if rows is None:
            return listed.astype(np.int64)
        begins = np.maximum(rows.ends - self.limits.candles, 0)
        newest = series.time[np.maximum(rows.ends - 1, 0)] + self.step_ms
        sound: NDArray[np.bool_] = (
            (rows.ends - begins >= LEAST_HISTORY)
            & (rows.suspicious[rows.ends] == rows.suspicious[begins])
            & (newest == self.nows)
        )
        found: NDArray[np.int64] = (listed & ~sound).astype(np.int64)
        return found

    def _instants(self) -> NDArray[np.int64]:
        """The moments of decision: as a deployment's cycles, or from the first candles on."""
        nows, since = self.feed.nows, self._options.from_ms
        if since is not None:
            nows = nows[nows >= since + self.step_ms]
        elif not self._options.is_plain:
            # A cycle begins with the next candle.
            nows = nows[nows > self.feed.start_ms]
        if len(nows) == 0:
            raise ConfigError(["--from: no candle closes between it and the last one"])
        return nows


@dataclass(frozen=True)
class Newest:
    """A closed candle: its open time, volume and close."""

    time: int
    volume: Decimal
    close: float


def _before(rows: Candles, to_ms: int) -> Candles:
    early = rows.time < to_ms
    return Candles(rows.time[early], *(column[early] for column in rows.prices()))
