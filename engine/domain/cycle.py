"""Values of a trading cycle: what is asked, planned, reported and summed up."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from engine.domain.model import (
    Instrument,
    MarketClock,
    Order,
    OrderIntent,
    PortfolioSnapshot,
    RiskDecision,
    Signal,
    TradingState,
    Value,
)


class Trigger(StrEnum):
    """What asked for a cycle."""

    SCHEDULE = "schedule"
    MANUAL = "manual"


class CycleStatus(StrEnum):
    """The life of a cycle: RUNNING, then exactly one of the others."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    DEGRADED = "DEGRADED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    ABORTED = "ABORTED"


class Stage(StrEnum):
    """The steps of a cycle, in order."""

    SELECT = "select"
    FETCH = "fetch"
    EVALUATE = "evaluate"
    RISK = "risk"
    ALLOCATE = "allocate"
    EXECUTE = "execute"
    FINISH = "finish"


class OutcomeStatus(StrEnum):
    """What became of a symbol in a cycle."""

    OK = "OK"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


class CycleRequest(Value, frozen=True, kw_only=True):
    """A wish for a cycle. `key` is unique: `schedule|slot` or `request|id`.

    `symbols` None means the whole liquid universe; held symbols always take part.
    """

    key: str
    trigger: Trigger
    scheduled_at: datetime
    symbols: tuple[str, ...] | None = None
    dry_run: bool = False


class CycleTimes(Value, frozen=True, kw_only=True):
    """The instants (wall time) that bound a cycle; see `timing`."""

    started_at: datetime
    allocate_by: datetime
    cutoff_at: datetime
    deadline_at: datetime
    close_by: datetime


class Batch(Value, frozen=True, kw_only=True):
    """Symbols that are worked on together. `held` batches hold open positions and come first."""

    number: int
    symbols: tuple[str, ...]
    held: bool = False


class BatchRef(Value, frozen=True, kw_only=True):
    """The reference that travels between tasks: ids, a number and symbols, never data."""

    cycle_id: str
    batch: int
    symbols: tuple[str, ...]


class Degradation(Value, frozen=True, kw_only=True):
    """A service that did not serve, since when, and what is therefore not done.

    The report of a closed cycle adds `effect` and `since`; `lowers` is the trading state that it
    implies beyond its cycle, where it does.
    """

    service: str
    reason: str
    effect: str = ""
    since: datetime | None = None
    lowers: TradingState | None = None


class SymbolOutcome(Value, frozen=True, kw_only=True):
    """What became of one symbol, at the stage that ended its way."""

    symbol: str
    batch: int
    stage: Stage
    status: OutcomeStatus
    reason: str = ""


class DroppedSignal(Value, frozen=True, kw_only=True):
    """A signal that goes no further, and why."""

    signal: Signal
    reason: str


class CyclePlan(Value, frozen=True, kw_only=True):
    """What an opened cycle will do. `snapshot` is None when the portfolio did not answer.

    `may_enter` is False, with a degradation that says why, when no entry may leave in this
    cycle (prices or account unknown, reconciliation unfinished).
    """

    cycle_id: str
    epoch: int
    times: CycleTimes
    clock: MarketClock
    market_time: datetime
    dry_run: bool
    trading_state: TradingState
    may_enter: bool
    may_send: bool
    instruments: tuple[Instrument, ...]
    batches: tuple[Batch, ...]
    snapshot: PortfolioSnapshot | None
    outcomes: tuple[SymbolOutcome, ...] = ()
    degraded: tuple[Degradation, ...] = ()
    select_seconds: float = 0.0


class BatchInput(Value, frozen=True, kw_only=True):
    """Everything a batch's steps need of the plan: its own slice, nothing of other batches.

    `snapshot.positions` holds only this batch's symbols; cash and equity are the account's.
    """

    ref: BatchRef
    epoch: int
    times: CycleTimes
    clock: MarketClock
    market_time: datetime
    dry_run: bool
    trading_state: TradingState
    may_enter: bool
    instruments: tuple[Instrument, ...]
    snapshot: PortfolioSnapshot | None


class SymbolFacts(Value, frozen=True, kw_only=True):
    """What the ledger knows of a symbol's past, for the per-symbol rules. Times: market time.

    `owner` is the strategy of the open position or open intent. `stop_price` and
    `target_price` are the tightest among the filled entries of the open position.
    `strategy_orders_today` counts filled orders of this UTC day by `strategy|side`.
    `exits_requested` maps the opening of a position that an operator wants left to the reason.
    `attempts` maps a decision key to (attempts so far, whether a further one is allowed).
    """

    symbol: str
    owner: str | None = None
    last_exit_at: datetime | None = None
    orders_last_hour: int = 0
    stop_exits_at: tuple[datetime, ...] = ()
    strategy_orders_today: dict[str, int] = {}
    disabled_strategies: tuple[str, ...] = ()
    quarantined: bool = False
    open_sell_quantity: Decimal = Decimal(0)
    position_fill_id: str = ""
    exits_requested: dict[datetime, str] = {}
    stop_price: Decimal | None = None
    target_price: Decimal | None = None


class BatchReport(Value, frozen=True, kw_only=True):
    """A batch's one complete result. `failed` is empty, or why the whole batch failed."""

    cycle_id: str
    batch: int
    outcomes: tuple[SymbolOutcome, ...]
    signals_kept: tuple[Signal, ...] = ()
    signals_dropped: tuple[DroppedSignal, ...] = ()
    candidates: tuple[OrderIntent, ...] = ()
    denied: tuple[RiskDecision, ...] = ()
    degraded: tuple[Degradation, ...] = ()
    step_seconds: dict[str, float] = {}
    failed: str = ""


class Attempt(Value, frozen=True, kw_only=True):
    """The latest attempt of a decision: how many there were, and how the last one stands."""

    count: int
    last_terminal: bool
    last_filled: bool


class AllocationFacts(Value, frozen=True, kw_only=True):
    """What the ledger knows under the account's lock, for the one decision of a cycle.

    `open_orders` are those not proved terminal, with the quantity filled so far;
    `late_orders` are terminal ones that have fills above the snapshot's `applied_seq`
    (`unapplied` gives that filled quantity by client_order_id, for both kinds).
    Counts are in market time. `attempts` is by decision key.
    """

    trading_state: TradingState
    candidates: tuple[OrderIntent, ...]
    open_orders: tuple[Order, ...]
    late_orders: tuple[Order, ...]
    unapplied: dict[str, Decimal]
    orders_last_minute: int
    attempts: dict[str, Attempt]
    entry_stops: dict[str, Decimal]


class SymbolCounts(Value, frozen=True, kw_only=True):
    """Symbols of a cycle by what became of them."""

    selected: int = 0
    evaluated: int = 0
    skipped: int = 0
    failed: int = 0


class BatchCounts(Value, frozen=True, kw_only=True):
    """Batches of a cycle."""

    total: int = 0
    ok: int = 0
    failed: int = 0


class SignalCounts(Value, frozen=True, kw_only=True):
    """Signals of a cycle. `received` excludes `hold`."""

    received: int = 0
    kept: int = 0
    dropped: int = 0


class OrderCounts(Value, frozen=True, kw_only=True):
    """Candidates and orders of a cycle. `submitted` counts orders that were sent at least once."""

    candidates: int = 0
    approved: int = 0
    denied: int = 0
    submitted: int = 0
    filled: int = 0
    rejected: int = 0
    unknown: int = 0


class CycleReport(Value, frozen=True, kw_only=True):
    """The summary of a cycle, as `GET /cycles` shows it.

    `skips` counts the symbols that were skipped, by the kind of fault (`quality.fault_word`).
    """

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
    market_time: datetime | None = None
    symbols: SymbolCounts = SymbolCounts()
    batches: BatchCounts = BatchCounts()
    signals: SignalCounts = SignalCounts()
    orders: OrderCounts = OrderCounts()
    degraded: tuple[Degradation, ...] = ()
    step_seconds: dict[str, float] = {}
    reason: str = ""
    skips: dict[str, int] = {}
