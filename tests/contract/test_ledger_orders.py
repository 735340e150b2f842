"""Orders: decided once, sent under the account's state, moved by rank, filled by events."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from engine.domain.cycle import AllocationFacts, Attempt
from engine.domain.ledger_values import Allocation
from engine.domain.model import OrderStatus, Side, TradingState, VenueOrder
from engine.errors import NotFound, Refused
from tests.factories import make_exit
from tests.ledger_world import LEASE_S, World, answer, entry, fill_event, grant_all, order_event
from tests.ledger_world import reserved as reserve_one

D = Decimal


def seen_facts(world: World, *symbols: str, applied_seq: int = 0) -> AllocationFacts:
    """What the next cycle's decision is made on."""
    world.now += timedelta(hours=1)
    cycle = world.open()
    world.plan(cycle, symbols or ("BTC/USD",))
    world.report(cycle.cycle_id, 0, *(entry(symbol) for symbol in symbols))
    seen: list[AllocationFacts] = []

    def decide(facts: AllocationFacts) -> Allocation:
        seen.append(facts)
        return Allocation(decisions=(), orders=())

    world.ledger.orders.allocate(cycle.cycle_id, world.now, applied_seq, decide)
    return seen[0]


def test_a_cycle_is_decided_once_and_later_calls_return_the_stored_orders(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",), ("ETH/USD",))
    world.report(cycle.cycle_id, 0, entry("BTC/USD"))
    first = world.allocate(cycle)
    world.report(cycle.cycle_id, 1, entry("ETH/USD"))
    late = world.ledger.orders.allocate(
        cycle.cycle_id, cycle.times.deadline_at + timedelta(hours=9), 0, never
    )
    assert [order.symbol for order in first] == ["BTC/USD"]
    assert late == first == world.ledger.orders.of_cycle(cycle.cycle_id)
    assert first[0].status is OrderStatus.RESERVED


def never(_: AllocationFacts) -> Allocation:
    raise AssertionError("decided twice")


def test_orders_come_exits_first_then_by_confidence_symbol_and_strategy(world: World) -> None:
    orders = world.reserve(
        entry("B/USD", confidence=0.7),
        entry("C/USD", confidence=0.9, strategy="z"),
        entry("C/USD", confidence=0.9, strategy="a"),
        entry("A/USD", confidence=0.7),
        make_exit("Z/USD", confidence=0.1),
    )
    named = [(order.symbol, order.strategy) for order in orders]
    assert named == [
        ("Z/USD", "sma_cross"),
        ("C/USD", "a"),
        ("C/USD", "z"),
        ("A/USD", "sma_cross"),
        ("B/USD", "sma_cross"),
    ]


def test_a_dry_run_keeps_decisions_and_makes_no_orders(world: World) -> None:
    cycle = world.open(dry_run=True)
    world.plan(cycle, ("BTC/USD",))
    world.report(cycle.cycle_id, 0, entry())
    assert world.allocate(cycle) == ()
    facts = world.ledger.cycles.facts(cycle.cycle_id)
    assert (len(facts.decisions), facts.orders, facts.allocated) == (1, (), True)


def test_a_closed_fenced_late_or_unplanned_cycle_is_not_decided(world: World) -> None:
    cycle = world.open()
    with pytest.raises(Refused, match="no plan"):
        world.allocate(cycle)
    world.plan(cycle, ("BTC/USD",))
    with pytest.raises(Refused, match="deadline"):
        world.allocate(cycle, now=cycle.times.deadline_at + timedelta(microseconds=1))
    world.now = cycle.times.deadline_at + timedelta(seconds=1)
    world.open()
    with pytest.raises(Refused, match="ABORTED"):
        world.allocate(cycle)
    with pytest.raises(NotFound):
        world.ledger.orders.allocate("nothing", world.now, 0, never)


def test_a_decision_is_made_up_to_the_deadline_itself(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",))
    world.report(cycle.cycle_id, 0, entry())
    assert len(world.allocate(cycle, now=cycle.times.deadline_at)) == 1


def test_a_second_open_attempt_of_a_decision_is_refused_whole(world: World) -> None:
    world.reserve(entry())
    world.now += timedelta(hours=1)
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",))
    world.report(cycle.cycle_id, 0, entry())

    def careless(facts: AllocationFacts) -> Allocation:
        order = reserve_one(facts.candidates[0], 1, cycle, world.now)
        return Allocation(decisions=(), orders=(order,))

    with pytest.raises(Refused, match="contradicts the ledger"):
        world.ledger.orders.allocate(cycle.cycle_id, world.now, 0, careless)
    assert world.ledger.orders.of_cycle(cycle.cycle_id) == ()
    facts = world.ledger.cycles.facts(cycle.cycle_id)
    assert not facts.allocated


def test_a_reserved_order_is_stored_as_it_was_decided(world: World) -> None:
    (order,) = world.reserve(entry(quantity=D("0.0000015"), price=D("60000.10")))
    assert world.ledger.orders.order(order.client_order_id) == order
    assert order.quantity == D("0.0000015")
    assert '"quantity":"0.0000015"' in order.body
    assert world.ledger.orders.order("nothing") is None


def test_unknown_keeps_its_budget_and_is_set_from_sending_only(world: World) -> None:
    (order,) = world.reserve(entry())
    orders = world.ledger.orders
    assert not orders.mark_unknown(order.client_order_id, "timeout", world.now)
    world.send(order)
    assert orders.mark_unknown(order.client_order_id, "timeout", world.now)
    assert not orders.mark_unknown(order.client_order_id, "timeout", world.now)
    assert world.status(order) is OrderStatus.UNKNOWN
    facts = seen_facts(world)
    assert [o.client_order_id for o in facts.open_orders] == [order.client_order_id]


def test_late_and_repeated_answers_are_no_news(world: World) -> None:
    (order,) = world.reserve(entry())
    world.send(order)
    record = world.ledger.orders.record
    filled = answer(order, OrderStatus.FILLED, "1")
    assert record(filled, "submit", world.now)
    assert not record(filled, "lookup", world.now)
    assert not record(answer(order, OrderStatus.ACCEPTED), "lookup", world.now)
    assert not record(answer(order, OrderStatus.PARTIAL, "0.5"), "lookup", world.now)
    stored = world.ledger.orders.order(order.client_order_id)
    assert stored is not None
    assert (stored.status, stored.filled_quantity) == (OrderStatus.FILLED, D(1))
    assert (stored.venue_order_id, stored.lease_until) == (filled.order_id, None)


def test_an_answer_for_an_order_that_is_not_here_is_not_found(world: World) -> None:
    (order,) = world.reserve(entry())
    stranger = answer(order, OrderStatus.FILLED, client_order_id="stranger")
    with pytest.raises(NotFound):
        world.ledger.orders.record(stranger, "lookup", world.now)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("VOIDED", "0"), ("FILLED", "1")),
        (("REJECTED", "0"), ("FILLED", "1")),
        (("CANCELED", "0"), ("EXPIRED", "0")),
        (("PARTIAL", "0.5"), ("VOIDED", "0")),
        (("ACCEPTED", "0"), ("FILLED", "1.5")),
        (("ACCEPTED", "0"), ("REJECTED", "1")),
    ],
)
def test_a_contradiction_is_an_alert_and_a_latched_cause(
    world: World, first: tuple[str, str], second: tuple[str, str]
) -> None:
    (order,) = world.reserve(entry())
    world.send(order)
    for state, filled in (first, second):
        news = answer(order, OrderStatus(state), filled)
        assert world.ledger.orders.record(news, "lookup", world.now)
    state = world.ledger.state.read()
    assert [latch.cause for latch in state.latched] == ["contradiction"]
    assert state.effective is TradingState.REDUCING
    assert world.ledger.state.resolve_alert(f"contradiction|{order.client_order_id}", world.now)


def test_what_was_filled_counts_even_for_a_voided_order(world: World) -> None:
    (order,) = world.reserve(entry())
    world.ledger.orders.record(answer(order, OrderStatus.VOIDED), "void", world.now)
    world.store(fill_event(1, order), order_event(2, order, OrderStatus.FILLED, "1"))
    stored = world.ledger.orders.order(order.client_order_id)
    assert stored is not None
    assert (stored.status, stored.filled_quantity) == (OrderStatus.VOIDED, D(1))
    assert world.ledger.orders.position_sums() == {"BTC/USD": "1"}


def test_unresolved_are_those_whose_end_nobody_else_will_prove(world: World) -> None:
    orders = world.reserve(*(entry(f"{name}/USD") for name in "ABCDE"))
    fresh, leased, lost, accepted, done = orders
    for order in (leased, lost, accepted, done):
        world.send(order)
    world.ledger.orders.mark_unknown(lost.client_order_id, "timeout", world.now)
    world.ledger.orders.record(answer(accepted, OrderStatus.ACCEPTED), "submit", world.now)
    world.ledger.orders.record(answer(done, OrderStatus.FILLED, "1"), "submit", world.now)

    def unresolved() -> dict[str, bool]:
        found = world.ledger.orders.unresolved(world.now)
        return {item.order.symbol: item.may_resend for item in found}

    assert unresolved() == {"C/USD": True}
    world.now += timedelta(seconds=LEASE_S)
    assert unresolved() == {"B/USD": True, "C/USD": True}
    world.now = fresh.cutoff_at
    assert unresolved() == {"A/USD": False, "B/USD": False, "C/USD": False}
    world.now = fresh.valid_until
    assert set(unresolved()) == {"A/USD", "B/USD", "C/USD", "D/USD"}


def test_every_open_order_of_an_older_epoch_is_unresolved(world: World) -> None:
    (order,) = world.reserve(entry())
    world.ledger.cycles.raise_epoch(order.cycle_id, 0)
    (item,) = world.ledger.orders.unresolved(world.now)
    assert (item.order.client_order_id, item.may_resend) == (order.client_order_id, False)


def test_nothing_may_be_sent_again_while_halted(world: World) -> None:
    (order,) = world.reserve(entry())
    world.send(order)
    world.ledger.orders.mark_unknown(order.client_order_id, "timeout", world.now)
    world.ledger.state.set_operator(TradingState.HALTED, "test", "me", world.now)
    assert [item.may_resend for item in world.ledger.orders.unresolved(world.now)] == [False]


def test_a_foreign_order_is_adopted_once_with_alert_and_latched_cause(world: World) -> None:
    foreign = VenueOrder(
        client_order_id="foreign-1",
        order_id="v1",
        state=OrderStatus.CANCELED,
        filled_quantity=D("0.4"),
        average_price=D(100),
        fees=D("0.04"),
        seq=2,
        symbol="BTC/USD",
        side=Side.BUY,
        quantity=D(1),
        limit_price=D(101),
        strategy=None,
        epoch=3,
    )
    assert world.ledger.orders.adopt(foreign, world.now)
    assert not world.ledger.orders.adopt(foreign, world.now)
    stored = world.ledger.orders.order("foreign-1")
    assert stored is not None
    assert (stored.status, stored.quantity, stored.filled_quantity) == (
        OrderStatus.CANCELED,
        D(1),
        D("0.4"),
    )
    assert (stored.cycle_id, stored.reason, stored.strategy) == ("adopted", "adopted", "")
    state = world.ledger.state.read()
    assert [(c.cause, c.level) for c in state.latched] == [("foreign_order", TradingState.REDUCING)]
    assert world.ledger.state.resolve_alert("foreign_order|foreign-1", world.now)


def test_an_adopted_order_takes_in_the_fills_that_were_stored_before_it(world: World) -> None:
    (order,) = world.reserve(entry())
    stranger = fill_event(1, order, "0.4", client_order_id="s", strategy="")
    assert world.store(stranger) == ("s",)
    bare = VenueOrder(
        client_order_id="s",
        order_id="v",
        state=OrderStatus.PARTIAL,
        filled_quantity=D(0),
        average_price=None,
        fees=D(0),
        seq=1,
        quantity=D(1),
    )
    world.ledger.orders.adopt(bare, world.now)
    stored = world.ledger.orders.order("s")
    assert stored is not None
    assert (stored.filled_quantity, stored.average_price) == (D("0.4"), D(100))
    assert world.store(stranger) == ()


def test_a_decision_sees_attempts_and_how_the_last_one_ended(world: World) -> None:
    (order,) = world.reserve(entry())
    world.ledger.orders.record(answer(order, OrderStatus.VOIDED), "void", world.now)
    (second,) = world.reserve(entry())
    assert (second.attempt, second.decision_key) == (1, order.decision_key)
    assert second.client_order_id != order.client_order_id
    facts = seen_facts(world, "BTC/USD")
    open_twice = Attempt(count=2, last_terminal=False, last_filled=False)
    assert facts.attempts == {order.decision_key: open_twice}
    world.ledger.orders.record(answer(second, OrderStatus.CANCELED, "0.5"), "void", world.now)
    ended = Attempt(count=2, last_terminal=True, last_filled=True)
    assert seen_facts(world, "BTC/USD").attempts == {order.decision_key: ended}


def test_a_decision_sees_the_trading_state(world: World) -> None:
    world.ledger.state.set_operator(TradingState.REDUCING, "test", "me", world.now)
    assert seen_facts(world).trading_state is TradingState.REDUCING


def test_a_decision_sees_the_orders_of_the_last_market_minute(world: World) -> None:
    orders = world.reserve(entry("A/USD"), entry("B/USD"))
    market_time = orders[0].market_time

    def counted(after_s: float) -> int:
        world.now += timedelta(hours=1)
        cycle = world.open()
        world.plan(cycle, market_time=market_time + timedelta(seconds=after_s))
        seen: list[int] = []

        def decide(facts: AllocationFacts) -> Allocation:
            seen.append(facts.orders_last_minute)
            return Allocation(decisions=(), orders=())

        world.ledger.orders.allocate(cycle.cycle_id, world.now, 0, decide)
        return seen[0]

    assert [counted(0), counted(59), counted(60)] == [2, 2, 0]


def test_fills_that_the_snapshot_does_not_hold_are_unapplied(world: World) -> None:
    order = world.trade(entry())
    assert seen_facts(world, applied_seq=0).unapplied == {order.client_order_id: D(1)}
    late = seen_facts(world, applied_seq=0).late_orders
    assert [o.client_order_id for o in late] == [order.client_order_id]
    facts = seen_facts(world, applied_seq=1)
    assert (facts.unapplied, facts.late_orders) == ({}, ())


def test_a_fill_known_from_the_answer_alone_holds_budget_until_its_event_comes(
    world: World,
) -> None:
    (order,) = world.reserve(entry())
    world.send(order)
    world.ledger.orders.record(answer(order, OrderStatus.FILLED, "1"), "submit", world.now)
    facts = seen_facts(world, applied_seq=99)
    assert facts.unapplied == {order.client_order_id: D(1)}
    assert [o.status for o in facts.late_orders] == [OrderStatus.FILLED]
    world.store(fill_event(1, order))
    assert seen_facts(world, applied_seq=1).unapplied == {}


def test_an_answer_stands_until_all_the_fills_it_speaks_of_are_stored(world: World) -> None:
    (order,) = world.reserve(entry())
    world.send(order)
    world.ledger.orders.record(answer(order, OrderStatus.FILLED, "1"), "submit", world.now)
    world.store(fill_event(1, order, "0.4", price=D(90)))
    stored = world.ledger.orders.order(order.client_order_id)
    assert stored is not None
    assert (stored.filled_quantity, stored.average_price) == (D(1), D(100))
    assert seen_facts(world, applied_seq=1).unapplied == {order.client_order_id: D("0.6")}


def test_a_partly_applied_open_order_counts_only_what_is_missing(world: World) -> None:
    (order,) = world.reserve(entry())
    world.send(order)
    world.store(fill_event(1, order, "0.25"), fill_event(2, order, "0.5"))
    facts = seen_facts(world, applied_seq=1)
    assert facts.unapplied == {order.client_order_id: D("0.5")}
    assert [o.filled_quantity for o in facts.open_orders] == [D("0.75")]
    assert facts.late_orders == ()


def test_a_decision_sees_the_tightest_stop_of_each_open_position(world: World) -> None:
    world.trade(entry(stop_price=D(90)))
    world.trade(entry(stop_price=D(95), candle_time=2))
    world.trade(entry("ETH/USD", stop_price=None))
    assert seen_facts(world).entry_stops == {"BTC/USD": D(95)}
    world.trade(make_exit(quantity="2"))
    assert seen_facts(world).entry_stops == {}


def test_candidates_of_a_late_batch_take_no_part(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",), ("ETH/USD",))
    world.report(cycle.cycle_id, 1, entry("ETH/USD"))
    seen: list[AllocationFacts] = []

    def decide(facts: AllocationFacts) -> Allocation:
        seen.append(facts)
        return grant_all(cycle, world.now)(facts)

    world.ledger.orders.allocate(cycle.cycle_id, world.now, 0, decide)
    assert [intent.symbol for intent in seen[0].candidates] == ["ETH/USD"]
