"""The files feed: real candles from disk, replayed.

Candles are served as the file has them, in its order, gaps and repeats included: judging them is
the engine's. Only what JSON cannot say (a price that is no number) is told as an error. What a
file lacks is derived: the spread from the configuration, tick and lot from the decimals of the
candles that have closed, so that nothing is known before its time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.domain.candles import Candles
from engine.domain.model import Instrument, MarketClock
from engine.errors import ConfigError, DataQualityError, NotFound
from services.market_data.feeds.feed import (
    DAY_MS,
    MIN_NOTIONAL,
    Prices,
    around,
    step_of_decimals,
)

MAX_DECIMALS = 10
NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class Series:
    """One symbol's rows, with what is derived from them once.

    `times` are the open times in order, which `order` brings the rows into.
    """

    candles: Candles
    is_ascending: bool
    order: NDArray[np.intp]
    times: NDArray[np.int64]
    quote_volume: NDArray[np.float64]

    @cached_property
    def price_decimals(self) -> NDArray[np.int64]:
        """The most decimals of prices up to each of `times`."""
        columns = self.candles.prices()[:4].ravel()
        prices = _decimals(columns).reshape(4, len(self.times)).max(axis=0)
        found: NDArray[np.int64] = np.maximum.accumulate(prices[self.order])
        return found

    @cached_property
    def volume_decimals(self) -> NDArray[np.int64]:
        """The most decimals of volumes up to each of `times`."""
        found: NDArray[np.int64] = np.maximum.accumulate(_decimals(self.candles.volume)[self.order])
        return found

    def ticks_a_unit(self, ends: NDArray[np.int64]) -> NDArray[np.float64]:
        """How many ticks 1 has, as the first so many candles in order show it."""
        return np.power(10.0, np.where(ends > 0, self.price_decimals[ends - 1], 0))

    def tick(self, place: int) -> Decimal:
        """The step of prices, as the candles up to this place in order show it."""
        return step_of_decimals(0 if place < 0 else self.price_decimals.item(place))

    def lot(self, place: int) -> Decimal:
        """The step of quantities, as the same candles show it."""
        return step_of_decimals(0 if place < 0 else self.volume_decimals.item(place))

    def volume_of(self, rows: slice | NDArray[np.intp]) -> Decimal:
        """Quote volume of these rows."""
        volume = float(np.add.reduce(self.quote_volume[rows]))
        return Decimal(f"{volume:.2f}")

    def place(self, until_ms: int) -> int:
        """The place in order of the candle that opened last at or before then; -1 for none."""
        return int(self.times.searchsorted(until_ms, side="right")) - 1

    def day(self, now_ms: int, until_ms: int) -> slice | NDArray[np.intp]:
        """Rows of the candles that closed within a day."""
        return self.rows(now_ms - DAY_MS - 1, until_ms)

    def rows(self, after_ms: int | None, until_ms: int) -> slice | NDArray[np.intp]:
        """Rows whose open time lies after `after_ms` and at or before `until_ms`."""
        time = self.candles.time
        if self.is_ascending:
            begin = 0 if after_ms is None else int(time.searchsorted(after_ms, side="right"))
            return slice(begin, max(begin, int(time.searchsorted(until_ms, side="right"))))
        chosen = time <= until_ms
        if after_ms is not None:
            chosen &= time > after_ms
        return np.flatnonzero(chosen)


def opens_of(candles: Iterable[Candles]) -> NDArray[np.int64]:
    """The open times that occur, in order. Most symbols of a market have the same ones."""
    columns = {rows.time.tobytes(): rows.time for rows in candles}
    opens: NDArray[np.int64] = np.unique(np.concatenate(list(columns.values())))
    return opens


class FilesFeed:
    """Candles of one length, replayed over the open times that occur in them.

    The first now is `start_ms`, or where `history` candles have closed for most symbols. The
    last now is the open of the last candle: beyond it there is no next open to quote.
    """

    name = "files"
    market_clock = MarketClock.REPLAY

    def __init__(
        self,
        candles: dict[str, Candles],
        *,
        timeframe: str,
        step_s: int,
        history: int,
        spread_bps: float,
        start_ms: int | None = None,
    ) -> None:
        self._timeframe = timeframe
        self._step_ms = step_s * 1000
        self._spread_bps = spread_bps
        self._series = {symbol: _series(rows) for symbol, rows in candles.items()}
        self._opens = opens_of(candles.values())
        self._check_length()
        closes = self._opens + self._step_ms
        # Beyond the last open there is no next open to quote.
        self._nows: NDArray[np.int64] = closes[closes <= self._opens[-1]]
        self.end_ms: int | None = int(self._nows[-1])
        self.start_ms = self._first_now(history) if start_ms is None else self._given(start_ms)

    def serves(self, timeframe: str) -> bool:
        """Only the length that the files have."""
        return timeframe == self._timeframe

    def later(self, now_ms: int, candles: int) -> int:
        """Past nights and weekends: a move ends where a further candle has closed."""
        index = int(np.searchsorted(self._nows, now_ms, side="right")) - 1 + candles
        return int(self._nows[min(max(index, 0), len(self._nows) - 1)]) if candles else now_ms

    def at_or_before(self, moment_ms: int) -> int:
        """The newest close of a candle at `moment_ms`, from the start on."""
        index = int(np.searchsorted(self._nows, moment_ms, side="right")) - 1
        return max(int(self._nows[max(index, 0)]), self.start_ms)

    def instruments(self, now_ms: int) -> list[Instrument]:
        """Symbols with a closed candle, by the quote volume of the last 24 hours."""
        until = now_ms - self._step_ms
        listed = [
            self.instrument(symbol, now_ms)
            for symbol, series in self._series.items()
            if series.times[0] <= until
        ]
        return sorted(listed, key=lambda each: (-each.volume_24h, each.symbol))

    def candles(
        self,
        symbol: str,
        timeframe: str,  # noqa: ARG002 - there is one length only
        now_ms: int,
        limit: int,
        since: int | None,
    ) -> Candles:
        """See Feed.candles; rows in the file's order."""
        series = self.series(symbol)
        rows = series.rows(since, now_ms - self._step_ms)
        chosen = series.candles.chosen(rows).tail(limit)
        _check_finite(chosen)
        return chosen

    @property
    def nows(self) -> NDArray[np.int64]:
        """Every now there is: the closes that a further open follows."""
        return self._nows

    def coming(self, now_ms: int) -> int:
        """When the market's next candle opens; `now_ms` is at most `end_ms`."""
        return int(self._opens[int(np.searchsorted(self._opens, now_ms, side="left"))])

    def opens_after(self, nows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same of many nows."""
        return self._opens[self._opens.searchsorted(nows, side="left")]

    def prices(self, symbol: str, now_ms: int) -> Prices:
        """The open of the market's next candle, with the configured spread around it."""
        series = self.series(symbol)
        tick_size = series.tick(series.place(now_ms - self._step_ms))
        return around(self.next_open(symbol, now_ms), self._spread_bps, tick_size)

    def next_open(self, symbol: str, now_ms: int) -> float:
        """The open of the market's next candle. Raises NotFound, and DataQualityError for none."""
        series = self.series(symbol)
        coming = self.coming(now_ms)
        opens = series.candles.open[series.rows(coming - 1, coming)]
        opened = float(opens[0]) if opens.size else float("nan")
        if not (np.isfinite(opened) and opened > 0):
            raise DataQualityError("no price: the file has no open for the next candle")
        return opened

    def series(self, symbol: str) -> Series:
        """One symbol's rows. Raises NotFound."""
        series = self._series.get(symbol)
        if series is None:
            raise NotFound("unknown symbol")
        return series

    def instrument(self, symbol: str, now_ms: int) -> Instrument:
        """One symbol as it is listed now. Raises NotFound."""
        series = self.series(symbol)
        until = now_ms - self._step_ms
        place = series.place(until)
        return Instrument(
            symbol=symbol,
            volume_24h=series.volume_of(series.day(now_ms, until)),
            spread_bps=self._spread_bps,
            tick_size=series.tick(place),
            lot_size=series.lot(place),
            min_notional=MIN_NOTIONAL,
        )

    def _check_length(self) -> None:
        gaps = np.diff(self._opens)
        usual = int(np.median(gaps)) if len(gaps) else 0
        if usual != self._step_ms:
            raise _fault(
                f"path: its candles are {usual // 1000} s apart, trading_engine.default_timeframe "
                f"{self._timeframe} is {self._step_ms // 1000} s"
            )

    def _first_now(self, history: int) -> int:
        """Where `history` candles have closed for more than half of the symbols."""
        closes = sorted(
            int(np.sort(series.candles.time)[history - 1]) + self._step_ms
            for series in self._series.values()
            if len(series.candles) >= history
        )
        most = len(self._series) // 2
        if len(closes) <= most or closes[most] > self._nows[-1]:
            raise _fault(
                f"path: most symbols have no {history} candles before the last one: "
                "lower trading_engine.candles or set clock_start"
            )
        return closes[most]

    def _given(self, start_ms: int) -> int:
        first, last = int(self._nows[0]), int(self._nows[-1])
        if not first <= start_ms <= last:
            raise _fault(
                f"clock_start: outside the files, which span {_text(first)} to {_text(last)}"
            )
        return int(self._nows[int(np.searchsorted(self._nows, start_ms, side="right")) - 1])


def _series(candles: Candles) -> Series:
    with np.errstate(all="ignore"):
        traded = candles.close * candles.volume
    time, count = candles.time, len(candles)
    is_ascending = bool((time[1:] >= time[:-1]).all())
    order = np.arange(count) if is_ascending else np.argsort(time, kind="stable")
    return Series(
        candles=candles,
        is_ascending=is_ascending,
        order=order,
        times=time[order],
        quote_volume=np.where(np.isfinite(traded), np.maximum(traded, 0.0), 0.0),
    )


def _decimals(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many decimals each value has, up to MAX_DECIMALS; 0 for what is not finite."""
    decimals = np.full(len(values), MAX_DECIMALS, dtype=np.int64)
    left = np.flatnonzero(np.isfinite(values))
    decimals[~np.isfinite(values)] = 0
    for count in range(MAX_DECIMALS):
        if left.size == 0:
            break
        chosen, scale = values[left], 10.0**count
        rounded = np.rint(chosen * scale) / scale
        fits = np.abs(chosen - rounded) <= NEGLIGIBLE + NEGLIGIBLE * np.abs(rounded)
        decimals[left[fits]] = count
        left = left[~fits]
    return decimals


def _check_finite(candles: Candles) -> None:
    good = np.isfinite(candles.prices()).all(axis=0)
    if not good.all():
        first = int(candles.time[int(np.argmin(good))])
        raise DataQualityError(f"a value of the candle that opened at {_text(first)} is no number")


def _fault(what: str) -> ConfigError:
    return ConfigError([f"services.market_data.{what}"])


def _text(moment_ms: int) -> str:
    return str(np.datetime64(moment_ms, "ms").astype("datetime64[s]")) + "Z"
