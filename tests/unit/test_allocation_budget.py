"""How much of the account's budget a candidate gets."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.model import (
    Allowance,
    OrderIntent,
    OrderStatus,
    Side,
    Verdict,
)
from tests.barrier import allocated, denial, only, quantity
from tests.factories import (
    NOW,
    make_exit,
    make_instrument,
    make_intent,
    make_order,
    make_position,
    make_quote,
    make_snapshot,
)

LATE = NOW + timedelta(seconds=11)


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


def test_no_more_orders_leave_than_the_cycle_may_send() -> None:
    allocation = allocated(
        make_intent("BTC/USD"), make_intent("ETH/USD"), limits={"max_orders_per_cycle": 1}
    )
    assert [order.symbol for order in allocation.orders] == ["BTC/USD"]
    assert allocation.decisions[1].binding_rule == "max_orders_per_cycle"


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
