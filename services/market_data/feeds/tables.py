"""Reads candle files (parquet, CSV, or a folder of them) into one array per symbol and column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from engine.domain.candles import CandleColumns, Candles, joined
from engine.errors import ConfigError

COLUMNS = ("symbol", "ts", "open", "high", "low", "close", "volume")
SUFFIXES = (".parquet", ".csv")


def read_candles(path: Path) -> dict[str, Candles]:
    """Rows of all files by symbol, in the order of the files.

    Rows stay as they are: disordered, repeated and non-finite ones are for the reader to judge.
    Raises ConfigError with one line that says what is wrong, and where.
    """
    merged = pa.concat_tables([_read_table(file) for file in _files(path)])
    if merged.num_rows == 0:
        raise _fault(path, "has no candles")
    return _by_symbol(merged)


def write_candles(path: Path, candles: Mapping[str, Candles]) -> None:
    """Write a file that `read_candles` reads, in place of one that is there. Raises OSError."""
    names = [symbol for symbol, rows in candles.items() for _ in range(len(rows))]
    series = [rows for rows in candles.values() if len(rows)]
    columns = joined(series or [CandleColumns().candles()]).named()
    arrays = [pa.array(names, pa.string()), *(pa.array(column) for _, column in columns)]
    table = pa.table(dict(zip(COLUMNS, arrays, strict=True)))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    if path.suffix.lower() == ".csv":
        pyarrow.csv.write_csv(table, draft)
    else:
        pyarrow.parquet.write_table(table, draft)
    draft.replace(path)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise _fault(path, "does not exist")
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise _fault(path, "is neither .parquet nor .csv")
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise _fault(path, "holds no .parquet or .csv file")
    return files


def _read_table(path: Path) -> pa.Table:
    """The seven columns of one file, as (text, ms, five floats)."""
    try:
        if path.suffix.lower() == ".csv":
            table = pyarrow.csv.read_csv(path)
        else:
            table = pyarrow.parquet.read_table(path)
    except (OSError, pa.ArrowException) as exc:
        raise _fault(path, f"cannot be read: {_one_line(exc)}") from exc
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        found = ", ".join(table.column_names)
        raise _fault(path, f"lacks the column {', '.join(missing)} (it has {found})")
    return pa.table({name: _column(path, table, name) for name in COLUMNS})


def _column(path: Path, table: pa.Table, name: str) -> pa.ChunkedArray:
    column = table.column(name)
    try:
        if name == "symbol":
            column = pc.cast(column, pa.string())
        elif name == "ts":
            column = _milliseconds(column)
        else:
            return pc.fill_null(pc.cast(column, pa.float64()), float("nan"))
    except pa.ArrowException as exc:
        raise _fault(path, f"has a column {name} of a wrong type: {_one_line(exc)}") from exc
    if column.null_count:
        raise _fault(path, f"has {column.null_count} rows without {name}")
    return column


def _milliseconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Epoch milliseconds, from integers that are that already or from timestamps (UTC)."""
    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.timestamp("ms", tz=column.type.tz), safe=False)
    return pc.cast(column, pa.int64())


def _by_symbol(table: pa.Table) -> dict[str, Candles]:
    symbols = table.column("symbol").combine_chunks().dictionary_encode()
    codes = symbols.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(symbols.dictionary)))
    columns = [table.column(name).to_numpy()[order] for name in COLUMNS[1:]]
    names = symbols.dictionary.to_pylist()
    return {
        name: Candles.of(*(column[begin:end] for column in columns))
        for name, begin, end in zip(names, [0, *ends[:-1].tolist()], ends.tolist(), strict=True)
    }


def _fault(path: Path, what: str) -> ConfigError:
    return ConfigError([f"services.market_data.path: {path} {what}"])


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())
