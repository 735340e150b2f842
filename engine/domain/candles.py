"""Candles: six columns in one block, so that to cut, join, compare or copy them is one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Column = Sequence[float] | NDArray[Any]
NAMES = ("time", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, eq=False, slots=True)
class Candles:
    """Columns of closed candles, ascending by open time (epoch ms).

    `block` has a row of 64 bits a value for each column: the times as int64, then the bits of
    open, high, low, close and volume as float64.
    """

    block: NDArray[np.int64]

    @classmethod
    def of(  # noqa: PLR0917 - a candle has six columns
        cls,
        time: Column,
        open: Column,  # noqa: A002 - the column's name
        high: Column,
        low: Column,
        close: Column,
        volume: Column,
    ) -> Candles:
        """From columns, which are copied. Raises ValueError when they differ in length."""
        count = len(time)
        prices = (open, high, low, close, volume)
        if any(len(column) != count for column in prices):
            lengths = sorted({count, *map(len, prices)})
            raise ValueError(f"columns of different lengths: {lengths}")
        block = np.empty((len(NAMES), count), dtype=np.int64)
        block[0] = time
        block[1:].view(np.float64)[:] = prices
        return cls(block)

    def __len__(self) -> int:
        return int(self.block.shape[1])

    @property
    def time(self) -> NDArray[np.int64]:
        """Open times, epoch ms."""
        times: NDArray[np.int64] = self.block[0]
        return times

    @property
    def open(self) -> NDArray[np.float64]:
        """The first price of each."""
        return self._column(1)

    @property
    def high(self) -> NDArray[np.float64]:
        """The highest price of each."""
        return self._column(2)

    @property
    def low(self) -> NDArray[np.float64]:
        """The lowest price of each."""
        return self._column(3)

    @property
    def close(self) -> NDArray[np.float64]:
        """The last price of each."""
        return self._column(4)

    @property
    def volume(self) -> NDArray[np.float64]:
        """What was traded in each."""
        return self._column(5)

    def prices(self) -> NDArray[np.float64]:
        """Open, high, low, close and volume as the rows of one table: all but the times."""
        table: NDArray[np.float64] = self.block[1:].view(np.float64)
        return table

    def _column(self, row: int) -> NDArray[np.float64]:
        column: NDArray[np.float64] = self.block[row].view(np.float64)
        return column

    def named(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Each column with its name, the times first."""
        return zip(NAMES, (self.time, *self.prices()), strict=True)

    def tail(self, count: int) -> Candles:
        """The last `count` candles (all of them when there are fewer)."""
        return self.between(max(len(self) - count, 0), len(self))

    def between(self, begin: int, end: int) -> Candles:
        """The candles from `begin` to before `end`; they share their memory with these."""
        return Candles(self.block[:, begin:end])

    def chosen(self, index: NDArray[Any] | slice) -> Candles:
        """The candles at an index of numpy's: numbers, a truth value for each, or a slice."""
        # By such an index numpy lays the table out candle by candle; each column is one piece here.
        return Candles(np.ascontiguousarray(self.block[:, index]))

    def columns(self) -> CandleColumns:
        """The same as lists, as the wire has them."""
        return CandleColumns(self.time.tolist(), *self.prices().tolist())


def joined(parts: Sequence[Candles]) -> Candles:
    """The candles of each part, one after another."""
    return Candles(np.concatenate([part.block for part in parts], axis=1))


class CandleColumns(msgspec.Struct, frozen=True):
    """Candles on the wire: six lists of one length."""

    time: list[int] = []
    open: list[float] = []
    high: list[float] = []
    low: list[float] = []
    close: list[float] = []
    volume: list[float] = []

    def candles(self) -> Candles:
        """As arrays. Raises ValueError when the columns differ in length."""
        return Candles.of(*msgspec.structs.astuple(self))
