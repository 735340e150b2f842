"""What decisions were made from: each candle kept once, and the inputs of each step.

A series grows at its end. A window whose rows differ from what is kept of its span begins a new
edition of its symbol, so that cycles before it still find theirs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Connection, and_, bindparam, select

from engine.domain import candle_rows
from engine.domain.candle_rows import Rows
from engine.domain.candles import Candles
from engine.domain.cycle import BatchRef, Stage
from engine.domain.kept_inputs import (
    AllocationRecord,
    DecisionSettings,
    StepInputs,
    Window,
)
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

    def candles(self, timeframe: str, timeframe_s: int, window: Window) -> Candles:
        """The candles of a kept window, to the bit. Raises NotFound where they are gone."""
        with self._connections.read() as connection:
            rows = _span(
                connection,
                timeframe,
                timeframe_s,
                (window.symbol, window.edition, window.first, window.last),
            )
        if len(rows) != window.count or not candle_rows.is_marked(rows, window.digest):
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


class Growth:
    """Windows of closed candles, of which the ledger keeps what it has not yet.

    Made before the transaction that keeps them, which has the rows and digests ready then.
    """

    def __init__(self, timeframe: str, timeframe_s: int, candles: Mapping[str, Candles]) -> None:
        self._timeframe = timeframe
        self._timeframe_s = timeframe_s
        self._windows = {symbol: candle_rows.rows_of(candles[symbol]) for symbol in sorted(candles)}
        self._digests = {
            symbol: candle_rows.digests(rows) for symbol, rows in self._windows.items()
        }
        self._blocks: list[dict[str, Any]] = []
        self._series: list[dict[str, Any]] = []

    def keep(self, connection: Connection) -> dict[str, Window]:
        """Write what is not kept yet, under the lock of the series; where each window is."""
        if not self._windows:
            return {}
        editions = self._take(connection)
        return {
            symbol: Window(
                symbol=symbol,
                edition=editions[symbol],
                first=int(rows["time"][0]),
                last=int(rows["time"][-1]),
                count=len(rows),
                digest=self._digests[symbol].whole,
            )
            for symbol, rows in self._windows.items()
        }

    def _take(self, connection: Connection) -> dict[str, int]:
        asked = {"timeframe": self._timeframe, "names": list(self._windows)}
        known = {row.symbol: row for row in connection.execute(LOCKED_SERIES, asked)}
        editions = {symbol: int(row.edition) for symbol, row in known.items()}
        others: dict[str, Rows] = {}
        for symbol, rows in self._windows.items():
            before = known.get(symbol)
            if before is not None and before.digest == self._digests[symbol].whole:
                continue
            block = self._next(before, symbol, rows)
            if block is None:
                others[symbol] = rows
            else:
                self._add(symbol, editions[symbol], rows, [block])
        editions |= dict(self._compared(connection, others, editions))
        # The newest blocks lie side by side then: those are written again at the next candle.
        self._blocks.sort(key=itemgetter("block"))
        keys = ("symbol", "timeframe", "edition", "block")
        upsert_all(connection, candle_blocks, self._blocks, *keys)
        upsert_all(connection, candle_series, self._series, "symbol", "timeframe")
        return editions

    def _next(self, before: AnyRow | None, symbol: str, rows: Rows) -> tuple[int, Rows] | None:
        """The one block that changes where one candle came after the window that is kept."""
        if before is None or len(rows) == 1 or before.newest != int(rows["time"][-2]):
            return None
        if self._digests[symbol].but_newest not in {before.digest, before.tail_digest}:
            return None
        return candle_rows.newest_block(rows, self._timeframe_s)

    def _compared(
        self, connection: Connection, windows: Mapping[str, Rows], editions: Mapping[str, int]
    ) -> Iterator[tuple[str, int]]:
        """Row by row with what is kept; a past that differs begins a new edition."""
        kept = self._kept(connection, windows) if windows else {}
        for symbol, rows in windows.items():
            edition, before = editions.get(symbol, 0), kept.get(symbol, rows[:0])
            if not candle_rows.extends(rows, before):
                edition, before = edition + 1, rows[:0]
            whole = candle_rows.joined(before, rows)
            changed = candle_rows.changed_blocks(whole, len(before), self._timeframe_s)
            self._add(symbol, edition, whole, changed)
            yield symbol, edition

    def _add(
        self, symbol: str, edition: int, rows: Rows, blocks: Iterable[tuple[int, Rows]]
    ) -> None:
        key = {"symbol": symbol, "timeframe": self._timeframe, "edition": edition}
        for block, part in blocks:
            data = {"newest": int(part["time"][-1]), "data": part.tobytes()}
            self._blocks.append({**key, "block": block, **data})
        marks = self._digests[symbol]
        newest = {"newest": int(rows["time"][-1])}
        self._series.append(
            {**key, **newest, "digest": marks.whole, "tail_digest": marks.but_oldest}
        )

    def _kept(self, connection: Connection, windows: Mapping[str, Rows]) -> dict[str, Rows]:
        """Of each symbol's newest edition the blocks from the windows' first one on."""
        first = min(int(rows["time"][0]) for rows in windows.values())
        begin = candle_rows.block_number(first, self._timeframe_s)
        asked = {"timeframe": self._timeframe, "names": list(windows), "begin": begin}
        blocks: dict[str, list[bytes]] = {}
        for row in connection.execute(KEPT_BLOCKS, asked):
            blocks.setdefault(row.symbol, []).append(bytes(row.data))
        return {symbol: candle_rows.unpacked(parts) for symbol, parts in blocks.items()}
