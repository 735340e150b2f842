"""A second opinion on a candle file: prices, steps, quotes and volumes, without the product.

Written from the definitions alone: market time is the close of the newest closed candle, a quote
is the next candle's open with the spread around it, tick and lot are the decimals seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ATR_CANDLES = 14


class Candle(NamedTuple):
    """One row of the file; `time` is its open in epoch milliseconds."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def exact(value: float) -> Decimal:
    """The number as the file's author wrote it."""
    return Decimal(repr(value))


def down_to(amount: Decimal, step: Decimal) -> Decimal:
    """The next multiple of the step at or below."""
    return (amount / step).to_integral_value(ROUND_FLOOR) * step


def up_to(amount: Decimal, step: Decimal) -> Decimal:
    """The next multiple of the step at or above."""
    return (amount / step).to_integral_value(ROUND_CEILING) * step


def finest_step(values: Iterator[float]) -> Decimal:
    """One unit of the last decimal that any of the values has."""
    decimals = 0
    for value in values:
        exponent = exact(value).normalize().as_tuple().exponent
        assert isinstance(exponent, int)
        decimals = max(decimals, -exponent)
    return Decimal(1).scaleb(-decimals)


@dataclass(frozen=True)
class Tape:
    """One pair: its candles in order of time, its tick and its lot."""

    candles: tuple[Candle, ...]
    tick: Decimal
    lot: Decimal

    def closed(self, now: int) -> list[Candle]:
        """Every candle whose hour is over at market time `now`."""
        return [candle for candle in self.candles if candle.time + HOUR_MS <= now]

    def quote(self, now: int, spread_bps: Decimal) -> tuple[Decimal, Decimal]:
        """Bid and ask: half the spread below and above the open that comes next, on the tick."""
        (coming,) = (candle for candle in self.candles if candle.time == now)
        half = exact(coming.open) * spread_bps / 20_000
        bid, ask = exact(coming.open) - half, exact(coming.open) + half
        return down_to(bid, self.tick), up_to(ask, self.tick)

    def volume_24h(self, now: int) -> Decimal:
        """What was traded within the last day, in quote currency."""
        day = (candle for candle in self.closed(now) if candle.time >= now - DAY_MS)
        return sum((exact(each.close) * exact(each.volume) for each in day), Decimal(0))


def read_tapes(file: Path) -> dict[str, Tape]:
    """Every pair of a parquet file."""
    rows: dict[str, list[Candle]] = {}
    names = ["symbol", "ts", "open", "high", "low", "close", "volume"]
    columns = pyarrow.parquet.read_table(file, columns=names).to_pydict()
    for symbol, *values in zip(*(columns[name] for name in names), strict=True):
        rows.setdefault(symbol, []).append(Candle(*values))
    return {symbol: _tape(sorted(candles)) for symbol, candles in rows.items()}


def _tape(candles: list[Candle]) -> Tape:
    return Tape(
        candles=tuple(candles),
        tick=finest_step(price for candle in candles for price in candle[1:5]),
        lot=finest_step(candle.volume for candle in candles),
    )


def where_most_have(tapes: dict[str, Tape], count: int) -> int:
    """The first market time at which more than half of the pairs have so many closed candles."""
    ready = sorted(
        tape.candles[count - 1].time + HOUR_MS
        for tape in tapes.values()
        if len(tape.candles) >= count
    )
    return ready[len(tapes) // 2]


def average(closes: list[float], length: int) -> Decimal:
    """The simple average of the last closes, exactly."""
    return sum((exact(close) for close in closes[-length:]), Decimal(0)) / length


def average_true_range(candles: list[Candle]) -> float:
    """Wilder's: the mean of the first fourteen true ranges, then one fourteenth of each next."""
    ranges = [
        max(this.high - this.low, abs(this.high - before.close), abs(this.low - before.close))
        for before, this in pairwise(candles)
    ]
    value = sum(ranges[:ATR_CANDLES]) / ATR_CANDLES
    for each in ranges[ATR_CANDLES:]:
        value = (value * (ATR_CANDLES - 1) + each) / ATR_CANDLES
    return value
