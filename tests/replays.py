"""Small histories, and replays of them in memory."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from engine.domain.candles import Candles
from replay.__main__ import Replayed, replay
from replay.options import Options, read_options

HOUR_MS = 3_600_000
START_MS = 1_700_006_400_000  # a midnight, UTC


def quiet(_done: int, _total: int) -> None:
    """No progress is shown."""


def waves(seed: int, count: int, *, price: float = 100.0, start_ms: int = START_MS) -> Candles:
    """Prices of two decimals that swing up and down, with noise; a volume that never binds."""
    random = np.random.default_rng(seed)
    phase = np.arange(count) / random.uniform(8, 20) + random.uniform(0, 6)
    middle = price * (1 + 0.1 * np.sin(phase)) * (1 + 0.01 * random.standard_normal(count))
    close = np.round(np.maximum(middle, 1.0), 2)
    start = np.concatenate(([round(price, 2)], close[:-1]))
    high = np.round(np.maximum(start, close) * (1 + 0.01 * random.random(count)), 2)
    low = np.round(np.minimum(start, close) * (1 - 0.01 * random.random(count)), 2)
    time = start_ms + np.arange(count, dtype=np.int64) * HOUR_MS
    return Candles.of(time, start, np.maximum(high, start), low, close, np.full(count, 1e6))


def write(path: Path, candles: dict[str, Candles]) -> Path:
    """The candles as a parquet file."""
    names = ("ts", "open", "high", "low", "close", "volume")
    columns: dict[str, list[object]] = {name: [] for name in ("symbol", *names)}
    for symbol, series in candles.items():
        columns["symbol"] += [symbol] * len(series)
        for name, column in zip(names, (series.time, *series.prices()), strict=True):
            columns[name] += column.tolist()
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def replayed(path: Path, *arguments: str, environ: dict[str, str] | None = None) -> Replayed:
    """A replay of the file with these options."""
    given = ("--data", str(path), *arguments)
    return replay(_options(given, tuple(sorted((environ or {}).items()))), quiet)


@functools.lru_cache(maxsize=64)
def _options(given: tuple[str, ...], environ: tuple[tuple[str, str], ...]) -> Options:
    """Read once: a property asks for the same ones again and again."""
    return read_options(given, dict(environ))
