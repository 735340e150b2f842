"""Candles as bytes: 48 a candle, in rows, so that a series grows at its end.

A row is the open time (epoch ms, int64) and open, high, low, close, volume (float64), little
endian. A block holds the rows of one stretch of time, so that a new candle rewrites one block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from engine.domain.candles import NAMES, Candles

ROW = np.dtype([("time", "<i8"), *((name, "<f8") for name in NAMES[1:])])
BLOCK_CANDLES = 16  # a new candle rewrites its block
MILLISECONDS = 1000
# By the length of its text, how a digest was made: the last is today's. It tells equal rows from
# others and guards nothing against who could write both, so that the fastest will do.
DIGESTS: dict[int, Callable[[bytes], str]] = {
    16: lambda data: hashlib.blake2b(data, digest_size=8).hexdigest(),
    24: lambda data: hashlib.sha256(data).hexdigest()[:24],
    32: xxhash.xxh3_128_hexdigest,
}

Rows = NDArray[np.void]


def rows_of(candles: Candles) -> Rows:
    """The candles as rows."""
    rows: Rows = np.ascontiguousarray(candles.block.T).view(ROW)
    return rows.reshape(len(candles))


def candles_of(rows: Rows) -> Candles:
    """The rows as candles, to the bit."""
    table = np.ascontiguousarray(rows).view(np.int64).reshape(len(rows), len(NAMES))
    return Candles(np.ascontiguousarray(table.T))


def unpacked(blocks: Iterable[bytes]) -> Rows:
    """The rows of packed blocks, one after another."""
    return np.frombuffer(b"".join(blocks), dtype=ROW)


class Digests(NamedTuple):
    """What identifies a window, and the window without its newest and without its oldest row."""

    whole: str
    but_newest: str
    but_oldest: str


def is_marked(rows: Rows, mark: str) -> bool:
    """Whether `mark` is the digest of these rows, of the kind of today or of before."""
    made = DIGESTS.get(len(mark))
    return made is not None and made(rows.tobytes()) == mark


def digests(rows: Rows) -> Digests:
    """Identify a window of at least one row, so that the next one is known to go on from it."""
    data = memoryview(rows.tobytes())
    whole = xxhash.xxh3_128(data[: -ROW.itemsize])
    but_newest = whole.hexdigest()
    whole.update(data[-ROW.itemsize :])
    but_oldest = xxhash.xxh3_128_hexdigest(data[ROW.itemsize :])
    return Digests(whole.hexdigest(), but_newest, but_oldest)


def newest_block(rows: Rows, timeframe_s: int) -> tuple[int, Rows] | None:
    """Number and rows of the newest row's block; None where rows begin after its first moment."""
    block = block_number(int(rows["time"][-1]), timeframe_s)
    begins = block * BLOCK_CANDLES * timeframe_s * MILLISECONDS
    if int(rows["time"][0]) > begins:
        return None
    return block, rows[np.searchsorted(rows["time"], begins) :]


def block_numbers(rows: Rows, timeframe_s: int) -> NDArray[np.int64]:
    """The block that each row belongs to."""
    numbers: NDArray[np.int64] = rows["time"] // (BLOCK_CANDLES * timeframe_s * MILLISECONDS)
    return numbers


def between(rows: Rows, first: int, last: int) -> Rows:
    """Rows with an open time from `first` to `last`; times ascend."""
    begin, end = np.searchsorted(rows["time"], (first, last + 1))
    return rows[begin:end]


def extends(rows: Rows, known: Rows) -> bool:
    """Whether rows equal what is known of their span, and else only go on after it."""
    if len(known) == 0:
        return True
    first, last = int(rows["time"][0]), min(int(rows["time"][-1]), int(known["time"][-1]))
    return between(rows, first, last).tobytes() == between(known, first, last).tobytes()


def joined(known: Rows, rows: Rows) -> Rows:
    """What is known, and the rows after it."""
    if len(known) == 0:
        return rows
    fresh = rows[np.searchsorted(rows["time"], int(known["time"][-1]), side="right") :]
    # As bytes: to concatenate structured arrays takes ten times as long.
    return unpacked((known.tobytes(), fresh.tobytes())) if len(fresh) else known


def changed_blocks(whole: Rows, kept: int, timeframe_s: int) -> Iterator[tuple[int, Rows]]:
    """Number and rows of each block that holds a row beyond the first `kept` ones."""
    if kept == len(whole):
        return
    numbers = block_numbers(whole, timeframe_s)
    first = int(np.searchsorted(numbers, numbers[kept]))
    while first < len(whole):
        block = int(numbers[first])
        last = int(np.searchsorted(numbers, block, side="right"))
        yield block, whole[first:last]
        first = last


def block_number(time_ms: int, timeframe_s: int) -> int:
    """The block that a candle of this open time belongs to."""
    return time_ms // (BLOCK_CANDLES * timeframe_s * MILLISECONDS)
