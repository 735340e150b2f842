"""Which candidates pass the barrier, in which order, and the orders they become."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.domain.cycle import Attempt
from engine.domain.model import (
    OrderBody,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    TradingState,
    Verdict,
)
from engine.domain.orders import client_order_id
from tests.barrier import allocated, denial, only, quantity
from tests.factories import (
    NOW,
    make_exit,
    make_intent,
    make_order,
    make_position,
    make_quote,
    make_snapshot,
)


def test_an_approved_entry_becomes_a_reserved_order_with_a_frozen_body() -> None:
    intent = make_intent(target_price=Decimal(120))
    allocation = allocated(intent)
    assert only(allocation).verdict is Verdict.APPROVED
    (order,) = allocation.orders
    assert order.client_order_id == client_order_id(intent.decision_key, 0)
    assert (order.status, order.attempt, order.sends) == (OrderStatus.RESERVED, 0, 0)
    assert (order.cycle_id, order.epoch) == ("c1", 7)
    assert (order.limit_price, order.reference_price) == (101, 100)
    assert (order.stop_price, order.target_price) == (95, 120)
    assert order.cutoff_at == NOW + timedelta(seconds=85)
    assert order.valid_until == NOW + timedelta(seconds=100)
    body = msgspec.json.decode(order.body, type=OrderBody)
    assert body == OrderBody(
        client_order_id=order.client_order_id,
        account="paper",
        epoch=7,
        symbol="BTC/USD",
        side=Side.BUY,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.IOC,
        quantity=Decimal(1),
        reference_price=Decimal(100),
        reduce_only=False,
        strategy="sma_cross",
        valid_until=order.valid_until,
        limit_price=Decimal(101),
    )


def test_an_exit_sells_at_the_bid_less_half_a_collar() -> None:
    quote = make_quote(bid=Decimal(98), ask=Decimal(102))
    allocation = allocated(
        make_exit(), snapshot=make_snapshot(make_position()), quotes={"BTC/USD": quote}
    )
    (order,) = allocation.orders
    assert (order.side, order.limit_price, order.reference_price) == (
        Side.SELL,
        Decimal("97.02"),
        98,
    )
    assert (order.reduce_only, order.exit_reason) == (True, "stop")


def test_candidates_are_ranked_exits_first_then_by_confidence_symbol_and_strategy() -> None:
    candidates = [
        make_intent("ETH/USD", confidence=0.7),
        make_intent("SOL/USD", confidence=0.9),
        make_intent("XRP/USD", confidence=0.7),
        make_exit("BTC/USD", confidence=0.1),
    ]
    allocation = allocated(*candidates, snapshot=make_snapshot(make_position()))
    symbols = [decision.intent.symbol for decision in allocation.decisions]
    assert symbols == ["BTC/USD", "SOL/USD", "ETH/USD", "XRP/USD"]
    assert [order.symbol for order in allocation.orders] == symbols


def test_the_best_candidate_gets_the_last_budget() -> None:
    limits = {"max_open_positions": 1}
    allocation = allocated(
        make_intent("BTC/USD", confidence=0.7),
        make_intent("ETH/USD", confidence=0.9),
        limits=limits,
    )
    assert [order.symbol for order in allocation.orders] == ["ETH/USD"]
    assert allocation.decisions[1].binding_rule == "max_open_positions"


LATE = NOW + timedelta(seconds=11)

ENTRY_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"trading_state": TradingState.REDUCING}, "trading_state"),
    ({"may_enter": False}, "degraded"),
    ({"now": LATE}, "max_snapshot_age_s"),
    ({"quote_problems": {"BTC/USD": "stale: 20 s old"}}, "quote"),
    (
        {"quotes": {"BTC/USD": make_quote(as_of=NOW - timedelta(seconds=15.1))}},
        "max_quote_age_s",
    ),
    ({"market_time": NOW + timedelta(seconds=301)}, "signal_ttl_s"),
    ({"quotes": {"BTC/USD": make_quote("102.01")}}, "price_collar"),
    ({"quotes": {"BTC/USD": make_quote("97.99")}}, "price_collar"),
    ({"orders_last_minute": 60}, "max_orders_per_minute"),
    ({"limits": {"max_orders_per_minute": 1}, "orders_last_minute": 1}, "max_orders_per_minute"),
]


@pytest.mark.parametrize(("changes", "rule"), ENTRY_REFUSALS)
def test_each_rule_of_the_account_refuses_an_entry_under_its_own_name(
    changes: dict[str, Any], rule: str
) -> None:
    assert denial(allocated(make_intent(), **changes)) == rule


@pytest.mark.parametrize(("changes", "rule"), ENTRY_REFUSALS)
def test_no_entry_rule_refuses_an_exit(changes: dict[str, Any], rule: str) -> None:
    allocation = allocated(make_exit(), snapshot=make_snapshot(make_position()), **changes)
    assert quantity(allocation) == 1


def test_what_an_exit_does_need() -> None:
    held = make_snapshot(make_position())
    assert denial(allocated(make_exit(), snapshot=held, quotes={})) == "quote"
    nan = {"BTC/USD": make_quote(bid=Decimal("NaN"))}
    assert denial(allocated(make_exit(), snapshot=held, quotes=nan)) == "quote"
    assert denial(allocated(make_exit(), snapshot=held, instruments={})) == "unknown_symbol"
    halted = TradingState.HALTED
    assert denial(allocated(make_exit(), snapshot=held, trading_state=halted)) == "trading_state"
    late = NOW + timedelta(seconds=301)
    assert denial(allocated(make_exit(), snapshot=held, now=late)) == "max_stale_snapshot_s"
    assert denial(allocated(make_exit())) == "position"


def test_an_entry_needs_a_quote_and_an_instrument() -> None:
    assert denial(allocated(make_intent(), quotes={})) == "quote"
    assert denial(allocated(make_intent(), instruments={})) == "unknown_symbol"


@pytest.mark.parametrize(
    ("attempt", "rule"),
    [
        (Attempt(count=1, last_terminal=False, last_filled=False), "already_traded"),
        (Attempt(count=1, last_terminal=True, last_filled=True), "already_traded"),
        (Attempt(count=3, last_terminal=True, last_filled=False), "max_attempts_per_signal"),
    ],
)
def test_a_decision_is_not_acted_on_twice(attempt: Attempt, rule: str) -> None:
    intent = make_intent()
    assert denial(allocated(intent, attempts={intent.decision_key: attempt})) == rule


def test_a_further_attempt_follows_one_that_ended_unfilled() -> None:
    intent = make_intent()
    attempts = {intent.decision_key: Attempt(count=2, last_terminal=True, last_filled=False)}
    (order,) = allocated(intent, attempts=attempts).orders
    assert order.attempt == 2
    assert order.client_order_id == client_order_id(intent.decision_key, 2)


def test_exits_are_attempted_without_bound_and_widen_their_limit() -> None:
    intent = make_exit()
    attempts = {intent.decision_key: Attempt(count=4, last_terminal=True, last_filled=False)}
    held = make_snapshot(make_position())
    (order,) = allocated(intent, attempts=attempts, snapshot=held).orders
    assert (order.attempt, order.limit_price) == (4, 95)


def test_the_same_decision_twice_in_a_cycle_is_taken_once() -> None:
    allocation = allocated(make_intent(), make_intent())
    assert len(allocation.orders) == 1
    assert allocation.decisions[1].binding_rule == "already_traded"


def test_a_symbol_has_one_owner() -> None:
    other = make_intent(strategy="macd", confidence=0.7)
    assert allocated(make_intent(), other).decisions[1].binding_rule == "owned"
    held = make_snapshot(make_position(strategy="macd"))
    assert denial(allocated(make_intent(), snapshot=held)) == "owned"
    foreign = make_snapshot(make_position(strategy=None))
    assert denial(allocated(make_intent(), snapshot=foreign)) == "owned"
    order = make_order(strategy="macd")
    assert denial(allocated(make_intent(), open_orders=(order,))) == "owned"


def test_nothing_is_bought_while_it_is_sold() -> None:
    held = make_snapshot(make_position())
    allocation = allocated(make_intent(), make_exit(), snapshot=held)
    assert allocation.decisions[1].binding_rule == "exiting"


def test_two_exits_cannot_oversell() -> None:
    held = make_snapshot(make_position(quantity="1.5"))
    first, second = make_exit(), make_exit(exit_reason="time")
    allocation = allocated(first, second, snapshot=held)
    assert [order.quantity for order in allocation.orders] == [1, Decimal("0.5")]
    assert allocation.decisions[1].verdict is Verdict.RESIZED


def test_open_and_unapplied_sells_reserve_what_they_sell() -> None:
    held = make_snapshot(make_position(quantity="10"))
    open_sell = make_order(
        side=Side.SELL, quantity=Decimal(4), filled_quantity=Decimal(1), client_order_id="s1"
    )
    done = make_order(
        side=Side.SELL, quantity=Decimal(2), client_order_id="s2", status=OrderStatus.FILLED
    )
    allocation = allocated(
        make_exit(quantity="10"),
        snapshot=held,
        open_orders=(open_sell,),
        late_orders=(done,),
        unapplied={"s1": Decimal(1), "s2": Decimal(2)},
    )
    assert quantity(allocation) == 4
