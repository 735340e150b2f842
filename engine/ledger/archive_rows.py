"""What decisions were made from: each candle kept once, and the inputs of each step.

A series grows at its end. A window whose rows differ from what is kept of its span begins a new
edition of its symbol, so that cycles before it still find theirs.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Connection, and_, bindparam, select

from engine.domain import candle_rows
from engine.domain.candle_rows import Rows
from engine.domain.cycle import BatchRef, Stage
from engine.domain.kept_inputs import (
    AllocationRecord,
    DecisionSettings,
    StepInputs,
    Window,
)
from engine.domain.model import Candles
from engine.errors import NotFound
from engine.ledger.column_types import AnyRow
from engine.ledger.connections import Connections
from engine.ledger.records import dump, insert_new, upsert_all
from engine.ledger.schema_inputs import (
    candle_blocks,
    candle_series,
    decision_settings,
    step_inputs,
)

NO_BATCH = -1
TIMEFRAME: BindParameter[Any] = bindparam("timeframe")
NAMES: BindParameter[Any] = bindparam("names", expanding=True)
SERIES = select(candle_series).where(
    candle_series.c.timeframe == TIMEFRAME, candle_series.c.symbol.in_(NAMES)
)
LOCKED_SERIES = SERIES.order_by(candle_series.c.symbol).with_for_update()
BLOCKS = select(candle_blocks).order_by(candle_blocks.c.symbol, candle_blocks.c.block)
KEPT_BLOCKS = BLOCKS.join(
    candle_series,
    and_(
        candle_series.c.symbol == candle_blocks.c.symbol,
        candle_series.c.timeframe == candle_blocks.c.timeframe,
        candle_series.c.edition == candle_blocks.c.edition,
    ),
).where(
    candle_blocks.c.timeframe == TIMEFRAME,
    candle_blocks.c.symbol.in_(NAMES),
    candle_blocks.c.block >= bindparam("begin"),
)
WINDOW_BLOCKS = (
    select(candle_blocks.c.data)
    .where(
        candle_blocks.c.symbol == bindparam("symbol"),
        candle_blocks.c.timeframe == TIMEFRAME,
        candle_blocks.c.edition == bindparam("edition"),
        candle_blocks.c.block.between(bindparam("begin"), bindparam("end")),
    )
    .order_by(candle_blocks.c.block)
)


class ArchiveRows:
    """CandleArchive over SQL."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def keep(
        self, timeframe: str, timeframe_s: int, candles: Mapping[str, Candles]
    ) -> tuple[Window, ...]:
        """Keep windows of closed candles, of each what is not kept yet; by symbol."""
        series = {symbol: candle_rows.rows_of(candles[symbol]) for symbol in sorted(candles)}
        digests = {symbol: candle_rows.digest(rows) for symbol, rows in series.items()}
        if not series:
            return ()
        with self._connections.read() as connection:
            known = _known(connection, timeframe, list(series))
        changed = [
            symbol
            for symbol in series
            if symbol not in known or known[symbol].digest != digests[symbol]
        ]
        editions = {symbol: int(row.edition) for symbol, row in known.items()}
        if changed:
            grown = {symbol: series[symbol] for symbol in changed}
            with self._connections.write(durable=False) as connection:
                editions |= _grow(connection, timeframe, timeframe_s, grown, digests)
        return tuple(
            Window(
                symbol=symbol,
                edition=editions[symbol],
                first=int(rows["time"][0]),
                last=int(rows["time"][-1]),
                count=len(rows),
                digest=digests[symbol],
            )
            for symbol, rows in series.items()
        )

    def candles(self, timeframe: str, timeframe_s: int, window: Window) -> Candles:
        """The candles of a kept window, to the bit. Raises NotFound where they are gone."""
        with self._connections.read() as connection:
            rows = _span(
                connection,
                timeframe,
                timeframe_s,
                (window.symbol, window.edition, window.first, window.last),
            )
        if len(rows) != window.count or candle_rows.digest(rows) != window.digest:
            raise NotFound(f"the candles of {window.symbol} that were decided on are gone")
        return candle_rows.candles_of(rows)

    def span(self, timeframe: str, timeframe_s: int, symbol: str, first: int, last: int) -> Candles:
        """Kept candles that opened from `first` to `last` (ms), as they were last seen."""
        with self._connections.read() as connection:
            known = _known(connection, timeframe, [symbol]).get(symbol)
            edition = 0 if known is None else int(known.edition)
            rows = _span(connection, timeframe, timeframe_s, (symbol, edition, first, last))
        return candle_rows.candles_of(rows)

    def keep_settings(self, config_hash: str, kept: DecisionSettings) -> None:
        """Keep the settings that decide, once for each hash."""
        known = select(decision_settings.c.config_hash).where(
            decision_settings.c.config_hash == config_hash
        )
        with self._connections.read() as connection:
            if connection.execute(known).one_or_none() is not None:
                return
        row = {"config_hash": config_hash, "payload": dump(kept)}
        with self._connections.write(durable=False) as connection:
            insert_new(connection, decision_settings, row)


def save_inputs(
    connection: Connection, ref: BatchRef, inputs: Mapping[Stage, StepInputs | AllocationRecord]
) -> None:
    """Keep what steps decided on, in the transaction of their result; a repeat overwrites."""
    rows = [
        {
            "cycle_id": ref.cycle_id,
            "batch": ref.batch,
            "step": step,
            "oldest": min((window.first for window in _windows(each)), default=None),
            "data": zlib.compress(msgspec.json.encode(each)),
        }
        for step, each in inputs.items()
    ]
    upsert_all(connection, step_inputs, rows, "cycle_id", "batch", "step")


def _windows(inputs: StepInputs | AllocationRecord) -> tuple[Window, ...]:
    return () if isinstance(inputs, AllocationRecord) else inputs.windows


def allocation_ref(cycle_id: str) -> BatchRef:
    """Under what the inputs of a cycle's allocation are kept."""
    return BatchRef(cycle_id=cycle_id, batch=NO_BATCH, symbols=())


def _known(connection: Connection, timeframe: str, symbols: Sequence[str]) -> dict[str, AnyRow]:
    found = connection.execute(SERIES, {"timeframe": timeframe, "names": list(symbols)})
    return {row.symbol: row for row in found}


def _span(
    connection: Connection, timeframe: str, timeframe_s: int, wanted: tuple[str, int, int, int]
) -> Rows:
    symbol, edition, first, last = wanted
    asked = {
        "symbol": symbol,
        "timeframe": timeframe,
        "edition": edition,
        "begin": candle_rows.block_number(first, timeframe_s),
        "end": candle_rows.block_number(last, timeframe_s),
    }
    blocks = connection.execute(WINDOW_BLOCKS, asked).scalars()
    return candle_rows.between(candle_rows.unpacked(map(bytes, blocks)), first, last)


def _grow(
    connection: Connection,
    timeframe: str,
    timeframe_s: int,
    windows: Mapping[str, Rows],
    digests: Mapping[str, str],
) -> dict[str, int]:
    """Write what is new of each window; the edition that it is kept in, by symbol."""
    names = list(windows)
    locked = connection.execute(LOCKED_SERIES, {"timeframe": timeframe, "names": names})
    known = {row.symbol: row for row in locked}
    kept = _kept_rows(connection, timeframe, timeframe_s, windows)
    editions: dict[str, int] = {}
    blocks: list[dict[str, Any]] = []
    series: list[dict[str, Any]] = []
    for symbol, rows in windows.items():
        edition = int(known[symbol].edition) if symbol in known else 0
        before = kept.get(symbol, rows[:0])
        if not candle_rows.extends(rows, before):
            edition, before = edition + 1, rows[:0]
        editions[symbol] = edition
        whole = candle_rows.joined(before, rows)
        key = {"symbol": symbol, "timeframe": timeframe, "edition": edition}
        for block, part in candle_rows.changed_blocks(whole, len(before), timeframe_s):
            data = {"newest": int(part["time"][-1]), "data": part.tobytes()}
            blocks.append({**key, "block": block, **data})
        series.append({**key, "newest": int(whole["time"][-1]), "digest": digests[symbol]})
    upsert_all(connection, candle_blocks, blocks, "symbol", "timeframe", "edition", "block")
    upsert_all(connection, candle_series, series, "symbol", "timeframe")
    return editions


def _kept_rows(
    connection: Connection, timeframe: str, timeframe_s: int, windows: Mapping[str, Rows]
) -> dict[str, Rows]:
    """Of each symbol's newest edition the blocks from the windows' first one on."""
    first = min(int(rows["time"][0]) for rows in windows.values())
    begin = candle_rows.block_number(first, timeframe_s)
    asked = {"timeframe": timeframe, "names": list(windows), "begin": begin}
    blocks: dict[str, list[bytes]] = {}
    for row in connection.execute(KEPT_BLOCKS, asked):
        blocks.setdefault(row.symbol, []).append(bytes(row.data))
    return {symbol: candle_rows.unpacked(parts) for symbol, parts in blocks.items()}
