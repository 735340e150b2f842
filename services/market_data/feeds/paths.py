"""Price paths of the simulated market, as a pure function of (seed, symbol index, candle index).

Candles are made in chunks of `CHUNK` for blocks of `BLOCK` symbols, each from a counter-based
generator of its own, so that any window costs what it is long, whatever lies before it. The
logarithm of a price is the sum of a market factor times the symbol's beta and a part of its own.
Each part is a Brownian bridge between independent anchors at the chunks' ends, on top of a slow
swing: paths are continuous, trend for days, and return in the long run. A symbol also breathes
with a period of its own, and each chunk of the market is calm, usual or stormy. Amplitudes are
those of an hourly candle; for other lengths they scale with the square root of time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.market_data.feeds.universe import Traits, traits

Floats = NDArray[np.float64]

CHUNK = 128
BLOCK = 64
SLOW_CHUNKS = 8
HOUR_S = 3600
DAY_S = 86400
_U64 = (1 << 64) - 1


class Stream:
    """Which generator: the first word after the seed."""

    TRAITS = 1
    MARKET = 2
    OWN = 3
    ANCHORS = 4
    SLOW = 5
    REGIME = 6
    SHAPE = 7


class Amplitude(NamedTuple):
    """Standard deviations of the logarithm: an hour's noise, the anchors, the slow swing."""

    noise: float
    anchor: float
    slow: float


MARKET = Amplitude(noise=0.002, anchor=0.008, slow=0.02)
OWN = Amplitude(noise=0.0045, anchor=0.03, slow=0.06)
BETA = (0.6, 1.4)
BREATH = 0.008  # amplitude of the logarithm
BREATH_CANDLES = (12.0, 30.0)
REGIMES = (0.7, 1.0, 1.6)
REGIME_SHARES = (0.3, 0.5, 0.2)
GAP = 0.0003
WICK = 0.0025
VOLUME_SPREAD = 0.35


@dataclass(frozen=True)
class BlockTraits:
    """Fixed traits of one block of symbols, as rows."""

    rows: tuple[Traits, ...]
    price: Floats
    beta: Floats
    period: Floats
    phase: Floats
    volume: Floats
    price_scale: Floats
    lot_scale: Floats


@dataclass(frozen=True)
class BlockCandles:
    """One chunk of one block: columns of shape (BLOCK, CHUNK)."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def columns(self) -> tuple[Floats, ...]:
        """Open, high, low, close, volume."""
        return (self.open, self.high, self.low, self.close, self.volume)


def generator(seed: int, *words: int) -> np.random.Generator:
    """The generator that belongs to these numbers, and to no others."""
    entropy = [seed & _U64, *(word & _U64 for word in words)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


class Paths:
    """Everything that follows from a seed, a currency and a candle's length."""

    def __init__(self, seed: int, currency: str, step_s: int) -> None:
        self._seed = seed
        self._currency = currency
        self._scale = float(np.sqrt(step_s / HOUR_S))
        self._candles_a_day = DAY_S / step_s

    def traits(self, block: int) -> BlockTraits:
        """Traits of the symbols `block * BLOCK` and following."""
        rng = generator(self._seed, Stream.TRAITS, block)
        rows = tuple(traits(block * BLOCK + row, self._currency, rng) for row in range(BLOCK))
        return BlockTraits(
            rows=rows,
            price=_column([row.price for row in rows]),
            beta=rng.uniform(*BETA, size=(BLOCK, 1)),
            period=rng.uniform(*BREATH_CANDLES, size=(BLOCK, 1)),
            phase=rng.uniform(size=(BLOCK, 1)),
            volume=_column([row.volume for row in rows]),
            price_scale=_column([10.0**row.price_decimals for row in rows]),
            lot_scale=_column([10.0**row.lot_decimals for row in rows]),
        )

    def candles(self, fixed: BlockTraits, block: int, chunk: int) -> BlockCandles:
        """All candles of one chunk of one block, rounded to tick and lot."""
        market = self._logarithm(Stream.MARKET, MARKET, 1, 0, chunk)
        own = self._logarithm(Stream.OWN, OWN, BLOCK, block, chunk)
        breath = BREATH * self._scale * _breath(fixed, chunk)
        level = fixed.price * np.exp(fixed.beta * market + own + breath)
        return self._shape(fixed, level, generator(self._seed, Stream.SHAPE, block, chunk), chunk)

    def _logarithm(self, stream: int, size: Amplitude, rows: int, block: int, chunk: int) -> Floats:
        """Shape (rows, CHUNK + 1): the level at the chunk's start and after each candle."""
        noise = generator(self._seed, stream, block, chunk).normal(size=(rows, CHUNK))
        walk = np.cumsum(noise, axis=1) * size.noise * self._storm(chunk)
        part = np.arange(CHUNK + 1) / CHUNK
        walk = np.hstack([np.zeros((rows, 1)), walk])
        bridge = walk - part * walk[:, -1:]
        begin, end = (
            self._draws(Stream.ANCHORS, stream, block, number, rows) * size.anchor
            for number in (chunk, chunk + 1)
        )
        slow = self._slow(stream, block, chunk, rows) * size.slow
        level: Floats = self._scale * (bridge + begin + (end - begin) * part + slow)
        return level

    def _slow(self, stream: int, block: int, chunk: int, rows: int) -> Floats:
        """A swing over SLOW_CHUNKS chunks, eased in and out of its turning points."""
        number = chunk // SLOW_CHUNKS
        begin, end = (
            self._draws(Stream.SLOW, stream, block, turn, rows) for turn in (number, number + 1)
        )
        position = (chunk % SLOW_CHUNKS + np.arange(CHUNK + 1) / CHUNK) / SLOW_CHUNKS
        swing: Floats = begin + (end - begin) * (1 - np.cos(np.pi * position)) / 2
        return swing

    def _draws(self, kind: int, stream: int, block: int, number: int, rows: int) -> Floats:
        return generator(self._seed, kind, stream, block, number).normal(size=(rows, 1))

    def _storm(self, chunk: int) -> float:
        """How wild this chunk is, for the whole market."""
        rng = generator(self._seed, Stream.REGIME, chunk)
        return float(rng.choice(REGIMES, p=REGIME_SHARES))

    def _shape(
        self, fixed: BlockTraits, level: Floats, rng: np.random.Generator, chunk: int
    ) -> BlockCandles:
        """Open, wicks and volume around the levels between which each candle moves."""
        gap, up, down, crowd = rng.normal(size=(4, BLOCK, CHUNK))
        size = self._scale * self._storm(chunk)
        before, close = level[:, :-1], level[:, 1:]
        opened = before * np.exp(gap * GAP * self._scale)
        high = np.maximum(opened, close) * np.exp(np.abs(up) * WICK * size)
        low = np.minimum(opened, close) * np.exp(-np.abs(down) * WICK * size)
        motion = np.abs(np.log(close / before)) / (OWN.noise * self._scale)
        traded = fixed.volume / self._candles_a_day / close
        volume = traded * np.exp(crowd * VOLUME_SPREAD) * (0.7 + 0.4 * motion)
        tick, lot = fixed.price_scale, fixed.lot_scale
        return BlockCandles(
            open=_on_grid(opened, tick),
            high=_on_grid(high, tick),
            low=_on_grid(low, tick),
            close=_on_grid(close, tick),
            volume=_on_grid(volume, lot),
        )


def _breath(fixed: BlockTraits, chunk: int) -> Floats:
    """Shape (BLOCK, CHUNK + 1), within -1 to 1."""
    number = chunk * CHUNK + np.arange(CHUNK + 1)
    wave: Floats = np.sin(2 * np.pi * (number / fixed.period + fixed.phase))
    return wave


def _column(values: list[float]) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)


def _on_grid(values: Floats, scale: Floats) -> Floats:
    """Multiples of 1 / scale, at least one."""
    rounded: Floats = np.maximum(np.rint(values * scale), 1) / scale
    return rounded
