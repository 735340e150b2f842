"""Protocols between the pipeline and the world, and the bundle of them that a process holds.

The pipeline, the reconciler and the controls see these and nothing concrete, so that a fake, an
in-memory database or a simulated clock can stand in for any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from engine.domain.cycle import (
    AllocationFacts,
    BatchInput,
    BatchRef,
    BatchReport,
    CyclePlan,
    CycleReport,
    CycleRequest,
    CycleTimes,
    Stage,
    SymbolFacts,
)
from engine.domain.ledger_values import (
    Allocation,
    CycleFacts,
    LedgerState,
    NewAlert,
    OpenCycle,
    OpenedCycle,
    SendGrant,
    Unresolved,
)
from engine.domain.messages import (
    CandleAnswer,
    EquityPoint,
    EvaluateAnswer,
    EventPage,
    Fence,
    FillsApplied,
    HaltAnswer,
    MarketTime,
    MonitoringEvent,
    QuoteAnswer,
    StrategyChoice,
    SymbolList,
)
from engine.domain.model import (
    Candles,
    ExecutionEvent,
    Fill,
    Order,
    OrderIntent,
    PortfolioSnapshot,
    Position,
    TradingState,
    VenueOrder,
)
from engine.service_settings import ServiceName
from engine.settings import Settings


class Clock(Protocol):
    """Wall time. Market time comes from the market data service alone."""

    def now(self) -> datetime:
        """The current instant, aware, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; a simulated clock moves on instead."""
        ...


class MarketData(Protocol):
    """Symbols, candles and quotes. All raise ServiceError."""

    def symbols(self) -> SymbolList:
        """The whole universe, by volume; filtering is the engine's."""
        ...

    def advance(self, cycle_id: str, candles: int) -> MarketTime:
        """Move a replay clock by whole candles, once per `cycle_id`; a repeat moves nothing."""
        ...

    def candles(
        self, symbols: Sequence[str], timeframe: str, limit: int, since: dict[str, int]
    ) -> CandleAnswer:
        """Closed candles, ascending; for a symbol in `since` only those that opened later."""
        ...

    def quotes(self, symbols: Sequence[str]) -> QuoteAnswer:
        """Best bid and ask of each symbol."""
        ...


class StrategyEngine(Protocol):
    """Signals from candles. Raises ServiceError."""

    def evaluate(
        self,
        timeframe: str,
        strategies: Sequence[StrategyChoice],
        market_data: dict[str, Candles],
        positions: Sequence[Position],
        input_id: str,
    ) -> EvaluateAnswer:
        """Ask every strategy about every symbol. A wrong `input_id` in the answer: BadPayload."""
        ...


class Portfolio(Protocol):
    """Cash and positions. All raise ServiceError."""

    def snapshot(self) -> PortfolioSnapshot:
        """The account, read in one transaction."""
        ...

    def apply_fills(self, through_seq: int, fills: Sequence[Fill]) -> FillsApplied:
        """Relay every fill up to `through_seq`. A gap: ServiceRejected, kind `gap`."""
        ...

    def post_marks(self, prices: dict[str, str], as_of: datetime) -> None:
        """Tell market prices (decimal text) at market time `as_of`."""
        ...

    def equity(self, since: datetime | None) -> tuple[EquityPoint, ...]:
        """The equity curve from `since` on."""
        ...


class Execution(Protocol):
    """The one account's orders. All raise ServiceError."""

    def submit(self, client_order_id: str, body: str, timeout_s: float) -> VenueOrder:
        """Send the frozen bytes once; never retried here.

        Raises OrderStateUnknown where the fate is unknown; ServiceRejected or
        ServiceUnavailable(accepted=False) where this request certainly had no effect.
        """
        ...

    def order(self, client_order_id: str) -> VenueOrder | None:
        """The order as recorded now; None proves nothing."""
        ...

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """Orders that are not terminal."""
        ...

    def void(self, client_order_id: str) -> VenueOrder:
        """Make sure that the id can never be accepted any more; the resulting state."""
        ...

    def fence(self) -> Fence:
        """The fence, the log's identity and the kill switch."""
        ...

    def set_fence(self, epoch: int) -> Fence:
        """Raise the fence. ServiceRejected, kind `fenced`, when it already stands higher."""
        ...

    def halt(self, reason: str, *, cancel_open: bool) -> HaltAnswer:
        """Set the service's kill switch."""
        ...

    def resume(self, reason: str) -> None:
        """Release the service's kill switch."""
        ...

    def events(self, after: int, limit: int) -> EventPage:
        """Events with a seq above `after`, in order."""
        ...


class Monitoring(Protocol):
    """Where events go. `publish` raises ServiceError."""

    def publish(self, events: Sequence[MonitoringEvent]) -> None:
        """Deliver events; unique by `event_id`, so that a repeat is harmless."""
        ...


class CandleCache(Protocol):
    """What is read often and may be lost at any moment. Never raises: a failure is a miss."""

    def load(self, symbols: Sequence[str], timeframe: str) -> dict[str, Candles]:
        """Cached candles of those symbols that have any."""
        ...

    def save(self, candles: dict[str, Candles], timeframe: str) -> None:
        """Keep candles."""
        ...

    def load_symbols(self) -> SymbolList | None:
        """The last good symbol list."""
        ...

    def save_symbols(self, symbols: SymbolList) -> None:
        """Keep the symbol list."""
        ...


class CycleLedger(Protocol):
    """Cycles and batches. Every method is one transaction and raises LedgerUnavailable."""

    def open(
        self, request: CycleRequest, times: CycleTimes, floor_epoch: int, config_hash: str
    ) -> OpenedCycle:
        """Open a cycle, continue the one with the same key, or record it as SKIPPED.

        `times.started_at` is now. Another RUNNING cycle within its deadline: SKIPPED, which
        takes no epoch. One past its deadline is ABORTED first. The new epoch is
        max(ledger's, floor_epoch) + 1.
        """
        ...

    def raise_epoch(self, cycle_id: str, floor_epoch: int) -> int:
        """Give the RUNNING cycle a new epoch above `floor_epoch`; the new epoch."""
        ...

    def set_plan(self, plan: CyclePlan) -> CyclePlan:
        """Store the plan with its batches and outcomes; an earlier stored plan is returned."""
        ...

    def plan(self, cycle_id: str) -> CyclePlan | None:
        """The stored plan, or None."""
        ...

    def claim(self, ref: BatchRef, worker: str, now: datetime) -> BatchInput | None:
        """Claim a batch. None: reported already, tries used up, or the cycle not RUNNING."""
        ...

    def batch_input(self, ref: BatchRef) -> BatchInput | None:
        """The same without a claim, for the later steps. None when nothing is left to do."""
        ...

    def save_step(self, ref: BatchRef, step: Stage, data: bytes, seconds: float) -> None:
        """Keep what a step hands to the next one; a repeat overwrites."""
        ...

    def load_step(self, ref: BatchRef, step: Stage) -> tuple[bytes, float] | None:
        """What a step kept, and its seconds."""
        ...

    def report(self, report: BatchReport, now: datetime) -> bool:
        """Store a batch's result: the first complete one wins; False for a later one."""
        ...

    def candidates(self, cycle_id: str) -> tuple[OrderIntent, ...]:
        """Candidates of all reported batches of a cycle."""
        ...

    def pending(self, cycle_id: str) -> tuple[int, ...]:
        """Numbers of the batches that have not reported."""
        ...

    def running(self) -> tuple[OpenCycle, ...]:
        """RUNNING cycles with what the watchdog needs to judge them."""
        ...

    def facts(self, cycle_id: str) -> CycleFacts:
        """Everything that a report is made of. Raises NotFound."""
        ...

    def add_step_seconds(self, cycle_id: str, step: Stage, seconds: float) -> None:
        """Add to the seconds that a step of this cycle took."""
        ...

    def close(self, report: CycleReport) -> bool:
        """Close a RUNNING cycle with its report; False when it was closed before."""
        ...


class OrderLedger(Protocol):
    """Orders, decisions and fills. Every method is one transaction; raises LedgerUnavailable."""

    def symbol_facts(self, symbols: Sequence[str], market_time: datetime) -> dict[str, SymbolFacts]:
        """The past of each symbol, for the per-symbol rules."""
        ...

    def allocate(
        self,
        cycle_id: str,
        now: datetime,
        applied_seq: int,
        decide: Callable[[AllocationFacts], Allocation],
    ) -> tuple[Order, ...]:
        """Decide a cycle once, under the account's lock; the stored orders when done before.

        Raises Refused when the cycle is not RUNNING, is fenced by a newer epoch or is past its
        deadline. A dry run stores the decisions and no orders.
        """
        ...

    def of_cycle(self, cycle_id: str) -> tuple[Order, ...]:
        """Orders of a cycle: exits first, then by confidence, symbol, strategy."""
        ...

    def begin_send(self, client_order_id: str, now: datetime, lease_s: float) -> SendGrant:
        """Set SENDING, or say why not: state, epoch, cut-off, sends so far, rank."""
        ...

    def record(self, answer: VenueOrder, cause: str, now: datetime) -> bool:
        """Record what the execution service says of an order; False when that is no news."""
        ...

    def mark_unknown(self, client_order_id: str, detail: str, now: datetime) -> bool:
        """SENDING -> UNKNOWN; its budget stays held."""
        ...

    def order(self, client_order_id: str) -> Order | None:
        """One order, or None."""
        ...

    def unresolved(self, now: datetime) -> tuple[Unresolved, ...]:
        """Orders whose end is not proved and that nobody is working on; see 3-order-safety 6.3."""
        ...

    def adopt(self, order: VenueOrder, now: datetime) -> bool:
        """Take in an order that the ledger does not know; False when it does."""
        ...

    def log_id(self) -> str | None:
        """The identity of the execution log that the stored events came from."""
        ...

    def set_log_id(self, log_id: str) -> None:
        """Store the identity of the execution log; once."""
        ...

    def contiguous_seq(self) -> int:
        """The seq up to which every execution event is stored."""
        ...

    def store_events(self, events: Sequence[ExecutionEvent], now: datetime) -> tuple[str, ...]:
        """Store events by seq and move the orders they speak of; ids that are not known here."""
        ...

    def fills(self, after_seq: int, through_seq: int) -> tuple[Fill, ...]:
        """Stored fills with after_seq < seq <= through_seq, in order."""
        ...

    def position_sums(self) -> dict[str, str]:
        """Quantity held by symbol, as the sum of all stored fills (decimal text, no zeros)."""
        ...


class StateLedger(Protocol):
    """Trading state, schedule, leases, alerts. One transaction each; raises LedgerUnavailable."""

    def read(self) -> LedgerState:
        """The state of the account."""
        ...

    def set_operator(
        self, state: TradingState, reason: str, actor: str, now: datetime
    ) -> LedgerState:
        """What the operator wants; lowering and raising. Latched causes are not touched."""
        ...

    def latch(self, cause: str, level: TradingState, detail: str, now: datetime) -> bool:
        """Add a latched cause; False when it is latched already."""
        ...

    def clear_latches(self, actor: str, now: datetime) -> None:
        """Release every latched cause (POST /resume)."""
        ...

    def set_derived(
        self, causes: dict[str, tuple[TradingState, str]], now: datetime
    ) -> LedgerState:
        """Replace the derived causes (name -> level, detail) and write the effective state."""
        ...

    def set_schedule(self, *, running: bool, actor: str, now: datetime) -> bool:
        """Whether cycles are wanted on schedule; False when nothing changed."""
        ...

    def bind_feed(self, identity: str) -> str:
        """Bind the ledger to a market data feed on first use; the identity it is bound to."""
        ...

    def secret(self) -> bytes:
        """32 random bytes that belong to this ledger, made on first use; they sign the cache."""
        ...

    def save_snapshot(self, snapshot: PortfolioSnapshot) -> None:
        """Keep the last snapshot that the portfolio gave, for display and degraded modes."""
        ...

    def last_snapshot(self) -> PortfolioSnapshot | None:
        """The last kept snapshot."""
        ...

    def take_lease(self, name: str, holder: str, now: datetime, seconds: float) -> bool:
        """Take or extend a lease; False while another holder's has not run out."""
        ...

    def release_lease(self, name: str, holder: str) -> None:
        """Give a lease back; no-op when it is not held."""
        ...

    def raise_alert(self, alert: NewAlert, now: datetime) -> bool:
        """Open an alert, unique by key while open; False when it is open already."""
        ...

    def resolve_alert(self, key: str, now: datetime) -> bool:
        """Close an open alert; False when there is none."""
        ...


class Dispatcher(Protocol):
    """How a cycle is asked of the workers. Raises ServiceUnavailable("redis") within 2 s."""

    def start_cycle(self, request: CycleRequest) -> None:
        """Publish `cycle.start` for this request."""
        ...


class BeatSchedule(Protocol):
    """The beat entry that starts cycles. Raises ServiceUnavailable("redis")."""

    def save(self, interval_s: float) -> None:
        """Write the entry; its first run comes one interval later."""
        ...

    def remove(self) -> None:
        """Delete the entry; no-op when there is none."""
        ...

    def next_run_at(self) -> datetime | None:
        """When beat will send the next cycle, or None."""
        ...


class Ledger(Protocol):
    """The ledger, by what is asked of it."""

    @property
    def cycles(self) -> CycleLedger:
        """Cycles and batches."""
        ...

    @property
    def orders(self) -> OrderLedger:
        """Orders, decisions and fills."""
        ...

    @property
    def state(self) -> StateLedger:
        """Trading state, schedule, leases, alerts."""
        ...

    def ping(self) -> None:
        """Answer at once. Raises LedgerUnavailable."""
        ...

    def prune(self, before: datetime) -> int:
        """Delete outcomes and signals of cycles that started before; how many rows."""
        ...


@dataclass(frozen=True)
class Engine:
    """Everything a step may use. Built in `bootstrap`; one a process.

    `probes` ask each service's health, for the upkeep worker alone: the seconds it took.
    """

    settings: Settings
    clock: Clock
    market_data: MarketData
    strategy: StrategyEngine
    portfolio: Portfolio
    execution: Execution
    monitoring: Monitoring
    ledger: Ledger
    cache: CandleCache
    worker: str
    probes: dict[ServiceName, Callable[[], float]] = field(default_factory=dict)
