"""Whatever is asked of the ledger in whatever order, its invariants hold."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.domain.cycle import AllocationFacts
from engine.domain.ledger_values import Allocation, OpenedCycle
from engine.domain.model import Fill, FillEvent, Order, OrderEvent, OrderStatus, TradingState
from engine.domain.orders import RANKS, is_terminal
from engine.errors import Refused
from engine.ledger.audit import audit
from engine.ledger.ledger import open_ledger
from tests.ledger_world import (
    LEASE_S,
    World,
    answer,
    entry,
    fill_event,
    grant_all,
    order_event,
    sqlite_settings,
)

SYMBOLS = ("A/USD", "B/USD", "C/USD")
VENUE = ("ACCEPTED", "PARTIAL", "FILLED", "CANCELED", "EXPIRED", "REJECTED", "VOIDED")
STEPS = (OrderStatus.SENDING, OrderStatus.UNKNOWN)
anything = st.integers(min_value=0, max_value=1_000_000)


class LedgerMachine(RuleBasedStateMachine):
    """A ledger beside the simplest model of it: what was granted, sent, filled and stored."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        settings_ = self.stack.enter_context(sqlite_settings())
        self.ledger = open_ledger(settings_)
        self.stack.callback(self.ledger.dispose)
        self.world = World(self.ledger)
        self.cycle: OpenedCycle | None = None
        self.decided: dict[str, tuple[str, ...]] = {}
        self.orders: dict[str, Order] = {}
        self.ranks: dict[str, tuple[OrderStatus, int]] = {}
        self.events: dict[int, FillEvent | OrderEvent] = {}
        self.stored: set[int] = set()
        self.epochs: list[int] = []

    def teardown(self) -> None:
        """Every history ends with a clean audit, bar contradictions that were fed on purpose."""
        broken = {finding.invariant for finding in audit(self.ledger)}
        assert broken <= {"I8"}
        self.stack.close()

    @rule(seconds=st.sampled_from([0, 1, 21, 90, 101, 3600]))
    def wait(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule()
    def open_cycle(self) -> None:
        opened = self.world.open()
        running = self.ledger.cycles.running()
        assert len(running) == 1
        if opened.epoch is None:
            assert self.cycle is not None
            assert running[0].cycle_id == self.cycle.cycle_id
            return
        self.cycle = opened
        self.epochs.append(opened.epoch)
        assert self.world.plan(opened, *((symbol,) for symbol in SYMBOLS)).epoch == opened.epoch

    @precondition(lambda self: self.cycle is not None)
    @rule(floor=st.integers(0, 3))
    def raise_epoch(self, floor: int) -> None:
        assert self.cycle is not None
        epoch = self.ledger.cycles.raise_epoch(self.cycle.cycle_id, floor)
        self.cycle = msgspec.structs.replace(self.cycle, epoch=epoch)
        self.epochs.append(epoch)

    @precondition(lambda self: self.cycle is not None)
    @rule(batch=st.integers(0, 2), candle=st.integers(0, 3))
    def report(self, batch: int, candle: int) -> None:
        assert self.cycle is not None
        was_pending = batch in self.ledger.cycles.pending(self.cycle.cycle_id)
        intent = entry(SYMBOLS[batch], candle_time=candle)
        assert self.world.report(self.cycle.cycle_id, batch, intent) == was_pending

    @precondition(lambda self: self.cycle is not None)
    @rule()
    def allocate(self) -> None:
        assert self.cycle is not None
        calls = []

        def decide(facts: AllocationFacts) -> Allocation:
            calls.append(facts)
            assert self.cycle is not None
            return grant_all(self.cycle, self.world.now)(facts)

        cycle_id = self.cycle.cycle_id
        try:
            got = self.ledger.orders.allocate(cycle_id, self.world.now, 0, decide)
        except Refused:
            assert self.world.now > self.cycle.times.deadline_at
            return
        ids = tuple(order.client_order_id for order in got)
        assert len(calls) == (0 if cycle_id in self.decided else 1)
        assert self.decided.setdefault(cycle_id, ids) == ids
        self.orders |= {order.client_order_id: order for order in got}
        for facts in calls:
            self._check_facts(facts)

    def _check_facts(self, facts: AllocationFacts) -> None:
        """No filled quantity that the snapshot lacks, and no open order, is ever left out."""
        known = {o.client_order_id for o in facts.open_orders + facts.late_orders}
        for client_order_id in self.orders:
            order = self.ledger.orders.order(client_order_id)
            assert order is not None
            is_new = client_order_id in self.decided[self._id()]
            assert is_new or is_terminal(order.status) or client_order_id in known
            if order.filled_quantity > 0:
                assert facts.unapplied[client_order_id] == order.filled_quantity

    def _id(self) -> str:
        assert self.cycle is not None
        return self.cycle.cycle_id

    def _pick(self, choice: int) -> Order:
        ids = sorted(self.orders)
        order = self.ledger.orders.order(ids[choice % len(ids)])
        assert order is not None
        return order

    @precondition(lambda self: self.orders)
    @rule(choice=anything)
    def begin_send(self, choice: int) -> None:
        order = self._pick(choice)
        grant = self.ledger.orders.begin_send(order.client_order_id, self.world.now, LEASE_S)
        leased = order.lease_until is not None and order.lease_until > self.world.now
        allowed = (
            self.ledger.state.read().effective is TradingState.ACTIVE
            and order.epoch == self.epochs[-1]
            and self.world.now < order.cutoff_at
            and order.sends < 3
            and order.status in {OrderStatus.RESERVED, *STEPS}
            and not (order.status is OrderStatus.SENDING and leased)
        )
        assert (grant.order is not None) == allowed, grant.refusal
        if grant.order is not None:
            assert (grant.order.sends, grant.order.body) == (order.sends + 1, order.body)

    @precondition(lambda self: self.orders)
    @rule(choice=anything)
    def mark_unknown(self, choice: int) -> None:
        order = self._pick(choice)
        news = self.ledger.orders.mark_unknown(order.client_order_id, "timeout", self.world.now)
        assert news == (order.status is OrderStatus.SENDING)

    @precondition(lambda self: self.orders)
    @rule(choice=anything, state=st.sampled_from(VENUE), filled=st.sampled_from("001"))
    def record(self, choice: int, state: str, filled: str) -> None:
        news = answer(self._pick(choice), OrderStatus(state), filled)
        self.ledger.orders.record(news, "lookup", self.world.now)
        assert not self.ledger.orders.record(news, "lookup", self.world.now)

    @precondition(lambda self: self.orders)
    @rule(choice=anything, state=st.sampled_from([None, *VENUE]))
    def happen(self, choice: int, state: str | None) -> None:
        """The execution log grows; the ledger has not read it yet."""
        order, seq = self._pick(choice), len(self.events) + 1
        filled = self._total(order, list(self.events.values()))
        if state is not None:
            self.events[seq] = order_event(seq, order, OrderStatus(state), str(filled))
        elif filled < order.quantity:
            self.events[seq] = fill_event(seq, order, "0.25")

    def _total(self, order: Order, events: Sequence[object]) -> Decimal:
        mine = (e for e in events if isinstance(e, Fill))
        return sum(
            (e.quantity for e in mine if e.client_order_id == order.client_order_id), Decimal(0)
        )

    @precondition(lambda self: self.events)
    @rule(chosen=st.sets(st.integers(1, 40), max_size=6))
    def store(self, chosen: set[int]) -> None:
        seqs = sorted(chosen & self.events.keys())
        assert self.world.store(*(self.events[seq] for seq in seqs)) == ()
        self.stored |= set(seqs)

    @rule(state=st.sampled_from([TradingState.ACTIVE, TradingState.HALTED]))
    def operate(self, state: TradingState) -> None:
        self.ledger.state.set_operator(state, "test", "me", self.world.now)
        if state is TradingState.ACTIVE:
            self.ledger.state.clear_latches("me", self.world.now)

    @invariant()
    def ranks_never_fall(self) -> None:
        for client_order_id in self.orders:
            order = self.ledger.orders.order(client_order_id)
            assert order is not None
            old, sends = self.ranks.get(client_order_id, (OrderStatus.RESERVED, 0))
            repeated = order.status is OrderStatus.SENDING and order.sends > sends
            assert RANKS[order.status] >= RANKS[old] or repeated
            if is_terminal(old):
                assert order.status is old
            self.ranks[client_order_id] = (order.status, order.sends)

    @invariant()
    def one_attempt_is_open_per_key(self) -> None:
        found = [self.ledger.orders.order(client_order_id) for client_order_id in self.orders]
        open_keys = [o.decision_key for o in found if o and not is_terminal(o.status)]
        assert len(open_keys) == len(set(open_keys))

    @invariant()
    def sums_equal_fills(self) -> None:
        fills = [e for seq, e in self.events.items() if seq in self.stored and isinstance(e, Fill)]
        held: dict[str, Decimal] = {}
        for fill in fills:
            held[fill.symbol] = held.get(fill.symbol, Decimal(0)) + fill.quantity
        sums = self.ledger.orders.position_sums()
        assert {symbol: Decimal(quantity) for symbol, quantity in sums.items()} == held
        for client_order_id, granted in self.orders.items():
            order = self.ledger.orders.order(client_order_id)
            assert order is not None
            stored = self._total(granted, fills)
            assert order.filled_quantity >= stored

    @invariant()
    def the_cursor_stands_before_the_first_hole(self) -> None:
        cursor = self.ledger.orders.contiguous_seq()
        assert set(range(1, cursor + 1)) <= self.stored
        assert cursor + 1 not in self.stored

    @invariant()
    def epochs_rise(self) -> None:
        assert self.epochs == sorted(set(self.epochs))


LedgerMachine.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestLedgerMachine = LedgerMachine.TestCase
