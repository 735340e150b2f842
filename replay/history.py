"""Recorded candles as the market of a moment: windows, quotes and instruments; never the future."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain import quality
from engine.domain.amounts import ZERO
from engine.domain.candles import Candles
from engine.domain.limits import Limits
from engine.domain.matching import Picture, Steps
from engine.domain.model import Instrument, Quote
from engine.errors import ConfigError, DataQualityError
from replay import quotes
from replay.axis import Axis, axis_of
from replay.options import Options
from replay.quotes import NO_TICK
from services.market_data.feeds.feed import MIN_NOTIONAL
from services.market_data.feeds.files import FilesFeed

MILLISECONDS = 1000
LEAST_HISTORY = 2
MOMENTS_LISTED = 4  # remembered ones: the steps before a decision are asked about again

Floats = NDArray[np.float64]


@lru_cache(maxsize=16)
def moment(time_ms: int) -> datetime:
    """Epoch milliseconds as an aware instant."""
    return datetime.fromtimestamp(time_ms / MILLISECONDS, UTC)


@dataclass(frozen=True)
class _Rows:
    """One symbol: how many rows have closed at each now, and faults counted up to each row.

    `prices` is what an order of each now meets (NaN for none): the open of the candle that
    follows, or the close of the one that just ended. `days` is the first row that closed within a
    day of each now. `is_unfit` at each now: too few rows have closed, or not the newest.
    """

    ends: NDArray[np.int64]
    days: NDArray[np.int64]
    is_unfit: NDArray[np.bool_]
    suspicious: NDArray[np.int64]
    prices: Floats


class History:
    """Recorded candles, seen from one now after another."""

    def __init__(self, candles: dict[str, Candles], options: Options, limits: Limits) -> None:
        self.candles = candles
        self.limits = limits
        self.step_ms = limits.timeframe_s * MILLISECONDS
        self._options = options
        self.spread_bps = options.settings.services.market_data.spread_bps
        self.feed = FilesFeed(
            candles,
            timeframe=limits.timeframe,
            step_s=limits.timeframe_s,
            history=LEAST_HISTORY if options.is_plain else limits.candles,
            spread_bps=self.spread_bps,
        )
        self.nows = self._instants()
        self._steps = {now_ms: step for step, now_ms in enumerate(self.nows.tolist())}
        self._coming = self.feed.opens_after(self.nows)
        self._axes: dict[bytes, Axis] = {}
        self._rows = {symbol: self._rows_of(rows) for symbol, rows in candles.items()}
        self.first_close = {
            symbol: self.feed.series(symbol).times.item(0) + self.step_ms for symbol in candles
        }
        self._suspect = {symbol: self._is_suspect(symbol) for symbol in candles}
        self._suspects: NDArray[np.int64] = np.sum(
            list(self._suspect.values()), axis=0, dtype=np.int64
        )
        doubtful = np.cumsum(self._suspects > 0)
        self._doubtful_before: list[int] = [0, *doubtful.tolist()]
        self._listed: dict[tuple[str, int], Instrument] = {}
        self._row: tuple[int, list[float]] = (-1, [])

    @property
    def end_ms(self) -> int:
        """When the last candle closes."""
        return int(max(rows.time.max() for rows in self.candles.values())) + self.step_ms

    def ends(self, symbol: str) -> NDArray[np.int64] | None:
        """How many rows have closed at each now; None for a disordered series."""
        rows = self._rows[symbol]
        return None if rows is None else rows.ends

    def is_whole(self, symbol: str) -> bool:
        """Whether every number of the series is one."""
        rows = self._rows[symbol]
        if rows is not None and rows.suspicious[-1] == 0:
            return True
        return all(np.isfinite(column).all() for column in self.candles[symbol].prices())

    def window(self, symbol: str, step: int, now_ms: int) -> Candles | str:
        """What a cycle sees at this now, or the fault that keeps it from being traded on."""
        rows = self._rows[symbol]
        if rows is None or not self._is_sound(symbol, step):
            return self._judged(symbol, now_ms)
        end = rows.ends.item(step)
        return self.candles[symbol].between(max(end - self.limits.candles, 0), end)

    def _is_sound(self, symbol: str, step: int) -> bool:
        """Whether columns prove that a window of a now is fit to be traded on."""
        rows = self._rows[symbol]
        if rows is None or step >= len(rows.ends):
            return False
        return rows.ends.item(step) > 0 and not self._suspect[symbol].item(step)

    def suspect(self, symbol: str) -> NDArray[np.bool_]:
        """For each now whether the symbol is listed and not known to be sound."""
        return self._suspect[symbol]

    def may_be_refused(self, symbol: str) -> NDArray[np.bool_]:
        """For each now whether the symbol may be passed over with a record of why."""
        if symbol.partition("/")[2] != self.limits.account_currency:
            return np.ones(len(self.nows), dtype=np.bool_)
        return self._suspect[symbol]

    @cached_property
    def places(self) -> dict[str, int]:
        """The row of each symbol in `bids_of_all`."""
        return {symbol: place for place, symbol in enumerate(self.candles)}

    @cached_property
    def bids_of_all(self) -> Floats:
        """The bids of every symbol, a row each; NaN where there is no price."""
        return np.vstack([self._bids_of(symbol) for symbol in self.candles])

    def last_sound(self, symbol: str, step: int) -> int:
        """The newest step before `step` at which the symbol was sound; -1 for none."""
        sound = np.flatnonzero(~self._suspect[symbol][:step])
        return int(sound[-1]) if len(sound) else -1

    def bids_at(self, step: int) -> list[float]:
        """The bids of one now, by the place of the symbol; NaN where there is no price."""
        if self._row[0] != step:
            self._row = (step, self._bids_by_step[step].tolist())
        return self._row[1]

    @cached_property
    def _bids_by_step(self) -> Floats:
        return np.ascontiguousarray(self.bids_of_all.T)

    def _ticks_a_unit(self, symbol: str, step: int) -> float:
        """How many ticks 1 has, NaN where that does not tell an exact bid from a float."""
        if self._options.is_enforced:
            return self._scales[symbol].item(step)
        is_told = self.spread_bps == 0 and self._rows[symbol] is not None
        return quotes.USUAL if is_told else math.nan

    @cached_property
    def _scales(self) -> dict[str, Floats]:
        unknown = np.full(len(self.nows), np.nan)
        return {
            symbol: unknown if rows is None else self.feed.series(symbol).ticks_a_unit(rows.ends)
            for symbol, rows in self._rows.items()
        }

    def bids(self, symbol: str) -> Floats:
        """The bid at each now, NaN where there is no price. Right to the last digit of a float."""
        found: Floats = self.bids_of_all[self.places[symbol]]
        return found

    def _bids_of(self, symbol: str) -> Floats:
        rows = self._rows[symbol]
        if rows is None:
            found = (self.quote(symbol, now_ms) for now_ms in self.nows.tolist())
            return np.asarray(
                [np.nan if isinstance(quote, str) else float(quote.bid) for quote in found]
            )
        if not self._options.is_enforced:
            return quotes.bids_of(rows.prices, self.spread_bps)
        series = self.feed.series(symbol)
        return quotes.bids_on_ticks(rows.prices, rows.ends, series, self.spread_bps)

    def has_suspects(self, first: int, end: int) -> bool:
        """Whether any symbol may be unfit to be traded on from the now `first` to before `end`."""
        return self._doubtful_before[end] > self._doubtful_before[first]

    def bad_symbols(self, step: int, now_ms: int, symbols: list[str]) -> int:
        """How many of the symbols cannot be traded on now."""
        doubtful = (symbol for symbol in symbols if not self._is_sound(symbol, step))
        return sum(isinstance(self._judged(symbol, now_ms), str) for symbol in doubtful)

    def instrument(self, symbol: str, now_ms: int) -> Instrument:
        """The symbol as it is listed now; without limits only its lot is looked up."""
        known = self._listed.get((symbol, now_ms))
        if known is None:
            if len(self._listed) > MOMENTS_LISTED * len(self.candles):
                self._listed.clear()
            known = self._listed[symbol, now_ms] = self._instrument(symbol, now_ms)
        return known

    def _instrument(self, symbol: str, now_ms: int) -> Instrument:
        series, place = self.feed.series(symbol), self._place(symbol, now_ms)
        lot, is_enforced = self._options.lot, self._options.is_enforced
        return Instrument(
            symbol=symbol,
            volume_24h=self._volume_24h(symbol, place, now_ms) if is_enforced else ZERO,
            spread_bps=self.spread_bps,
            tick_size=series.tick(place) if is_enforced else NO_TICK,
            lot_size=series.lot(place) if lot is None else lot,
            min_notional=MIN_NOTIONAL if is_enforced else ZERO,
        )

    def _volume_24h(self, symbol: str, place: int, now_ms: int) -> Decimal:
        series, rows = self.feed.series(symbol), self._rows[symbol]
        step = self._steps.get(now_ms)
        if rows is None or step is None:
            return series.volume_of(series.day(now_ms, now_ms - self.step_ms))
        return series.volume_of(slice(int(rows.days[step]), place + 1))

    def _place(self, symbol: str, now_ms: int) -> int:
        """The place in order of the last closed candle; -1 for none."""
        rows, step = self._rows[symbol], self._steps.get(now_ms)
        if rows is None or step is None:
            return self.feed.series(symbol).place(now_ms - self.step_ms)
        return rows.ends.item(step) - 1

    def quote(self, symbol: str, now_ms: int) -> Quote | str:
        """What an order meets now, or why there is no price."""
        rows, step = self._rows[symbol], self._steps.get(now_ms)
        price = math.nan if rows is None or step is None else rows.prices.item(step)
        try:
            if math.isnan(price):
                price = self._asked_price(symbol, now_ms)
        except DataQualityError as error:
            return str(error)
        tick = NO_TICK
        if self._options.is_enforced:
            tick = self.feed.series(symbol).tick(self._place(symbol, now_ms))
        prices = quotes.exact(price, self.spread_bps, tick)
        now = moment(now_ms)
        quote = Quote(bid=prices.bid, ask=prices.ask, last=prices.last, as_of=now)
        oldest = self.limits.risk.max_quote_age_s
        return quality.judge_quote(quote, now=now, max_age_s=oldest) or quote

    def exact_bids(self, symbols: Iterable[str], step: int) -> dict[str, Decimal]:
        """The exact bid of each of these symbols that has one at this step."""
        bids, places = self.bids_at(step), self.places
        found: dict[str, Decimal] = {}
        for symbol in symbols:
            bid = bids[places[symbol]]
            if quotes.is_told(bid, self._ticks_a_unit(symbol, step)):
                found[symbol] = Decimal(repr(bid))
            elif not math.isnan(bid):
                found[symbol] = self._bid(symbol, step)
        return found

    def _bid(self, symbol: str, step: int) -> Decimal:
        rows = self._rows[symbol]
        if rows is None:
            quote = self.quote(symbol, int(self.nows[step]))
            assert isinstance(quote, Quote)  # noqa: S101  the step has one
            return quote.bid
        tick = NO_TICK
        if self._options.is_enforced:
            tick = self.feed.series(symbol).tick(rows.ends.item(step) - 1)
        return quotes.exact_bid(rows.prices.item(step), self.spread_bps, tick)

    def _asked_price(self, symbol: str, now_ms: int) -> float:
        """What an order meets. Raises DataQualityError, which says why that is no price."""
        if not self._options.fill_at_close:
            return self.feed.next_open(symbol, now_ms)
        newest = self.newest(symbol, now_ms)
        if newest.time + self.step_ms != now_ms or not newest.close > 0:
            raise DataQualityError("no price: no candle of the symbol closed now")
        return newest.close

    def filled_in(self, symbol: str, now_ms: int) -> int:
        """Open time of the candle that an order of this now fills in."""
        if self._options.fill_at_close:
            return self.newest(symbol, now_ms).time
        step = self._steps.get(now_ms)
        return self.feed.coming(now_ms) if step is None else int(self._coming[step])

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
        """The last closed candle; of what is no number in it, no volume and NaN for the close."""
        place = self._place(symbol, now_ms)
        if place < 0:
            return Newest(0, ZERO, math.nan)
        row, candles = self.feed.series(symbol).order.item(place), self.candles[symbol]
        volume = candles.volume.item(row)
        return Newest(
            candles.time.item(row),
            Decimal(repr(volume)) if math.isfinite(volume) and volume > 0 else ZERO,
            candles.close.item(row),
        )

    def last_close(self, symbol: str) -> Newest:
        """The newest candle with a close that is a price."""
        candles = self.candles[symbol]
        with np.errstate(invalid="ignore"):
            priced = np.flatnonzero(np.isfinite(candles.close) & (candles.close > 0))
        row = int(priced[np.argmax(candles.time[priced])])
        return Newest(int(candles.time[row]), ZERO, float(candles.close[row]))

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
        axis = self._axis_of(series.time)
        prices = series.close if self._options.fill_at_close else series.open
        return _Rows(
            ends=axis.ends,
            days=axis.days,
            is_unfit=axis.is_unfit,
            suspicious=np.concatenate(([0], np.cumsum(~good))),
            prices=quotes.prices_of(prices, axis.met),
        )

    def _axis_of(self, time: NDArray[np.int64]) -> Axis:
        """Most series of a history have the same times."""
        key = time.tobytes()
        if key not in self._axes:
            coming = None if self._options.fill_at_close else self._coming
            self._axes[key] = axis_of(time, self.nows, self.step_ms, coming, LEAST_HISTORY)
        return self._axes[key]

    def _is_suspect(self, symbol: str) -> NDArray[np.bool_]:
        rows = self._rows[symbol]
        if rows is None:
            return self.nows >= self.first_close[symbol]
        if rows.suspicious[-1] == 0:
            return rows.is_unfit
        begins = np.maximum(rows.ends - self.limits.candles, 0)
        return rows.is_unfit | (rows.suspicious[rows.ends] > rows.suspicious[begins])

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


class Newest(NamedTuple):
    """A closed candle: its open time, volume and close."""

    time: int
    volume: Decimal
    close: float
