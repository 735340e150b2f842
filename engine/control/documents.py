"""What the control API answers: one struct a document, named as on the wire."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from engine.control.operator_documents import Market
from engine.domain.cycle import (
    BatchCounts,
    CycleReport,
    OrderCounts,
    SignalCounts,
    Stage,
    SymbolCounts,
    Trigger,
)
from engine.domain.ledger_values import DerivedCause, Latch
from engine.domain.model import TradingState, Value
from engine.domain.risk import LimitUsage
from engine.domain.spans import StepSpan

Schedule = Literal["running", "stopped"]
Mode = Literal["paper", "live"]
Confirmation = Literal["confirmed", "unconfirmed"]
CheckStatus = Literal["ok", "degraded", "down"]


class Started(Value, frozen=True, kw_only=True):
    """`POST /start`: whether anything changed, and when the next cycle begins."""

    schedule: Schedule
    changed: bool
    trading_state: TradingState
    next_cycle_at: datetime | None


class Stopped(Value, frozen=True, kw_only=True):
    """`POST /stop`: the cycle in progress, if any, still finishes."""

    schedule: Schedule
    changed: bool
    cycle_in_progress: str | None


class CycleAccepted(Value, frozen=True, kw_only=True):
    """`POST /cycle`: the cycle is open; its report will be at `status_url`."""

    cycle_id: str
    status_url: str


class Halted(Value, frozen=True, kw_only=True):
    """`POST /halt`: what holds now. `unconfirmed` is repeated until it is confirmed."""

    trading_state: TradingState
    ledger: Confirmation
    execution: Confirmation
    cancelled: tuple[str, ...]
    failed: tuple[str, ...]


class Resumed(Value, frozen=True, kw_only=True):
    """`POST /resume`: `trading_state` is the effective one; `derived` still hold it down."""

    trading_state: TradingState
    operator: TradingState
    derived: tuple[DerivedCause, ...]


class StateStory(Value, frozen=True, kw_only=True):
    """The effective trading state and what it is made of."""

    value: TradingState
    operator: TradingState
    reason: str
    since: datetime
    latched: tuple[Latch, ...]
    derived: tuple[DerivedCause, ...]


class LatchedCause(Value, frozen=True, kw_only=True):
    """A cause that holds the state down until `POST /resume`."""

    cause: str
    since: datetime
    detail: str


class DegradedService(Value, frozen=True, kw_only=True):
    """A service that does not serve, since when, and what is therefore not done."""

    service: str
    reason: str
    since: datetime | None
    effect: str


class Progress(Value, frozen=True, kw_only=True):
    """How far a running cycle is."""

    stage: Stage
    batches_reported: int
    batches_total: int
    orders_total: int
    orders_done: int
    cutoff_at: datetime
    deadline_at: datetime
    steps: tuple[StepSpan, ...]


class CurrentCycle(Value, frozen=True, kw_only=True):
    """The cycle that is running."""

    cycle_id: str
    epoch: int | None
    trigger: Trigger
    scheduled_at: datetime
    started_at: datetime
    dry_run: bool
    config_hash: str
    symbols: SymbolCounts
    batches: BatchCounts
    signals: SignalCounts
    orders: OrderCounts
    progress: Progress


class WorkerState(Value, frozen=True, kw_only=True):
    """A worker by its last heartbeat. CPU in percent of one core, memory resident."""

    name: str
    queues: tuple[str, ...]
    processes: int
    last_seen_at: datetime
    active: int
    cpu_percent: float
    memory_mb: float


class ProcessState(Value, frozen=True, kw_only=True):
    """One process; `worker` is empty for one that is no worker's."""

    worker: str
    name: str
    pid: int
    cpu_percent: float
    memory_mb: float


class BeatState(Value, frozen=True, kw_only=True):
    """Whether beat ticks."""

    alive: bool
    last_tick_at: datetime | None


class ServiceState(Value, frozen=True, kw_only=True):
    """A service as the last calls and checks found it. `error_rate` is over 5 minutes, 0 to 1."""

    url: str
    breaker: str
    last_ok_at: datetime | None
    latency_ms: float | None
    error_rate: float | None


class PortfolioState(Value, frozen=True, kw_only=True):
    """The account as last read. `positions` counts them; fractions are of day start and peak."""

    currency: str
    equity: Decimal
    cash: Decimal
    positions: int
    day_pnl: Decimal
    drawdown: Decimal
    as_of: datetime


class Quantiles(Value, frozen=True, kw_only=True):
    """Seconds of a cycle, over the latest ones."""

    p50: float | None
    p95: float | None


class RecentPerformance(Value, frozen=True, kw_only=True):
    """Cycles of the last 24 h. Rates are None where nothing was counted yet."""

    cycles: int
    success_rate: float | None
    trade_success_rate: float | None
    symbols_per_cycle: float | None
    cycle_seconds: Quantiles


class Status(Value, frozen=True, kw_only=True):
    """`GET /status`."""

    service: str
    version: str
    account: str
    mode: Mode
    simulated: bool
    market_time: datetime | None
    market: Market
    schedule: Schedule
    trading_state: TradingState
    state: StateStory
    latched: tuple[LatchedCause, ...]
    limits: tuple[LimitUsage, ...]
    degraded: tuple[DegradedService, ...]
    cycle_interval: float
    next_cycle_at: datetime | None
    current_cycle: CurrentCycle | None
    last_cycle: CycleReport | None
    last_cycle_steps: tuple[StepSpan, ...]
    workers: tuple[WorkerState, ...]
    beat: BeatState
    queues: dict[str, int]
    services: dict[str, ServiceState]
    portfolio: PortfolioState | None
    performance: RecentPerformance
    alerts_open: int
    flower_url: str | None


class Check(Value, frozen=True, kw_only=True):
    """The health of one component, as of `checked_at`."""

    status: CheckStatus
    latency_ms: float | None
    detail: str
    checked_at: datetime | None


class Health(Value, frozen=True, kw_only=True):
    """`GET /health`."""

    status: CheckStatus
    checks: dict[str, Check]


class ConfigAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /config`: the effective settings without secrets, and their hash."""

    config_hash: str
    settings: dict[str, object]
