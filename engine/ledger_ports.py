"""The ledger as the pipeline, the reconciler and the controls see it.

Every method is one transaction and raises LedgerUnavailable when the database does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from engine.domain.candles import Candles
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
    SymbolOutcome,
)
from engine.domain.kept_inputs import Basis, DecisionSettings, Window
from engine.domain.ledger_values import (
    Adoption,
    Allocation,
    CycleFacts,
    ExitRequest,
    LedgerState,
    NewAlert,
    OpenCycle,
    OpenedCycle,
    SendGrant,
    Unresolved,
)
from engine.domain.model import (
    ExecutionEvent,
    Fill,
    Order,
    OrderIntent,
    PortfolioSnapshot,
    Position,
    TradingState,
    VenueOrder,
)


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

    def report(self, report: BatchReport, now: datetime, basis: Basis | None = None) -> bool:
        """Store a batch's result and what it was decided on: the first wins.

        Of the candles what is not kept yet is. False for a later one, and when the cycle is not
        RUNNING any more.
        """
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

    def times(self, cycle_id: str) -> CycleTimes:
        """The instants that bound the cycle. Raises NotFound."""
        ...

    def faults(self, cycle_id: str) -> tuple[SymbolOutcome, ...]:
        """Outcomes of the symbols that were skipped or failed, so far; in order of batches."""
        ...

    def closed(self, cycle_id: str) -> CycleReport | None:
        """The report of a closed cycle, None while it is open. Raises NotFound."""
        ...

    def latest(self, count: int) -> tuple[CycleReport, ...]:
        """Reports of the newest closed cycles that ran, the newest first; no SKIPPED ones."""
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

    def adopt_terms(self, order: VenueOrder, now: datetime) -> bool:
        """Take over the terms of an order that was accepted with another body; False if equal."""
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
        self,
        causes: dict[str, tuple[TradingState, str]],
        now: datetime,
        begins: dict[str, datetime] | None = None,
    ) -> LedgerState:
        """Replace the derived causes (name -> level, detail) and write the effective state.

        A new one holds since `begins` or now; one that persists keeps its `since`.
        """
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

    def enable_strategy(self, strategy: str, now: datetime, actor: str) -> int:
        """Let a throttled strategy trade again; in how many symbols it was disabled."""
        ...


class CandleArchive(Protocol):
    """Candles that were decided on, each kept once. Raises LedgerUnavailable."""

    def candles(self, timeframe: str, timeframe_s: int, window: Window) -> Candles:
        """The candles of a kept window, to the bit. Raises NotFound where they are gone."""
        ...

    def span(self, timeframe: str, timeframe_s: int, symbol: str, first: int, last: int) -> Candles:
        """Kept candles that opened from `first` to `last` (ms), as they were last seen."""
        ...

    def keep_settings(self, config_hash: str, kept: DecisionSettings) -> None:
        """Keep the settings that decide, once for each hash."""
        ...


class PositionLedger(Protocol):
    """What an operator decided of positions. One transaction each; raises LedgerUnavailable."""

    def adopt(
        self, position: Position, strategy: str, applied_seq: int, actor: str, now: datetime
    ) -> bool:
        """Give a foreign position to a strategy; False when it has it already. Raises Refused."""
        ...

    def adoptions(self) -> tuple[Adoption, ...]:
        """Every adoption, oldest first."""
        ...

    def request_exit(self, position: Position, reason: str, actor: str, now: datetime) -> bool:
        """Ask the next cycles to leave a position; False when that was asked before."""
        ...

    def exit_requests(self) -> tuple[ExitRequest, ...]:
        """Every request, oldest first; one whose position is gone asks for nothing."""
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

    @property
    def archive(self) -> CandleArchive:
        """Candles and settings that were decided on."""
        ...

    @property
    def positions(self) -> PositionLedger:
        """What an operator decided of positions."""
        ...

    def ping(self) -> None:
        """Answer at once. Raises LedgerUnavailable."""
        ...

    def prune(self, before: datetime) -> int:
        """Delete outcomes and signals of cycles that started before; how many rows."""
        ...
