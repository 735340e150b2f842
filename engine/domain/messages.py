"""What the five services answer, as values; the formats are the published contracts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from engine.domain.candles import Candles
from engine.domain.model import ExecutionEvent, Instrument, MarketClock, Quote, Signal, Value


class SymbolList(Value, frozen=True, kw_only=True):
    """`GET /symbols`: the tradable universe, by volume, at the market's now."""

    as_of: datetime
    clock: MarketClock
    symbols: tuple[Instrument, ...]


class MarketTime(Value, frozen=True, kw_only=True):
    """`POST /clock`: the market's now; `ended` once a replay has no further candle."""

    as_of: datetime
    clock: MarketClock
    ended: bool = False


@dataclass(frozen=True)
class CandleAnswer:
    """`POST /ohlcv`: each asked symbol is in exactly one of `candles` and `errors`."""

    as_of: datetime
    clock: MarketClock
    candles: dict[str, Candles]
    errors: dict[str, str]


class QuoteAnswer(Value, frozen=True, kw_only=True):
    """`POST /quotes`: each asked symbol is in exactly one of `quotes` and `errors`."""

    as_of: datetime
    clock: MarketClock
    quotes: dict[str, Quote]
    errors: dict[str, str] = {}


class StrategyChoice(Value, frozen=True, kw_only=True):
    """A configured strategy: `id` is ours and unique, `name` is the strategy engine's."""

    id: str
    name: str
    parameters: dict[str, float | int | str | bool] = {}


class EvaluateAnswer(Value, frozen=True, kw_only=True):
    """`POST /evaluate`: signals, and a text for each symbol that could not be judged.

    `takes_packed`: the service reads candles packed (`packed_candles`) as well as in lists.
    """

    input_id: str
    signals: tuple[Signal, ...]
    errors: dict[str, str] = {}
    takes_packed: bool = False


class Fence(Value, frozen=True, kw_only=True):
    """`GET /fence`: the lowest epoch that may still trade, and the identity of the log."""

    epoch: int
    log_id: str
    halted: bool = False


class SwitchChange(Value, frozen=True, kw_only=True):
    """Fence and kill switch from one moment on; events with a seq above `after_seq` came later."""

    at: datetime
    after_seq: int
    epoch: int
    halted: bool


class SwitchHistory(Value, frozen=True, kw_only=True):
    """`GET /switches` of the reference service: every change, the first first."""

    log_id: str
    changes: tuple[SwitchChange, ...]


class EventPage(Value, frozen=True, kw_only=True):
    """`GET /events`: events in seq order, and the seq of the newest one there is."""

    log_id: str
    events: tuple[ExecutionEvent, ...]
    head: int


class FillsApplied(Value, frozen=True, kw_only=True):
    """`POST /fills`: what was applied now, and what had been applied before."""

    applied_seq: int
    applied: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()


class HaltAnswer(Value, frozen=True, kw_only=True):
    """`POST /halt` of the execution service."""

    halted: bool
    cancelled: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class EquityPoint(Value, frozen=True, kw_only=True):
    """One point of the equity curve, at market time."""

    time: datetime
    equity: str
    cash: str


class MonitoringEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event for the monitoring service; unique by `event_id`."""

    event_id: str
    type: str
    at: datetime
    severity: str
    cycle_id: str = ""
    data: dict[str, object] = {}
