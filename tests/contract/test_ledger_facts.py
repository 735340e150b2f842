"""What the ledger knows of the past: the execution log as stored, holdings, facts by symbol."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from engine.domain.cycle import SymbolFacts
from engine.domain.model import OrderStatus
from engine.errors import Refused
from engine.ledger.ledger import SqlLedger, open_ledger
from engine.settings import Settings, StoplossGuard
from tests.factories import make_exit
from tests.ledger_world import World, answer, entry, fill_event, order_event

D = Decimal
SYMBOL = "BTC/USD"


def facts(world: World, symbol: str = SYMBOL) -> SymbolFacts:
    return world.ledger.orders.symbol_facts([symbol, "OTHER/USD"], world.now)[symbol]


def test_the_log_belongs_to_one_identity_for_ever(world: World) -> None:
    orders = world.ledger.orders
    assert orders.log_id() is None
    orders.set_log_id("log-1")
    orders.set_log_id("log-1")
    with pytest.raises(Refused):
        orders.set_log_id("log-2")
    assert orders.log_id() == "log-1"


def test_the_cursor_stops_before_a_hole_and_passes_it_once_it_is_filled(world: World) -> None:
    (order,) = world.reserve(entry())
    assert world.ledger.orders.contiguous_seq() == 0
    world.store(fill_event(1, order, "0.1"), fill_event(2, order, "0.1"))
    world.store(fill_event(4, order, "0.1"), fill_event(6, order, "0.1"))
    assert world.ledger.orders.contiguous_seq() == 2
    world.store(fill_event(3, order, "0.1"))
    assert world.ledger.orders.contiguous_seq() == 4
    world.store(fill_event(5, order, "0.1"))
    assert world.ledger.orders.contiguous_seq() == 6


def test_an_event_is_stored_once(world: World) -> None:
    (order,) = world.reserve(entry())
    fill = fill_event(1, order, "0.5")
    world.store(fill, fill)
    world.store(fill)
    world.store(fill_event(2, order, "0.5", fill_id=fill.fill_id))
    assert world.ledger.orders.fills(0, 9) == (fill.fill(),)
    assert world.ledger.orders.position_sums() == {SYMBOL: "0.5"}
    assert world.ledger.orders.contiguous_seq() == 2


def test_fills_are_given_by_seq_after_one_and_up_to_another(world: World) -> None:
    (order,) = world.reserve(entry())
    stored = [fill_event(seq, order, "0.1") for seq in (3, 1, 2, 4)]
    world.store(*stored)
    assert [fill.seq for fill in world.ledger.orders.fills(1, 3)] == [2, 3]


def test_events_move_the_order_and_its_figures_come_from_its_fills(world: World) -> None:
    (order,) = world.reserve(entry(quantity=D(3)))
    world.send(order)
    world.store(
        fill_event(1, order, "1", price=D(99), fee=D("0.1")),
        fill_event(2, order, "1", price=D(98), fee=D("0.2")),
        order_event(3, order, OrderStatus.CANCELED, "2"),
    )
    stored = world.ledger.orders.order(order.client_order_id)
    assert stored is not None
    assert (stored.status, stored.filled_quantity) == (OrderStatus.CANCELED, D(2))
    assert (stored.average_price, stored.fees) == (D("98.5"), D("0.3"))


def test_ids_that_no_order_has_are_returned_until_they_are_adopted(world: World) -> None:
    (order,) = world.reserve(entry())
    strange = fill_event(1, order, client_order_id="x")
    assert world.store(strange, fill_event(2, order)) == ("x",)
    assert world.store(strange) == ("x",)
    world.ledger.orders.adopt(
        answer(order, OrderStatus.FILLED, "1", client_order_id="x"), world.now
    )
    assert world.store(strange) == ()


def test_position_sums_are_plain_and_without_closed_positions(world: World) -> None:
    world.trade(entry(quantity=D("0.50")))
    world.trade(entry("ETH/USD", quantity=D(1000)))
    world.trade(entry("XRP/USD"))
    world.trade(make_exit("XRP/USD"))
    assert world.ledger.orders.position_sums() == {SYMBOL: "0.5", "ETH/USD": "1000"}


def test_a_symbol_without_a_past_has_plain_facts(world: World) -> None:
    assert facts(world) == SymbolFacts(symbol=SYMBOL)


def test_the_owner_is_the_strategy_of_the_position_or_of_its_open_entry(world: World) -> None:
    (order,) = world.reserve(entry(strategy="a"))
    assert facts(world).owner == "a"
    world.ledger.orders.record(answer(order, OrderStatus.VOIDED), "void", world.now)
    assert facts(world).owner is None
    world.trade(entry(strategy="b"))
    assert facts(world).owner == "b"
    world.trade(make_exit(strategy="b"))
    assert facts(world).owner is None


def test_the_position_version_is_the_latest_fill_of_the_symbol(world: World) -> None:
    world.trade(entry())
    assert facts(world).position_fill_id == "fill-1"
    world.trade(entry("OTHER/USD"))
    world.trade(make_exit())
    assert facts(world).position_fill_id == "fill-5"


def test_a_late_fill_with_a_lower_seq_does_not_become_the_latest(world: World) -> None:
    (order,) = world.reserve(entry())
    world.store(fill_event(2, order, "0.5"))
    world.store(fill_event(1, order, "0.5"))
    assert facts(world).position_fill_id == "fill-2"
    assert world.ledger.orders.position_sums() == {SYMBOL: "1"}


def test_stop_and_target_are_the_tightest_of_the_open_position_alone(world: World) -> None:
    world.trade(entry(stop_price=D(99), target_price=D(101)))
    world.trade(make_exit())
    world.trade(entry(stop_price=D(90), target_price=D(130), candle_time=2))
    world.trade(entry(stop_price=D(92), target_price=D(120), candle_time=3))
    world.trade(entry(stop_price=None, target_price=None, candle_time=4))
    seen = facts(world)
    assert (seen.stop_price, seen.target_price) == (D(92), D(120))


def test_the_last_exit_is_the_market_time_of_the_last_sell_fill(world: World) -> None:
    world.trade(entry(quantity=D(2)))
    assert facts(world).last_exit_at is None
    sold = world.trade(make_exit())
    world.trade(entry(candle_time=2))
    assert facts(world).last_exit_at == sold.market_time


def test_orders_of_the_last_market_hour_are_counted_whatever_became_of_them(world: World) -> None:
    (order,) = world.reserve(entry())
    world.ledger.orders.record(answer(order, OrderStatus.VOIDED), "void", world.now)
    world.now += timedelta(minutes=59, seconds=59)
    assert facts(world).orders_last_hour == 1
    world.now += timedelta(seconds=1)
    assert facts(world).orders_last_hour == 0


def test_stop_outs_are_told_as_far_back_as_the_guard_looks(world: World) -> None:
    world.trade(entry())
    first = world.trade(make_exit())
    world.trade(entry(candle_time=2))
    second = world.trade(make_exit(exit_reason="signal"))
    assert facts(world).stop_exits_at == (first.market_time,)
    assert second.exit_reason == "signal"
    world.now = first.market_time + timedelta(hours=28)
    assert facts(world).stop_exits_at == (first.market_time,)
    world.now += timedelta(seconds=1)
    assert facts(world).stop_exits_at == ()


def test_a_guard_of_all_symbols_is_told_the_stop_outs_of_all(
    ledger: SqlLedger, ledger_settings: Settings
) -> None:
    guard = StoplossGuard(locks="all")
    risk = ledger_settings.risk.model_copy(update={"stoploss_guard": guard})
    shared = open_ledger(ledger_settings.model_copy(update={"risk": risk}))
    world = World(shared)
    world.trade(entry())
    stop = world.trade(make_exit())
    for symbol in (SYMBOL, "OTHER/USD"):
        assert facts(world, symbol).stop_exits_at == (stop.market_time,)
    own = ledger.orders.symbol_facts([SYMBOL, "OTHER/USD"], world.now)
    assert own["OTHER/USD"].stop_exits_at == ()
    shared.dispose()


def test_filled_orders_of_the_market_day_are_counted_by_strategy_and_side(world: World) -> None:
    world.now = world.now.replace(hour=0)
    world.trade(entry())
    world.trade(make_exit())
    world.trade(entry(strategy="b", candle_time=2))
    world.reserve(entry(strategy="b", candle_time=3))
    assert facts(world).strategy_orders_today == {
        "sma_cross|buy": 1,
        "sma_cross|sell": 1,
        "b|buy": 1,
    }
    world.now = (world.now + timedelta(days=1)).replace(hour=0)
    assert facts(world).strategy_orders_today == {}


def test_a_strategy_is_disabled_by_its_fifth_filled_order_of_a_day_until_enabled(
    world: World,
) -> None:
    world.now = world.now.replace(hour=0)
    for candle in range(4):
        world.trade(entry(candle_time=candle))
    assert facts(world).disabled_strategies == ()
    world.trade(entry(candle_time=9))
    assert facts(world).disabled_strategies == ("sma_cross",)
    world.now += timedelta(days=3)
    assert facts(world).disabled_strategies == ("sma_cross",)
    assert facts(world, "OTHER/USD").disabled_strategies == ()
    assert world.ledger.state.enable_strategy("sma_cross", world.now, "me") == 1
    assert facts(world).disabled_strategies == ()


def test_an_order_of_unknown_fate_quarantines_its_symbol(world: World) -> None:
    (order,) = world.reserve(entry())
    assert not facts(world).quarantined
    world.send(order)
    assert facts(world).quarantined
    world.ledger.orders.mark_unknown(order.client_order_id, "timeout", world.now)
    assert facts(world).quarantined
    assert not facts(world, "OTHER/USD").quarantined
    world.ledger.orders.record(answer(order, OrderStatus.VOIDED), "void", world.now)
    assert not facts(world).quarantined


def test_open_sells_reserve_what_is_not_filled_yet(world: World) -> None:
    world.trade(entry(quantity=D(3)))
    (order,) = world.reserve(make_exit(quantity="3"))
    assert facts(world).open_sell_quantity == D(3)
    world.send(order)
    world.store(fill_event(world.next_seq(), order, "1"))
    assert facts(world).open_sell_quantity == D(2)
    world.ledger.orders.record(answer(order, OrderStatus.CANCELED, "1"), "void", world.now)
    assert facts(world).open_sell_quantity == D(0)
