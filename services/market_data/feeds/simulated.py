"""The simulated feed: a seeded market of any number of symbols, without beginning to be stored.

Prices are not real. The same (seed, symbol, candle) gives the same numbers for ever, whatever
was asked before and however many symbols there are.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

import numpy as np

from engine.domain.candles import Candles
from engine.domain.model import Instrument, MarketClock
from engine.errors import NotFound
from services.market_data.feeds.feed import DAY_MS, MIN_NOTIONAL, Prices, around
from services.market_data.feeds.paths import BLOCK, CHUNK, BlockCandles, BlockTraits, Paths
from services.market_data.feeds.universe import Traits

GENESIS_MS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
MAX_CACHED_CHUNKS = 800  # of 0.33 MB each
SPARE_CHUNKS = 4  # beside a window's, of each block


class SimulatedFeed:
    """`symbols` instruments quoted in `currency`; the first candle opens at the genesis."""

    name = "simulated"
    market_clock = MarketClock.REPLAY
    end_ms = None

    def __init__(
        self,
        *,
        symbols: int,
        seed: int,
        currency: str,
        timeframe: str,
        step_s: int,
        history: int,
        start_ms: int | None = None,
    ) -> None:
        self._symbols = symbols
        self._timeframe = timeframe
        self._step_ms = step_s * 1000
        self._paths = Paths(seed, currency, step_s)
        self._blocks = [
            self._paths.traits(number) for number in range((symbols + BLOCK - 1) // BLOCK)
        ]
        self._index = {self._traits(number).symbol: number for number in range(symbols)}
        window = len(self._blocks) * (history // CHUNK + SPARE_CHUNKS)
        self._chunk = lru_cache(maxsize=min(window, MAX_CACHED_CHUNKS))(self._make_chunk)
        self._listed = lru_cache(maxsize=1)(self._list)
        first = GENESIS_MS + history * self._step_ms
        self.start_ms = first if start_ms is None else max(self._floor(start_ms), GENESIS_MS)

    def serves(self, timeframe: str) -> bool:
        """Only the configured length."""
        return timeframe == self._timeframe

    def later(self, now_ms: int, candles: int) -> int:
        """The market never ends."""
        return now_ms + candles * self._step_ms

    def at_or_before(self, moment_ms: int) -> int:
        """On the grid of candles, from the start on."""
        return max(self._floor(moment_ms), self.start_ms)

    def instruments(self, now_ms: int) -> list[Instrument]:
        """All symbols, by the volume of the last 24 hours."""
        return list(self._listed(now_ms))

    def candles(
        self,
        symbol: str,
        timeframe: str,  # noqa: ARG002 - there is one length only
        now_ms: int,
        limit: int,
        since: int | None,
    ) -> Candles:
        """See Feed.candles."""
        index = self._known(symbol)
        last = self._closed(now_ms)
        first = max(last - limit, 0)
        if since is not None:
            first = max(first, (since - GENESIS_MS) // self._step_ms + 1)
        return self._window(index, min(first, last), last)

    def prices(self, symbol: str, now_ms: int) -> Prices:
        """The open of the candle that has not closed, with the symbol's spread around it."""
        index = self._known(symbol)
        coming = self._closed(now_ms)
        opened = self._chunk(index // BLOCK, coming // CHUNK).open[index % BLOCK, coming % CHUNK]
        known = self._traits(index)
        return around(float(opened), known.spread_bps, known.tick_size)

    def _floor(self, moment_ms: int) -> int:
        return GENESIS_MS + (moment_ms - GENESIS_MS) // self._step_ms * self._step_ms

    def _closed(self, now_ms: int) -> int:
        """How many candles have closed."""
        return (now_ms - GENESIS_MS) // self._step_ms

    def _known(self, symbol: str) -> int:
        index = self._index.get(symbol)
        if index is None:
            raise NotFound("unknown symbol")
        return index

    def _traits(self, index: int) -> Traits:
        return self._block(index // BLOCK).rows[index % BLOCK]

    def _block(self, number: int) -> BlockTraits:
        return self._blocks[number]

    def _make_chunk(self, block: int, chunk: int) -> BlockCandles:
        return self._paths.candles(self._block(block), block, chunk)

    def _window(self, index: int, first: int, last: int) -> Candles:
        """Candles first <= i < last of one symbol."""
        block, row = divmod(index, BLOCK)
        parts = [np.empty((5, 0))]
        for chunk in range(first // CHUNK, (last - 1) // CHUNK + 1 if last > first else 0):
            begin, end = max(first - chunk * CHUNK, 0), min(last - chunk * CHUNK, CHUNK)
            columns = self._chunk(block, chunk).columns()
            parts.append(np.array([column[row, begin:end] for column in columns]))
        time = GENESIS_MS + np.arange(first, last, dtype=np.int64) * self._step_ms
        return Candles.of(time, *np.concatenate(parts, axis=1))

    def _list(self, now_ms: int) -> tuple[Instrument, ...]:
        listed: list[Instrument] = []
        for block, fixed in enumerate(self._blocks):
            volumes = self._day_volumes(block, now_ms)
            listed.extend(
                _instrument(fixed.rows[row], volumes[row])
                for row in range(min(BLOCK, self._symbols - block * BLOCK))
            )
        return tuple(sorted(listed, key=lambda each: (-each.volume_24h, each.symbol)))

    def _day_volumes(self, block: int, now_ms: int) -> list[float]:
        """Quote volume of the last 24 hours of each symbol of the block."""
        last = self._closed(now_ms)
        first = max(last - max(DAY_MS // self._step_ms, 1), 0)
        total = np.zeros(BLOCK)
        for chunk in range(first // CHUNK, (last - 1) // CHUNK + 1 if last > first else 0):
            begin, end = max(first - chunk * CHUNK, 0), min(last - chunk * CHUNK, CHUNK)
            made = self._chunk(block, chunk)
            total += (made.close[:, begin:end] * made.volume[:, begin:end]).sum(axis=1)
        volumes: list[float] = total.tolist()
        return volumes


def _instrument(known: Traits, volume_24h: float) -> Instrument:
    return Instrument(
        symbol=known.symbol,
        volume_24h=Decimal(f"{volume_24h:.2f}"),
        spread_bps=known.spread_bps,
        tick_size=known.tick_size,
        lot_size=known.lot_size,
        min_notional=MIN_NOTIONAL,
    )
