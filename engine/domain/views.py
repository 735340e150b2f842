"""What the ledger shows: pages, one cycle or order whole, and the figures that rates come from."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar

from engine.domain.cycle import (
    BatchCounts,
    CycleReport,
    CycleStatus,
    Degradation,
    OrderCounts,
    SignalCounts,
    Stage,
    SymbolCounts,
    SymbolOutcome,
    Trigger,
)
from engine.domain.model import (
    Fill,
    Order,
    OrderStatus,
    RiskDecision,
    Side,
    Signal,
    Value,
)
from engine.domain.spans import StepSpan

T = TypeVar("T")


class Page(Value, Generic[T], frozen=True, kw_only=True):
    """Some items, and the cursor that asks for the next ones; None at the end."""

    items: tuple[T, ...]
    next_before: str | None = None


class BatchView(Value, frozen=True, kw_only=True):
    """One batch of a cycle. `failed` is why it failed, or empty."""

    number: int
    symbols: tuple[str, ...]
    held: bool
    claimed_by: str
    tries: int
    reported_at: datetime | None
    failed: str
    step_seconds: dict[str, float]
    began_at: datetime | None = None


class SignalView(Value, frozen=True, kw_only=True):
    """A signal of a cycle; `reason` is why it was dropped, or empty."""

    signal: Signal
    batch: int
    kept: bool
    reason: str


class CycleDetail(Value, frozen=True, kw_only=True):
    """A cycle whole: the fields of its report, and everything behind them."""

    cycle_id: str
    epoch: int | None
    trigger: Trigger
    status: CycleStatus
    scheduled_at: datetime
    started_at: datetime
    finished_at: datetime | None
    duration_s: float | None
    config_hash: str
    dry_run: bool
    market_time: datetime | None
    symbols: SymbolCounts
    batches: BatchCounts
    signals: SignalCounts
    orders: OrderCounts
    degraded: tuple[Degradation, ...]
    step_seconds: dict[str, float]
    reason: str
    skips: dict[str, int]
    outcomes: tuple[SymbolOutcome, ...]
    batch_list: tuple[BatchView, ...]
    signal_list: tuple[SignalView, ...]
    decisions: tuple[RiskDecision, ...]
    order_ids: tuple[str, ...]
    request: str
    cutoff_at: datetime
    deadline_at: datetime
    steps: tuple[StepSpan, ...]
    order_list: tuple[OrderRow, ...]


class CycleProgress(Value, frozen=True, kw_only=True):
    """A running cycle: its report so far, and how far it is."""

    report: CycleReport
    stage: Stage
    batches_reported: int
    batches_total: int
    orders_total: int
    orders_done: int
    cutoff_at: datetime
    deadline_at: datetime
    steps: tuple[StepSpan, ...] = ()


class OrderRow(Value, frozen=True, kw_only=True):
    """An order in a list; `why` explains it in one line."""

    client_order_id: str
    cycle_id: str
    at: datetime
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal
    status: OrderStatus
    filled_quantity: Decimal
    average_price: Decimal | None
    fees: Decimal
    strategy: str
    exit_reason: str
    why: str
    binding_rule: str = ""
    confidence: float = 0.0


class Transition(Value, frozen=True, kw_only=True):
    """A step in the life of an order; `from_status` None at its reservation."""

    at: datetime
    from_status: OrderStatus | None
    to_status: OrderStatus
    cause: str
    detail: str


class OrderStory(Value, frozen=True, kw_only=True):
    """An order whole. `signal` is None for exits; both are None for an adopted order."""

    order: Order
    why: str
    signal: Signal | None
    decision: RiskDecision | None
    transitions: tuple[Transition, ...]
    fills: tuple[Fill, ...]
    batch: int | None = None


class Rates(Value, frozen=True, kw_only=True):
    """Counts since an instant (wall time).

    `durations_s` are those of the latest closed cycles that ran, newest first, at most 500.
    """

    cycles_by_status: dict[str, int]
    durations_s: tuple[float, ...]
    symbols_per_cycle: float | None
    orders_submitted: int
    orders_filled: int
    step_seconds: dict[str, float]
    alerts_open: int


class DecisionTally(Value, frozen=True, kw_only=True):
    """Decisions by (verdict, binding rule) up to `number`, the cursor of the next reading."""

    counts: dict[tuple[str, str], int]
    number: int


class StoredAnswer(Value, frozen=True, kw_only=True):
    """The first answer under an Idempotency-Key; `mismatch`: the body was another one."""

    status: int
    body: str
    mismatch: bool = False


class AuditEntry(Value, frozen=True, kw_only=True):
    """Who asked for what, from where, and what was answered.

    `actor` is the name of the key (never the key), `source` the address of the other side.
    """

    request_id: str
    actor: str
    method: str
    route: str
    status: int
    detail: str = ""
    source: str = ""


class AuditRow(AuditEntry, frozen=True, kw_only=True):
    """An entry as it is shown."""

    at: datetime
