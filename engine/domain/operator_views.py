"""What an operator is shown beside cycles and orders: decisions, positions, states, alerts, traces.

Money and quantities are decimal text on the wire, fractions are 0 to 1, times UTC.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from engine.domain.candles import CandleColumns
from engine.domain.cycle import Stage
from engine.domain.model import RiskDecision, Side, Signal, TradingState, Value, Verdict


class DecisionRow(Value, frozen=True, kw_only=True):
    """A decision in a list, denied ones too.

    `binding_rule` is the rule that set the size or refused; `client_order_id` is None where no
    order followed.
    """

    decision_id: str
    cycle_id: str
    at: datetime
    market_time: datetime | None
    stage: Stage
    symbol: str
    side: Side
    strategy: str
    confidence: float
    candle_time: int
    asked: Decimal
    quantity: Decimal
    price: Decimal
    verdict: Verdict
    binding_rule: str
    reason: str
    exit_reason: str
    client_order_id: str | None
    why: str


class DecisionStory(Value, frozen=True, kw_only=True):
    """A decision whole. `signal` is None for exits that no strategy asked for."""

    row: DecisionRow
    signal: Signal | None
    decision: RiskDecision


class StateCause(Value, frozen=True, kw_only=True):
    """What held the state down: latched (until a resume) or derived (until it ends itself)."""

    kind: str
    cause: str
    level: TradingState
    detail: str


class StateRow(Value, frozen=True, kw_only=True):
    """A change of the trading state or the schedule: who, what, and what held from then on."""

    at: datetime
    actor: str
    what: str
    operator: TradingState
    effective: TradingState
    causes: tuple[StateCause, ...]


class AlertRow(Value, frozen=True, kw_only=True):
    """An alert; `effect` is what follows, `runbook` the section of the operations guide."""

    alert_id: str
    key: str
    name: str
    severity: str
    detail: str
    cycle_id: str
    opened_at: datetime
    resolved_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    effect: str
    runbook: str


class DisabledStrategy(Value, frozen=True, kw_only=True):
    """A strategy that is throttled for a symbol until it is enabled by hand."""

    strategy: str
    symbol: str
    since: datetime
    reason: str


class PositionRow(Value, frozen=True, kw_only=True):
    """A holding with what it earned unrealised and where it would be left.

    `strategy` is None for a foreign one; `stop_price` the tightest stop of its entries; `share`
    is of equity, `profit_share` of what it cost. `exit_requested` is why an operator wants it
    left, or empty.
    """

    symbol: str
    quantity: Decimal
    average_price: Decimal
    market_price: Decimal
    value: Decimal
    share: Decimal
    profit: Decimal
    profit_share: Decimal
    strategy: str | None
    adopted: bool
    opened_at: datetime
    stop_price: Decimal | None
    target_price: Decimal | None
    exit_requested: str


class TraceEvent(Value, frozen=True, kw_only=True):
    """Something that happened in a cycle, at wall time; `seconds` it took where that is known."""

    at: datetime
    what: str
    detail: str = ""
    batch: int | None = None
    symbol: str = ""
    client_order_id: str = ""
    seconds: float | None = None


class Trace(Value, frozen=True, kw_only=True):
    """A cycle from the request to its end, in order of time; `request` is what asked for it."""

    cycle_id: str
    request: str
    events: tuple[TraceEvent, ...]


class DecisionCandles(Value, frozen=True, kw_only=True):
    """The candles that a decision was made on, up to the one that opened at `candle_time`.

    `source` says where they are from: `ledger` (kept when they were decided on) or `cache` (closed
    candles as the cache holds them now; its window may begin later).
    """

    symbol: str
    timeframe: str
    timeframe_s: int
    candle_time: int
    source: str
    candles: CandleColumns


class Marks(Value, frozen=True, kw_only=True):
    """What changes when anything does: compared, never interpreted."""

    cycle: str
    orders: int
    state: int
    alerts: str
    positions: str
