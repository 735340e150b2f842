"""What the barrier grants, the audit finds within the limits; what goes beyond them it names."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.audit.grants import Grant, broken_limits
from engine.domain.book import basis_of
from engine.domain.model import Order, OrderIntent, Side
from tests.barrier import SYMBOLS, allocated
from tests.factories import (
    make_allocation_facts,
    make_exit,
    make_intent,
    make_limits,
    make_order,
    make_position,
    make_snapshot,
)

shares = st.decimals("0.01", "1", places=2)
quantities = st.decimals("0.01", "900", places=2)


@st.composite
def candidates(draw: st.DrawFn) -> list[OrderIntent]:
    wishes = draw(st.lists(st.tuples(st.sampled_from(SYMBOLS), quantities, st.integers(80, 99))))
    return [
        make_intent(
            symbol, quantity=quantity, stop_price=Decimal(stop), decision_key=f"{symbol}|{number}"
        )
        for number, (symbol, quantity, stop) in enumerate(wishes)
    ]


@st.composite
def risk_limits(draw: st.DrawFn) -> dict[str, object]:
    names = ("max_portfolio_risk", "max_gross_exposure", "max_position_size_pct", "min_cash")
    limits: dict[str, object] = {name: draw(shares) for name in names}
    return limits | {
        "max_open_positions": draw(st.integers(1, 4)),
        "max_orders_per_cycle": draw(st.integers(1, 6)),
        "max_orders_per_minute": draw(st.integers(1, 6)),
        "max_order_notional": draw(st.decimals(100, 50000, places=0)),
    }


@settings(max_examples=150, deadline=None)
@given(wishes=candidates(), limits=risk_limits(), pending=quantities)
def test_the_audit_finds_nothing_in_what_the_barrier_grants(
    wishes: list[OrderIntent], limits: dict[str, object], pending: Decimal
) -> None:
    snapshot = make_snapshot(make_position("BTC/USD", "5"))
    waiting = make_order("XRP/USD", quantity=pending)
    facts = make_allocation_facts(*wishes, open_orders=(waiting,))
    granted = allocated(
        *wishes, make_exit(), snapshot=snapshot, limits=limits, open_orders=(waiting,)
    )
    basis = basis_of(snapshot, facts, make_limits(risk=limits).risk)
    assert list(broken_limits(Grant(basis, granted.orders))) == []


@settings(max_examples=50, deadline=None)
@given(quantity=quantities, held=quantities)
def test_a_sale_of_more_than_is_held_and_not_on_sale_is_named(
    quantity: Decimal, held: Decimal
) -> None:
    snapshot = make_snapshot(make_position("BTC/USD", str(held)))
    earlier = make_order("BTC/USD", side=Side.SELL, reduce_only=True, quantity=held / 2)
    facts = make_allocation_facts(open_orders=(earlier,))
    basis = basis_of(snapshot, facts, make_limits().risk)
    sale: Order = msgspec.structs.replace(earlier, client_order_id="new", quantity=quantity)
    faults = list(broken_limits(Grant(basis, (sale,))))
    assert bool(faults) is (quantity + held / 2 > held)
