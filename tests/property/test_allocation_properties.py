"""Never over any limit, whatever is held, on order and asked for.

The limits are worked out here in exact fractions, from the orders that come out, with nothing
of the engine's own arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.allocation import allocate
from engine.domain.book import book_of
from engine.domain.ledger_values import Allocation
from engine.domain.limits import RiskLimits
from engine.domain.model import (
    Instrument,
    Order,
    OrderIntent,
    OrderStatus,
    PortfolioSnapshot,
    Position,
    Quote,
    Side,
    TradingState,
    Verdict,
)
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

SYMBOLS = [f"S{number}/USD" for number in range(6)]
STRATEGIES = ["alpha", "beta"]
OPEN = [OrderStatus.SENDING, OrderStatus.UNKNOWN, OrderStatus.ACCEPTED, OrderStatus.PARTIAL]


@dataclass(frozen=True)
class Case:
    """One barrier."""

    snapshot: PortfolioSnapshot
    candidates: tuple[OrderIntent, ...]
    open_orders: tuple[Order, ...]
    late_orders: tuple[Order, ...]
    unapplied: dict[str, Decimal]
    stops: dict[str, Decimal]
    quotes: dict[str, Quote]
    instruments: dict[str, Instrument]
    limits: RiskLimits

    def decide(self) -> Allocation:
        facts = make_allocation_facts(
            *self.candidates,
            open_orders=self.open_orders,
            late_orders=self.late_orders,
            unapplied=self.unapplied,
            entry_stops=self.stops,
        )
        return allocate(
            facts,
            snapshot=self.snapshot,
            quotes=self.quotes,
            quote_problems={},
            instruments=self.instruments,
            limits=msgspec.structs.replace(make_limits(), risk=self.limits),
            cycle=make_cycle(),
            market_time=NOW,
            now=NOW,
            may_enter=True,
        )


quantities = st.decimals("0.01", "300", places=2)
prices = st.decimals("90", "110", places=2)
stops = st.one_of(st.none(), st.decimals("50", "89", places=1))


def shares(lowest: str = "0.01", highest: str = "1") -> st.SearchStrategy[Decimal]:
    return st.decimals(lowest, highest, places=3)


@st.composite
def positions(draw: st.DrawFn) -> list[Position]:
    held = draw(st.lists(st.sampled_from(SYMBOLS), unique=True, max_size=3))
    return [
        make_position(
            symbol,
            quantity=str(draw(quantities)),
            market_price=draw(prices),
            strategy=draw(st.sampled_from([*STRATEGIES, None])),
        )
        for symbol in held
    ]


@st.composite
def orders(draw: st.DrawFn, statuses: list[OrderStatus], prefix: str) -> list[Order]:
    found = []
    for number in range(draw(st.integers(0, 2))):
        quantity = draw(quantities)
        filled = draw(st.decimals("0", str(quantity), places=2))
        order = make_order(
            draw(st.sampled_from(SYMBOLS)),
            client_order_id=f"{prefix}{number}",
            side=draw(st.sampled_from(list(Side))),
            quantity=quantity,
            filled_quantity=filled,
            limit_price=draw(prices),
            strategy=draw(st.sampled_from(STRATEGIES)),
            status=draw(st.sampled_from(statuses)),
            stop_price=draw(stops),
        )
        found.append(order)
    return found


@st.composite
def candidates(draw: st.DrawFn) -> list[OrderIntent]:
    found = []
    for number in range(draw(st.integers(0, 7))):
        symbol = draw(st.sampled_from(SYMBOLS))
        if draw(st.integers(0, 3)) == 0:
            reason = draw(st.sampled_from(["stop", "time", "signal"]))
            wish = make_exit(symbol, quantity=str(draw(quantities)), exit_reason=reason)
        else:
            wish = make_intent(
                symbol,
                quantity=draw(quantities),
                stop_price=draw(stops),
                confidence=draw(st.sampled_from([0.6, 0.7, 0.9])),
                strategy=draw(st.sampled_from(STRATEGIES)),
            )
        key = f"{wish.decision_key}|{draw(st.integers(0, 1)) and number}"
        found.append(msgspec.structs.replace(wish, decision_key=key))
    return found


@st.composite
def risk_limits(draw: st.DrawFn) -> RiskLimits:
    return msgspec.structs.replace(
        make_limits().risk,
        max_risk_per_trade=draw(shares()),
        max_position_size_pct=draw(shares()),
        max_portfolio_risk=draw(shares()),
        max_gross_exposure=draw(shares()),
        min_cash=draw(shares("0", "0.5")),
        max_order_notional=draw(st.decimals("50", "50000", places=2)),
        max_open_positions=draw(st.integers(1, 6)),
        max_orders_per_cycle=draw(st.integers(1, 8)),
        max_orders_per_minute=draw(st.integers(1, 8)),
        max_fee=draw(shares("0", "0.02")),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    working = draw(orders(OPEN, "open"))
    late = draw(orders([OrderStatus.FILLED, OrderStatus.CANCELED], "late"))
    unapplied = {
        order.client_order_id: draw(st.decimals("0", str(order.filled_quantity), places=2))
        for order in (*working, *late)
        if order.filled_quantity > 0
    }
    held = draw(positions())
    return Case(
        snapshot=make_snapshot(*held, cash=draw(st.decimals("0", "60000", places=2))),
        candidates=tuple(draw(candidates())),
        open_orders=tuple(working),
        late_orders=tuple(late),
        unapplied=unapplied,
        stops={p.symbol: s for p in held if (s := draw(stops)) is not None},
        quotes={s: make_quote(draw(st.decimals("98.5", "101.5", places=2))) for s in SYMBOLS},
        instruments={
            s: make_instrument(s, lot_size=draw(st.sampled_from([Decimal("0.01"), Decimal(3)])))
            for s in SYMBOLS
        },
        limits=draw(risk_limits()),
    )


def pending(case: Case, order: Order) -> Fraction:
    waiting = Fraction(case.unapplied.get(order.client_order_id, 0))
    if order.status in OPEN:
        waiting += Fraction(order.quantity) - Fraction(order.filled_quantity)
    return waiting


def buys(case: Case, allocation: Allocation) -> list[tuple[Order, Fraction]]:
    """Every buy that may still use up budget, with its quantity, the new ones last."""
    before = [(order, pending(case, order)) for order in (*case.open_orders, *case.late_orders)]
    new = [(order, Fraction(order.quantity)) for order in allocation.orders]
    return [(o, q) for o, q in (*before, *new) if o.side is Side.BUY and q > 0]


def entries(allocation: Allocation) -> list[Order]:
    return [order for order in allocation.orders if order.side is Side.BUY]


def at_risk(price: Decimal, stop: Decimal | None) -> Fraction:
    return Fraction(price) if stop is None else max(Fraction(price) - Fraction(stop), Fraction(0))


@given(cases())
@settings(max_examples=200)
def test_no_entry_leaves_the_account_over_a_limit(case: Case) -> None:
    allocation = case.decide()
    if not entries(allocation):
        return
    limits, equity = case.limits, Fraction(case.snapshot.equity)
    held = case.snapshot.positions
    committed = buys(case, allocation)
    cost = sum(q * Fraction(o.limit_price) * (1 + Fraction(limits.max_fee)) for o, q in committed)
    assert Fraction(case.snapshot.cash) - cost >= Fraction(limits.min_cash) * equity
    value = sum(Fraction(p.quantity) * Fraction(p.market_price) for p in held)
    exposure = value + sum(q * Fraction(o.limit_price) for o, q in committed)
    assert exposure <= Fraction(limits.max_gross_exposure) * equity
    risk = sum(
        Fraction(p.quantity) * at_risk(p.market_price, case.stops.get(p.symbol)) for p in held
    ) + sum(q * at_risk(o.limit_price, o.stop_price) for o, q in committed)
    assert risk <= Fraction(limits.max_portfolio_risk) * equity


@given(cases())
@settings(max_examples=200)
def test_no_entry_is_over_the_limits_of_one_order_or_symbol(case: Case) -> None:
    allocation = case.decide()
    limits, equity = case.limits, Fraction(case.snapshot.equity)
    for order in entries(allocation):
        quantity, price = Fraction(order.quantity), Fraction(order.limit_price)
        assert quantity * price <= Fraction(limits.max_order_notional)
        most = Fraction(limits.max_risk_per_trade) * equity
        assert quantity * at_risk(order.limit_price, order.stop_price) <= most
        position = case.snapshot.position(order.symbol)
        held = Fraction(position.value) if position is not None else Fraction(0)
        waiting = sum(
            q * Fraction(o.limit_price)
            for o, q in buys(case, allocation)
            if o.symbol == order.symbol
        )
        assert held + waiting <= Fraction(limits.max_position_size_pct) * equity


@given(cases())
@settings(max_examples=200)
def test_entries_are_within_every_count_and_symbols_keep_one_owner(case: Case) -> None:
    allocation = case.decide()
    new = entries(allocation)
    before = {p.symbol for p in case.snapshot.positions}
    before |= {
        o.symbol
        for o in (*case.open_orders, *case.late_orders)
        if o.side is Side.BUY and pending(case, o) > 0
    }
    opened = {order.symbol for order in new} - before
    if opened:
        assert len(before | opened) <= case.limits.max_open_positions
    if new:
        assert len(allocation.orders) <= case.limits.max_orders_per_cycle
        assert len(allocation.orders) <= case.limits.max_orders_per_minute
    for order in new:
        position = case.snapshot.position(order.symbol)
        assert position is None or position.strategy == order.strategy
        assert {o.strategy for o in new if o.symbol == order.symbol} == {order.strategy}
        assert not [o for o in allocation.orders if o.symbol == order.symbol and o.is_exit]


@given(cases())
@settings(max_examples=200)
def test_exits_never_sell_more_than_is_held(case: Case) -> None:
    allocation = case.decide()
    for symbol in SYMBOLS:
        position = case.snapshot.position(symbol)
        held = Fraction(position.quantity) if position is not None else Fraction(0)
        selling = sum(
            Fraction(o.quantity) for o in allocation.orders if o.is_exit and o.symbol == symbol
        )
        reserved = sum(
            pending(case, o)
            for o in (*case.open_orders, *case.late_orders)
            if o.is_exit and o.symbol == symbol
        )
        assert selling == 0 or selling + reserved <= held


@given(cases())
@settings(max_examples=100)
def test_nothing_is_created_by_rounding(case: Case) -> None:
    for decision in case.decide().decisions:
        lot = case.instruments[decision.intent.symbol].lot_size
        assert decision.quantity % lot == 0
        assert 0 <= decision.quantity <= decision.intent.quantity
        for allowance in decision.allowances:
            if allowance.quantity is not None and decision.verdict is not Verdict.DENIED:
                assert decision.quantity <= allowance.quantity


@given(cases())
@settings(max_examples=100)
def test_without_limits_a_book_of_cash_and_holdings_decides_as_the_whole_one(case: Case) -> None:
    lifted = replace(case, limits=msgspec.structs.replace(case.limits, is_enforced=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "engine.domain.allocation.book_of",
            lambda snapshot, facts, _limits: book_of(snapshot, facts, case.limits),
        )
        whole = lifted.decide()
    assert lifted.decide() == whole


@given(cases(), st.integers())
@settings(max_examples=150)
def test_the_order_of_arrival_does_not_matter(case: Case, seed: int) -> None:
    unequal = tuple({intent.decision_key: intent for intent in case.candidates}.values())
    shuffled = list(unequal)
    Random(seed).shuffle(shuffled)  # noqa: S311
    case = replace(case, candidates=unequal)
    assert replace(case, candidates=tuple(shuffled)).decide() == case.decide()


TIGHTER: dict[str, Any] = {
    "max_risk_per_trade": Decimal("0.5"),
    "max_position_size_pct": Decimal("0.5"),
    "max_portfolio_risk": Decimal("0.5"),
    "max_gross_exposure": Decimal("0.5"),
    "max_order_notional": Decimal("0.5"),
    "max_open_positions": Decimal("0.5"),
}


@given(cases(), st.sampled_from(sorted(TIGHTER)))
@settings(max_examples=200)
def test_a_tighter_limit_never_approves_more_of_one_order(case: Case, name: str) -> None:
    loose = getattr(case.limits, name)
    tight = type(loose)(loose * TIGHTER[name])
    limits = msgspec.structs.replace(case.limits, **{name: tight})
    for intent in case.candidates:
        alone = replace(case, candidates=(intent,))
        tightened = replace(alone, limits=limits)
        assert tightened.decide().decisions[0].quantity <= alone.decide().decisions[0].quantity


@given(cases(), risk_limits())
@settings(max_examples=150)
def test_no_limit_changes_what_exits_get(case: Case, other: RiskLimits) -> None:
    closed = msgspec.structs.replace(
        other, max_order_notional=Decimal(0), max_open_positions=0, max_orders_per_minute=0
    )

    def exits(limits: RiskLimits) -> list[tuple[str, Decimal]]:
        allocation = replace(case, limits=limits).decide()
        return [
            (decision.intent.decision_key, decision.quantity)
            for decision in allocation.decisions
            if decision.intent.is_exit
        ]

    assert exits(closed) == exits(case.limits)


@given(cases(), st.sampled_from([TradingState.REDUCING, TradingState.HALTED]))
@settings(max_examples=60)
def test_a_lowered_state_enters_nothing(case: Case, state: TradingState) -> None:
    facts = make_allocation_facts(*case.candidates, trading_state=state)
    allocation = allocate(
        facts,
        snapshot=case.snapshot,
        quotes=case.quotes,
        quote_problems={},
        instruments=case.instruments,
        limits=make_limits(),
        cycle=make_cycle(),
        market_time=NOW,
        now=NOW,
        may_enter=True,
    )
    assert entries(allocation) == []
    if state is TradingState.HALTED:
        assert allocation.orders == ()


@given(cases())
@settings(max_examples=100)
def test_every_candidate_has_one_decision_and_every_grant_one_order(case: Case) -> None:
    allocation = case.decide()
    decided = sorted(map(repr, (decision.intent for decision in allocation.decisions)))
    assert decided == sorted(map(repr, case.candidates))
    granted = [
        (d.intent.decision_key, d.quantity)
        for d in allocation.decisions
        if d.verdict is not Verdict.DENIED
    ]
    assert granted == [(order.decision_key, order.quantity) for order in allocation.orders]
    ids = [order.client_order_id for order in allocation.orders]
    assert len(set(ids)) == len(ids)
