"""What the controls work with: the engine, its dispatcher and schedule, and what is known of both.

One desk a process. Reads come from the ledger and from vital signs; only the kill switch, its
release and the preflight call a service.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from engine.control.operator_port import OperatorReads
from engine.domain.account_history import Commitments, EntryLevels, EquityAt
from engine.domain.alerts import AlertRecord
from engine.domain.cycle import CycleReport
from engine.domain.model import Fill, OrderStatus, Value
from engine.domain.spans import StepSpan
from engine.domain.views import (
    AuditEntry,
    AuditRow,
    CycleDetail,
    CycleProgress,
    DecisionTally,
    OrderRow,
    OrderStory,
    Page,
    Rates,
    StoredAnswer,
)
from engine.errors import Refused
from engine.ports import BeatSchedule, Dispatcher, Engine
from engine.reconcile import ReconcileResult
from engine.vitals import CallRates, ProcessVitals, ServiceCheck, WorkerVitals

RECENT = timedelta(hours=24)


class Queries(Protocol):
    """What the ledger can be asked for display. All raise LedgerUnavailable."""

    def cycles(self, limit: int, before: str | None) -> Page[CycleReport]:
        """Reports, newest first."""
        ...

    def cycle(self, cycle_id: str) -> CycleDetail:
        """One cycle whole. Raises NotFound."""
        ...

    def steps(self, cycle_id: str) -> tuple[StepSpan, ...]:
        """The steps of a cycle on its time axis. Raises NotFound."""
        ...

    def current_cycle(self) -> CycleProgress | None:
        """The cycle that is running."""
        ...

    def last_cycle(self) -> CycleReport | None:
        """The latest closed cycle."""
        ...

    def orders(
        self, limit: int, before: str | None, state: OrderStatus | None, symbol: str | None
    ) -> Page[OrderRow]:
        """Orders, newest first."""
        ...

    def order(self, client_order_id: str) -> OrderStory:
        """One order whole. Raises NotFound."""
        ...

    def alerts_since(self, since: datetime) -> tuple[AlertRecord, ...]:
        """Alerts that are open, and those resolved after `since`; the oldest first."""
        ...

    def decisions_after(self, number: int) -> DecisionTally:
        """Decisions of closed cycles beyond `number`, by verdict and rule."""
        ...

    def rates(self, since: datetime) -> Rates:
        """Counts and durations of what happened since then (wall time)."""
        ...

    def orders_by_status(self) -> dict[str, int]:
        """How many orders of all time are in each state."""
        ...

    def idempotent(self, key: str, body_hash: str, now: datetime) -> StoredAnswer | None:
        """The first answer under this key; `mismatch` when it was another body's."""
        ...

    def store_idempotent(
        self, key: str, body_hash: str, status: int, body: str, now: datetime
    ) -> None:
        """Keep an answer for 24 h."""
        ...

    def audit_append(self, entry: AuditEntry, now: datetime) -> None:
        """Write down who asked for what."""
        ...

    def audit(self, limit: int, before: str | None) -> Page[AuditRow]:
        """Who asked for what, newest first."""
        ...


class AccountView(Protocol):
    """The account as cycles found it, over market time. All raise LedgerUnavailable."""

    def market_now(self) -> datetime | None:
        """The market time of the latest planned cycle."""
        ...

    def equity_points(
        self, since: datetime | None, each: timedelta | None = None
    ) -> tuple[EquityAt, ...]:
        """Equity at cycles from `since` on, ascending: all, or the last of `each` so much time."""
        ...

    def fills_since(self, since: datetime | None) -> tuple[Fill, ...]:
        """Fills from `since` on, by seq."""
        ...

    def entry_levels(self) -> dict[str, EntryLevels]:
        """Stop and target of each position that has any, by symbol."""
        ...

    def commitments(self, market_now: datetime) -> Commitments:
        """Open orders, and how many were made in the last market minute."""
        ...


class VitalSigns(Protocol):
    """`engine.vitals.Vitals`, as it is read. Never raises; empty or None while Redis is away."""

    def ping(self) -> float | None:
        """Milliseconds that Redis took, or None. Asks even just after a failure."""
        ...

    def workers(self) -> tuple[WorkerVitals, ...]:
        """Workers that live."""
        ...

    def processes(self) -> tuple[ProcessVitals, ...]:
        """Processes that are no workers'."""
        ...

    def last_beat_tick(self) -> datetime | None:
        """When beat last sent its heartbeat."""
        ...

    def checks(self) -> dict[str, ServiceCheck]:
        """The last look at each service."""
        ...

    def call_rates(self) -> dict[str, CallRates]:
        """Calls of each service in the last five minutes."""
        ...

    def queue_depths(self, names: Sequence[str]) -> dict[str, int]:
        """Messages that wait."""
        ...


class Circuit(Value, frozen=True, kw_only=True):
    """A breaker: `closed`, `open` or `half-open`, and since when."""

    state: str
    since: datetime


class Reconcile(Protocol):
    """`engine.reconcile.run`."""

    def __call__(self, engine: Engine, *, wait_s: float) -> ReconcileResult:
        """Reconcile once."""
        ...


class Switch:
    """Keeps a resume from undoing a halt that was not yet answered when it began, or came later."""

    def __init__(self) -> None:
        self.writing = threading.Lock()
        self._halts = 0
        self._halting = 0
        self._counting = threading.Lock()

    @property
    def halts(self) -> int:
        """How many halts were asked for or answered in this process."""
        return self._halts

    def note_halt(self) -> None:
        """Every resume that began before must give up."""
        with self._counting:
            self._halts += 1

    @contextmanager
    def halting(self) -> Iterator[None]:
        """A halt is in progress: no resume may act until it is answered, nor any begun by then."""
        with self._counting:
            self._halts += 1
            self._halting += 1
        try:
            yield
        finally:
            with self._counting:
                self._halts += 1
                self._halting -= 1

    def require(self, halts: int) -> None:
        """Raises Refused when a halt is in progress, or was asked for since `halts` was read."""
        if self._halting or self._halts != halts:
            raise Refused("not resumed", ["a halt came in between"])


class RecentRates:
    """Rates that are read again when a cycle has closed since, or after a few seconds."""

    def __init__(self, keep: timedelta = timedelta(seconds=3)) -> None:
        self._keep = keep
        self._known: tuple[str, datetime, Rates] | None = None

    def get(self, queries: Queries, last_cycle_id: str, now: datetime) -> Rates:
        """The rates of the last 24 h. Raises LedgerUnavailable."""
        known = self._known
        if known is not None and known[0] == last_cycle_id and now - known[1] < self._keep:
            return known[2]
        rates = queries.rates(now - RECENT)
        self._known = (last_cycle_id, now, rates)
        return rates


class LastSteps:
    """The steps of the last closed cycle, read once."""

    def __init__(self) -> None:
        self._known: tuple[str, tuple[StepSpan, ...]] | None = None

    def get(self, queries: Queries, last: CycleReport) -> tuple[StepSpan, ...]:
        """The steps of `last`. Raises LedgerUnavailable."""
        known = self._known
        if known is None or known[0] != last.cycle_id:
            known = (last.cycle_id, queries.steps(last.cycle_id))
            self._known = known
        return known[1]


@dataclass(frozen=True)
class Desk:
    """Everything the controls may use."""

    engine: Engine
    queries: Queries
    operator: OperatorReads
    account: AccountView
    dispatcher: Dispatcher
    schedule: BeatSchedule
    vitals: VitalSigns
    circuits: Callable[[datetime], dict[str, Circuit]]
    reconcile: Reconcile
    switch: Switch = field(default_factory=Switch)
    recent_rates: RecentRates = field(default_factory=RecentRates)
    last_steps: LastSteps = field(default_factory=LastSteps)
