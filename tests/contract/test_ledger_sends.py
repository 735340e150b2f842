"""An order leaves only while state, epoch, cut-off, lease and the number of sends permit it."""

from __future__ import annotations

from datetime import timedelta

from engine.domain.model import Order, OrderStatus, TradingState
from tests.factories import make_exit
from tests.ledger_world import LEASE_S, World, answer, entry


def refusal(world: World, order: Order) -> str:
    grant = world.ledger.orders.begin_send(order.client_order_id, world.now, LEASE_S)
    assert grant.order is None
    return grant.refusal


def test_sending_counts_sends_and_takes_a_lease(world: World) -> None:
    (order,) = world.reserve(entry())
    sending = world.send(order)
    assert (sending.status, sending.sends) == (OrderStatus.SENDING, 1)
    assert sending.lease_until == world.now + timedelta(seconds=LEASE_S)
    assert sending.body == order.body
    assert refusal(world, order) == "it is being sent"


def test_a_send_whose_lease_ran_out_is_repeated_with_the_same_bytes(world: World) -> None:
    (order,) = world.reserve(entry())
    world.send(order)
    world.now += timedelta(seconds=LEASE_S)
    assert world.send(order).sends == 2


def test_an_unknown_order_is_sent_again_at_most_three_times_in_all(world: World) -> None:
    (order,) = world.reserve(entry())
    for sends in (1, 2, 3):
        assert world.send(order).sends == sends
        assert world.ledger.orders.mark_unknown(order.client_order_id, "timeout", world.now)
    assert refusal(world, order) == "it was sent 3 times"
    (left,) = world.ledger.orders.unresolved(world.now)
    assert not left.may_resend


def test_no_order_leaves_while_halted_and_only_exits_while_reducing(world: World) -> None:
    exit_order, entry_order = world.reserve(entry(), make_exit("ETH/USD"))
    state = world.ledger.state
    state.set_operator(TradingState.HALTED, "test", "me", world.now)
    assert refusal(world, exit_order) == "the trading state is HALTED"
    state.set_operator(TradingState.REDUCING, "test", "me", world.now)
    assert refusal(world, entry_order) == "the trading state is REDUCING"
    assert world.send(exit_order).sends == 1


def test_a_latched_cause_stops_a_send_as_well(world: World) -> None:
    (order,) = world.reserve(entry())
    world.ledger.state.latch("drawdown", TradingState.HALTED, "16 %", world.now)
    assert refusal(world, order) == "the trading state is HALTED"


def test_no_order_leaves_at_or_after_the_cutoff(world: World) -> None:
    (order,) = world.reserve(entry())
    world.now = order.cutoff_at
    assert refusal(world, order) == "the cut-off has passed"


def test_no_order_of_an_older_epoch_leaves(world: World) -> None:
    (order,) = world.reserve(entry())
    world.ledger.cycles.raise_epoch(order.cycle_id, 40)
    assert refusal(world, order) == f"its epoch {order.epoch} is not the current 41"


def test_an_order_that_was_answered_is_not_sent_again(world: World) -> None:
    (order,) = world.reserve(entry())
    world.send(order)
    world.ledger.orders.record(answer(order, OrderStatus.ACCEPTED), "submit", world.now)
    assert refusal(world, order) == "it is ACCEPTED"
    missing = world.ledger.orders.begin_send("nothing", world.now, LEASE_S)
    assert missing.refusal == "no such order"
