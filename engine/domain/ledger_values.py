"""Values that the ledger gives and takes: the engine's own state, not the market's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import msgspec

from engine.domain.cycle import (
    BatchRef,
    CycleReport,
    CycleStatus,
    CycleTimes,
    SymbolOutcome,
    Trigger,
)
from engine.domain.kept_inputs import AllocationRecord
from engine.domain.limits import RiskLimits
from engine.domain.model import (
    Order,
    PortfolioSnapshot,
    Position,
    RiskDecision,
    Side,
    TradingState,
    Value,
)


class OpenedCycle(Value, frozen=True, kw_only=True):
    """The row of a cycle after `open`. `continues` is True when the key was known before."""

    cycle_id: str
    epoch: int | None
    status: CycleStatus
    times: CycleTimes
    dry_run: bool
    symbols: tuple[str, ...] | None
    continues: bool
    reason: str = ""


class BatchState(Value, frozen=True, kw_only=True):
    """How far a batch is. `tries` counts claims; `reported_at` ends its life."""

    ref: BatchRef
    held: bool
    tries: int
    claimed_by: str
    claimed_at: datetime | None
    reported_at: datetime | None


class OpenCycle(Value, frozen=True, kw_only=True):
    """A RUNNING cycle, as the watchdog sees it. `key` is that of its request."""

    cycle_id: str
    key: str
    epoch: int
    trigger: Trigger
    times: CycleTimes
    planned_at: datetime | None
    allocated_at: datetime | None
    batches: tuple[BatchState, ...]
    orders: tuple[Order, ...]


class Latch(Value, frozen=True, kw_only=True):
    """A latched cause: it stays until `POST /resume`."""

    cause: str
    level: TradingState
    detail: str
    since: datetime


class DerivedCause(Value, frozen=True, kw_only=True):
    """A cause that ends by itself when what it stands for ends."""

    cause: str
    level: TradingState
    detail: str
    since: datetime


class LedgerState(Value, frozen=True, kw_only=True):
    """The account's row. `effective` is the lowest of operator, latched and derived."""

    epoch: int
    operator: TradingState
    operator_reason: str
    effective: TradingState
    effective_since: datetime
    latched: tuple[Latch, ...]
    derived: tuple[DerivedCause, ...]
    schedule_running: bool
    schedule_set_at: datetime | None
    is_new: bool


class SendGrant(Value, frozen=True, kw_only=True):
    """Whether an order may be sent now: the order in SENDING, or the reason against it."""

    order: Order | None
    refusal: str = ""


class Unresolved(Value, frozen=True, kw_only=True):
    """An order that the reconciler must settle. `may_resend` is False when only a void is left."""

    order: Order
    may_resend: bool


class Commitment(Value, frozen=True, kw_only=True):
    """What an order may still use up beyond the snapshot that was decided on."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal
    stop_price: Decimal | None = None


class AllocationBasis(Value, frozen=True, kw_only=True):
    """What a cycle was decided on, kept so that the decision can be checked afterwards."""

    trading_state: TradingState
    snapshot: PortfolioSnapshot
    commitments: tuple[Commitment, ...]
    entry_stops: dict[str, Decimal]
    orders_last_minute: int
    limits: RiskLimits


class Allocation(Value, frozen=True, kw_only=True):
    """The one decision of a cycle: every candidate's verdict, and the orders to reserve.

    `basis` is what the audit checks it against, `record` what it can be made again from.
    """

    decisions: tuple[RiskDecision, ...]
    orders: tuple[Order, ...]
    basis: AllocationBasis | None = None
    record: AllocationRecord | None = None


class CycleFacts(Value, frozen=True, kw_only=True):
    """Everything a cycle left in the ledger that its report is made of.

    `report` is the cycle so far: identity, times and what was stored at its opening.
    `batches_failed` holds the reasons of batches that failed or never reported, by number.
    """

    report: CycleReport
    times: CycleTimes
    allocated: bool
    outcomes: tuple[SymbolOutcome, ...]
    batches_total: int
    batches_failed: dict[int, str]
    signals_kept: int
    signals_dropped: int
    decisions: tuple[RiskDecision, ...]
    orders: tuple[Order, ...]


class NewAlert(Value, frozen=True, kw_only=True):
    """An alert to raise; `key` identifies what it is about, e.g. `foreign_order|ID`."""

    key: str
    name: str
    severity: str
    detail: str
    cycle_id: str = ""


class Adoption(Value, frozen=True, kw_only=True):
    """A foreign position that was given to a strategy.

    `quantity` is what was held beyond what the fills up to `after_seq` make.
    """

    symbol: str
    opened_at: datetime
    strategy: str
    quantity: Decimal
    after_seq: int
    at: datetime
    actor: str

    def is_of(self, position: Position) -> bool:
        """Whether it is about this very position, not an earlier or later one of the symbol."""
        return (position.symbol, position.opened_at) == (self.symbol, self.opened_at)


class ExitRequest(Value, frozen=True, kw_only=True):
    """An operator's wish to leave a position."""

    symbol: str
    opened_at: datetime
    reason: str
    at: datetime
    actor: str

    def is_of(self, position: Position) -> bool:
        """Whether it is about this very position."""
        return (position.symbol, position.opened_at) == (self.symbol, self.opened_at)


def with_owners(snapshot: PortfolioSnapshot, adoptions: Iterable[Adoption]) -> PortfolioSnapshot:
    """The account with every adopted position in the hands of its strategy."""
    given = {(each.symbol, each.opened_at): each.strategy for each in adoptions}
    positions = tuple(
        msgspec.structs.replace(held, strategy=given.get((held.symbol, held.opened_at)))
        if held.strategy is None
        else held
        for held in snapshot.positions
    )
    return msgspec.structs.replace(snapshot, positions=positions)
