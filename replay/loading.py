"""The candles that are replayed, read from the files that the options name."""

from __future__ import annotations

from pathlib import Path

from engine.domain.candles import Candles
from engine.errors import ConfigError
from replay.options import Options
from services.market_data.feeds.tables import read_candles

LEAST_CANDLES = 3


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


def _before(rows: Candles, to_ms: int) -> Candles:
    early = rows.time < to_ms
    return rows.chosen(early)
