"""A small market around a ledger: cycles with candidates, an allocation that grants all of them."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from engine.domain.candles import Candles
from engine.domain.cycle import (
    AllocationFacts,
    Batch,
    BatchRef,
    BatchReport,
    CyclePlan,
    CycleRequest,
    OutcomeStatus,
    Stage,
    SymbolOutcome,
    Trigger,
)
from engine.domain.kept_inputs import Basis, EvaluateInputs, StepBasis, Window
from engine.domain.ledger_values import Allocation, OpenedCycle
from engine.domain.model import (
    FillEvent,
    MarketClock,
    Order,
    OrderBody,
    OrderEvent,
    OrderIntent,
    OrderStatus,
    OrderType,
    RiskDecision,
    TimeInForce,
    TradingState,
    VenueOrder,
    Verdict,
)
from engine.domain.orders import client_order_id, freeze
from engine.ledger.archive_reads import windows_of
from engine.ledger.ledger import FILE_NAME, SqlLedger
from engine.ledger.migration import migrate
from engine.settings import LedgerSettings, Settings
from tests.factories import (
    NOW,
    make_instrument,
    make_intent,
    make_order,
    make_signal,
    make_snapshot,
    make_times,
)

HOUR_S = 3600
LEASE_S = 20.0
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  in memory, where there is one: no test waits for a disk


def _folder() -> str | None:
    return str(MEMORY_FOLDER) if os.access(MEMORY_FOLDER, os.W_OK) else None


@functools.cache
def _empty_ledger() -> bytes:
    with tempfile.TemporaryDirectory(dir=_folder()) as folder:
        path = Path(folder) / FILE_NAME
        migrate(f"sqlite:///{path}")
        return path.read_bytes()


@contextmanager
def sqlite_settings() -> Iterator[Settings]:
    """Settings of a new SQLite ledger, already migrated, that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(dir=_folder()))
    try:
        (folder / FILE_NAME).write_bytes(_empty_ledger())
        yield Settings(data_dir=str(folder), ledger=LedgerSettings(busy_timeout_s=2))
    finally:
        shutil.rmtree(folder)


def grant_all(cycle: OpenedCycle, market_time: datetime) -> Callable[[AllocationFacts], Allocation]:
    """Decide that every candidate whose last attempt ended unfilled gets an order."""

    def decide(facts: AllocationFacts) -> Allocation:
        decisions, orders = [], []
        for intent in facts.candidates:
            known = facts.attempts.get(intent.decision_key)
            if known is not None and (known.last_filled or not known.last_terminal):
                decisions.append(verdict(intent, Verdict.DENIED))
                continue
            attempt = 0 if known is None else known.count
            decisions.append(verdict(intent, Verdict.APPROVED))
            orders.append(reserved(intent, attempt, cycle, market_time))
        return Allocation(decisions=tuple(decisions), orders=tuple(orders))

    return decide


def verdict(intent: OrderIntent, answer: Verdict) -> RiskDecision:
    denied = answer is Verdict.DENIED
    return RiskDecision(
        intent=intent,
        verdict=answer,
        quantity=Decimal(0) if denied else intent.quantity,
        binding_rule="attempts" if denied else "max_position_size_pct",
        reason="",
    )


def reserved(intent: OrderIntent, attempt: int, cycle: OpenedCycle, market_time: datetime) -> Order:
    identity = client_order_id(intent.decision_key, attempt)
    body = OrderBody(
        client_order_id=identity,
        account="paper",
        epoch=cycle.epoch or 0,
        symbol=intent.symbol,
        side=intent.side,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.IOC,
        quantity=intent.quantity,
        reference_price=intent.price,
        limit_price=intent.price,
        reduce_only=intent.is_exit,
        strategy=intent.strategy,
        valid_until=cycle.times.deadline_at,
    )
    return make_order(
        intent.symbol,
        client_order_id=identity,
        decision_key=intent.decision_key,
        attempt=attempt,
        cycle_id=cycle.cycle_id,
        epoch=cycle.epoch,
        side=intent.side,
        quantity=intent.quantity,
        limit_price=intent.price,
        reference_price=intent.price,
        reduce_only=intent.is_exit,
        strategy=intent.strategy,
        body=freeze(body),
        status=OrderStatus.RESERVED,
        cutoff_at=cycle.times.cutoff_at,
        valid_until=cycle.times.deadline_at,
        market_time=market_time,
        exit_reason=intent.exit_reason,
        stop_price=intent.stop_price,
        target_price=intent.target_price,
    )


def answer(order: Order, state: OrderStatus, filled: str = "0", **changed: Any) -> VenueOrder:
    quantity = Decimal(filled)
    fields: dict[str, Any] = {
        "client_order_id": order.client_order_id,
        "order_id": f"venue-{order.client_order_id[:8]}",
        "state": state,
        "filled_quantity": quantity,
        "average_price": order.limit_price if quantity else None,
        "fees": quantity * order.limit_price / 1000,
        "seq": 0,
    }
    return VenueOrder(**fields | changed)


def order_event(seq: int, order: Order, state: OrderStatus, filled: str = "0") -> OrderEvent:
    fields = msgspec.structs.asdict(answer(order, state, filled))
    return OrderEvent(**fields | {"seq": seq, "at": NOW})


def fill_event(seq: int, order: Order, quantity: str | None = None, **changed: Any) -> FillEvent:
    amount = order.quantity if quantity is None else Decimal(quantity)
    fields: dict[str, Any] = {
        "seq": seq,
        "fill_id": f"fill-{seq}",
        "client_order_id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side,
        "quantity": amount,
        "price": order.limit_price,
        "fee": amount * order.limit_price / 1000,
        "filled_at": order.market_time,
        "strategy": order.strategy,
    }
    return FillEvent(**fields | changed)


def judged_on(candles: Mapping[str, Candles]) -> Basis:
    """Hourly candles that a batch was evaluated on."""
    return Basis("1h", HOUR_S, {Stage.EVALUATE: StepBasis(candles, EvaluateInputs())})


class World:
    """Wall time and market time that move together, over one ledger."""

    def __init__(self, ledger: SqlLedger, now: datetime = NOW) -> None:
        self.ledger = ledger
        self.now = now
        self.seq = 0
        self.cycles = 0

    def open(self, key: str | None = None, **changed: Any) -> OpenedCycle:
        self.cycles += 1
        floor = changed.pop("floor", 0)
        name = f"schedule|{self.cycles}" if key is None else key
        fields = {"trigger": Trigger.SCHEDULE, "scheduled_at": self.now} | changed
        request = CycleRequest(key=name, **fields)
        return self.ledger.cycles.open(request, make_times(self.now), floor, "hash")

    def plan(self, cycle: OpenedCycle, *batches: tuple[str, ...], **changed: Any) -> CyclePlan:
        symbols = [symbol for batch in batches for symbol in batch]
        fields: dict[str, Any] = {
            "cycle_id": cycle.cycle_id,
            "epoch": cycle.epoch,
            "times": cycle.times,
            "clock": MarketClock.REPLAY,
            "market_time": self.now,
            "dry_run": cycle.dry_run,
            "trading_state": TradingState.ACTIVE,
            "may_enter": True,
            "may_send": True,
            "instruments": tuple(make_instrument(symbol) for symbol in symbols),
            "batches": tuple(Batch(number=n, symbols=b) for n, b in enumerate(batches)),
            "snapshot": make_snapshot(),
        }
        return self.ledger.cycles.set_plan(CyclePlan(**fields | changed))

    def report(
        self,
        cycle_id: str,
        batch: int,
        *intents: OrderIntent,
        basis: Basis | None = None,
        **changed: Any,
    ) -> bool:
        symbols = tuple(intent.symbol for intent in intents)
        self.ledger.cycles.claim(ref(cycle_id, batch, *symbols), "worker", self.now)
        fields: dict[str, Any] = {
            "cycle_id": cycle_id,
            "batch": batch,
            "outcomes": tuple(
                SymbolOutcome(symbol=s, batch=batch, stage=Stage.RISK, status=OutcomeStatus.OK)
                for s in symbols
            ),
            "signals_kept": tuple(make_signal(s) for s in symbols),
            "candidates": intents,
            "step_seconds": {"fetch": 0.5, "risk": 0.25},
        }
        return self.ledger.cycles.report(BatchReport(**fields | changed), self.now, basis)

    def keep(self, candles: Mapping[str, Candles]) -> dict[str, Window]:
        """Decide on these in a cycle of its own; where they are kept. An open one is abandoned."""
        self.now += timedelta(hours=1)
        cycle = self.open(f"schedule|{self.now}")
        self.plan(cycle, tuple(candles))
        assert self.report(cycle.cycle_id, 0, basis=judged_on(candles))
        with self.ledger.reading() as connection:
            return {name: windows_of(connection, cycle.cycle_id, name)[0] for name in candles}

    def allocate(
        self, cycle: OpenedCycle, applied_seq: int = 0, now: datetime | None = None
    ) -> tuple[Order, ...]:
        decide = grant_all(cycle, self.now)
        at = self.now if now is None else now
        return self.ledger.orders.allocate(cycle.cycle_id, at, applied_seq, decide)

    def reserve(self, *intents: OrderIntent, applied_seq: int = 0) -> tuple[Order, ...]:
        """A cycle up to its reserved orders; an open one before it is abandoned."""
        self.now += timedelta(hours=1)
        cycle = self.open()
        self.plan(cycle, tuple(intent.symbol for intent in intents))
        self.report(cycle.cycle_id, 0, *intents)
        return self.allocate(cycle, applied_seq)

    def send(self, order: Order) -> Order:
        grant = self.ledger.orders.begin_send(order.client_order_id, self.now, LEASE_S)
        assert grant.order is not None, grant.refusal
        return grant.order

    def store(self, *events: FillEvent | OrderEvent) -> tuple[str, ...]:
        return self.ledger.orders.store_events(events, self.now)

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def trade(self, intent: OrderIntent, applied_seq: int = 0) -> Order:
        """A cycle whose one order is filled whole; events and answer are recorded."""
        (order,) = self.reserve(intent, applied_seq=applied_seq)
        self.send(order)
        self.store(
            fill_event(self.next_seq(), order),
            order_event(self.next_seq(), order, OrderStatus.FILLED, str(order.quantity)),
        )
        stored = self.ledger.orders.order(order.client_order_id)
        assert stored is not None
        return stored

    def status(self, order: Order) -> OrderStatus:
        stored = self.ledger.orders.order(order.client_order_id)
        assert stored is not None
        return stored.status


def ref(cycle_id: str, batch: int, *symbols: str) -> BatchRef:
    return BatchRef(cycle_id=cycle_id, batch=batch, symbols=symbols)


def entry(symbol: str = "BTC/USD", **changed: Any) -> OrderIntent:
    return make_intent(symbol, **changed)
