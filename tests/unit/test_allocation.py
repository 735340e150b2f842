"""The barrier grants the account's budget to the best candidates."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.domain.allocation import allocate
from engine.domain.cycle import Attempt
from engine.domain.ledger_values import Allocation
from engine.domain.model import (
    Allowance,
    OrderBody,
    OrderIntent,
    OrderStatus,
    OrderType,
    RiskDecision,
    Side,
    TimeInForce,
    TradingState,
    Verdict,
)
from engine.domain.orders import client_order_id
from tests.factories import (
    NOW,
    make_allocation_facts,
    make_cycle,
    make_exit,
    make_instrument,
    make_intent,
    make_limits,
    make_order,
    make_position,
    make_quote,
    make_snapshot,
)

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD")


def allocated(*candidates: OrderIntent, **changed: Any) -> Allocation:
    """All candidates at the barrier; facts by name, `limits` as changes of the risk limits."""
    names = ("snapshot", "quotes", "quote_problems", "instruments", "market_time", "now")
    arguments: dict[str, Any] = {
        "snapshot": make_snapshot(),
        "quotes": {symbol: make_quote() for symbol in SYMBOLS},
        "quote_problems": {},
        "instruments": {symbol: make_instrument(symbol) for symbol in SYMBOLS},
        "limits": make_limits(risk=changed.pop("limits", {}), sizing=changed.pop("sizing", {})),
        "cycle": make_cycle(),
        "market_time": NOW,
        "now": NOW,
        "may_enter": changed.pop("may_enter", True),
    }
    arguments |= {name: changed.pop(name) for name in names if name in changed}
    return allocate(make_allocation_facts(*candidates, **changed), **arguments)


def only(allocation: Allocation) -> RiskDecision:
    (decision,) = allocation.decisions
    return decision


def denial(allocation: Allocation) -> str:
    decision = only(allocation)
    assert decision.verdict is Verdict.DENIED
    assert decision.quantity == 0
    assert decision.reason.startswith(f"{decision.binding_rule}: ")
    assert allocation.orders == ()
    return decision.binding_rule


def quantity(allocation: Allocation) -> Decimal:
    (order,) = allocation.orders
    assert only(allocation).quantity == order.quantity
    return order.quantity


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


def big(symbol: str = "BTC/USD", **changed: Any) -> OrderIntent:
    return make_intent(symbol, quantity=Decimal(10_000), **changed)


LOOSE: dict[str, Any] = {
    "max_risk_per_trade": Decimal(1),
    "max_position_size_pct": Decimal(1),
    "max_portfolio_risk": Decimal(1),
    "max_order_notional": Decimal(10**9),
    "max_gross_exposure": Decimal(1),
    "min_cash": Decimal(0),
}


@pytest.mark.parametrize(
    ("limit", "value", "expected"),
    [
        # The limit price is 101, the stop 95: 6 at risk a unit. Equity is 100,000.
        ("max_risk_per_trade", "0.006", "100"),
        ("max_portfolio_risk", "0.012", "200"),
        ("max_position_size_pct", "0.101", "100"),
        ("max_gross_exposure", "0.202", "200"),
        ("max_order_notional", "1010", "10"),
    ],
)
def test_each_limit_bounds_the_size_at_the_limit_price(
    limit: str, value: str, expected: str
) -> None:
    allocation = allocated(big(), limits=LOOSE | {limit: Decimal(value)})
    assert quantity(allocation) == Decimal(expected)
    assert only(allocation).binding_rule == limit
    assert only(allocation).verdict is Verdict.RESIZED


def test_the_cash_floor_holds_at_the_limit_price_with_the_highest_fee() -> None:
    allocation = allocated(big(), limits=LOOSE | {"min_cash": Decimal("0.5")})
    assert quantity(allocation) == Decimal("494.0613")
    assert only(allocation).binding_rule == "min_cash"


def test_open_buys_hold_their_budget_and_unsettled_sells_give_none() -> None:
    """400 units at 100 in an open order, 100 of them filled but not in the snapshot."""
    open_buy = make_order(
        "ETH/USD", quantity=Decimal(400), filled_quantity=Decimal(100), stop_price=Decimal(99)
    )
    sell = make_order("SOL/USD", side=Side.SELL, quantity=Decimal(500))
    held = make_snapshot(make_position("SOL/USD", quantity="500"), cash="50000")
    common = {
        "snapshot": held,
        "open_orders": (open_buy, sell),
        "unapplied": {open_buy.client_order_id: Decimal(100)},
        "entry_stops": {"SOL/USD": Decimal(98)},
    }
    exposure = allocated(big(), limits=LOOSE, **common)
    assert quantity(exposure) == Decimal("98.0217")
    assert only(exposure).binding_rule == "min_cash"
    risk = allocated(big(), limits=LOOSE | {"max_portfolio_risk": Decimal("0.02")}, **common)
    assert quantity(risk) == Decimal("98.0217")
    tight = allocated(big(), limits=LOOSE | {"max_portfolio_risk": Decimal("0.0145")}, **common)
    assert quantity(tight) == Decimal("8.3333")


def test_a_late_orders_unapplied_fill_still_needs_its_budget() -> None:
    late = make_order("ETH/USD", status=OrderStatus.FILLED, quantity=Decimal(900))
    allocation = allocated(
        big(),
        limits=LOOSE,
        late_orders=(late,),
        unapplied={late.client_order_id: Decimal(900)},
    )
    assert quantity(allocation) == Decimal("97.0336")


def test_a_position_without_a_stop_is_wholly_at_risk() -> None:
    held = make_snapshot(make_position("ETH/USD", quantity="150"), cash="85000")
    denied = allocated(make_intent(), snapshot=held)
    assert denial(denied) == "max_portfolio_risk"
    stopped = allocated(make_intent(), snapshot=held, entry_stops={"ETH/USD": Decimal(99)})
    assert quantity(stopped) == 1


def test_budget_granted_in_the_cycle_is_gone_for_the_next_candidate() -> None:
    limits = LOOSE | {"max_gross_exposure": Decimal("0.303")}
    allocation = allocated(
        make_intent("BTC/USD", quantity=Decimal(200), confidence=0.9),
        make_intent("ETH/USD", quantity=Decimal(200)),
        make_intent("SOL/USD", quantity=Decimal(200), confidence=0.7),
        limits=limits,
    )
    assert [decision.quantity for decision in allocation.decisions] == [200, 100, 0]
    verdicts = [decision.verdict for decision in allocation.decisions]
    assert verdicts == [Verdict.APPROVED, Verdict.RESIZED, Verdict.DENIED]


def test_rules_that_count_orders_count_exits_and_never_refuse_them() -> None:
    held = make_snapshot(make_position(), make_position("ETH/USD"))
    allocation = allocated(
        make_exit(),
        make_exit("ETH/USD"),
        make_intent("SOL/USD"),
        snapshot=held,
        limits={"max_orders_per_cycle": 1},
    )
    assert [order.symbol for order in allocation.orders] == ["BTC/USD", "ETH/USD"]
    assert allocation.decisions[2].binding_rule == "max_orders_per_cycle"


def test_a_further_entry_of_a_held_symbol_opens_no_position() -> None:
    held = make_snapshot(make_position())
    assert quantity(allocated(make_intent(), snapshot=held, limits={"max_open_positions": 1})) == 1


def test_a_quote_at_or_below_the_stop_is_refused() -> None:
    intent = make_intent(stop_price=Decimal("99.9"))
    quotes = {"BTC/USD": make_quote("98.5")}
    assert denial(allocated(intent, quotes=quotes)) == "max_risk_per_trade"


def test_what_shrinks_below_the_minimum_value_is_denied() -> None:
    allocation = allocated(make_intent(), limits={"max_order_notional": Decimal("9.99")})
    assert denial(allocation) == "min_notional"
    assert "after max_order_notional" in only(allocation).reason


def sized_by_fraction(signal_price: str = "100") -> OrderIntent:
    wish = Allowance(rule="sizing.fraction", quantity=Decimal(990), detail="")
    return make_intent(
        quantity=Decimal(990), price=Decimal(signal_price), allowances=(wish,), stop_price=None
    )


def test_a_fraction_is_worked_out_on_the_quote_with_fees() -> None:
    """All of 10,000 in whole units at 200.42 with a fee of 0.2 %: 49 units."""
    allocation = allocated(
        sized_by_fraction("203"),
        quotes={"BTC/USD": make_quote("200.42")},
        instruments={"BTC/USD": make_instrument(lot_size=Decimal(1))},
        snapshot=make_snapshot(cash="10000"),
        sizing={"method": "fraction", "fraction": Decimal(1)},
        limits={"is_enforced": False, "price_collar": Decimal(0)},
    )
    assert quantity(allocation) == 49
    (order,) = allocation.orders
    assert order.limit_price == Decimal("200.42")
    assert only(allocation).verdict is Verdict.APPROVED


def test_lifted_rules_leave_cash_lot_and_holding() -> None:
    lifted = {"is_enforced": False}
    poor = make_snapshot(cash="1000")
    assert quantity(allocated(big(), snapshot=poor, limits=lifted)) == Decimal("9.8812")
    late = {"now": LATE, "market_time": NOW + timedelta(days=9), "orders_last_minute": 999}
    assert quantity(allocated(make_intent(quantity=Decimal("0.01")), limits=lifted, **late))
    assert denial(allocated(make_exit(), limits=lifted)) == "position"


def test_every_rule_that_was_asked_is_in_the_decision_once() -> None:
    rules = [allowance.rule for allowance in only(allocated(make_intent())).allowances]
    assert len(rules) == len(set(rules))
    assert {"already_traded", "price_collar", "min_cash", "max_gross_exposure"} <= set(rules)
