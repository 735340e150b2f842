"""Order identity, states and prices hold for every input."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.amounts import affordable, ceil_to, floor_to, from_float, plain
from engine.domain.model import OrderStatus, Side
from engine.domain.orders import (
    RANKS,
    client_order_id,
    entry_key,
    exit_key,
    is_terminal,
    limit_price,
    may_move,
)
from tests.factories import make_quote

statuses = st.sampled_from(list(OrderStatus))
parts = st.text("ab|%/1", max_size=4)
prices = st.decimals("0.0001", "100000", places=4)
steps = st.sampled_from([Decimal(s) for s in ("1", "0.1", "0.01", "0.0001", "0.25", "10", "3")])
amounts = st.decimals("0", "1000000", places=6)


@given(st.lists(statuses, max_size=20))
@settings(max_examples=200)
def test_whatever_the_news_the_rank_only_rises(news: list[OrderStatus]) -> None:
    status = OrderStatus.RESERVED
    for new in news:
        if not may_move(status, new):
            continue
        repeats_send = (status, new) == (OrderStatus.UNKNOWN, OrderStatus.SENDING)
        assert repeats_send or RANKS[new] > RANKS[status]
        assert not is_terminal(status)
        status = new


@given(statuses, statuses)
def test_nothing_leaves_an_end(old: OrderStatus, new: OrderStatus) -> None:
    assert not (is_terminal(old) and may_move(old, new))


@given(parts, st.integers(0, 50), parts, st.integers(0, 50))
@settings(max_examples=200)
def test_ids_are_equal_exactly_when_key_and_attempt_are(
    key: str, attempt: int, other: str, later: int
) -> None:
    key, other = f"v1|{key}", f"v1|{other}"
    is_same = (key, attempt) == (other, later)
    assert (client_order_id(key, attempt) == client_order_id(other, later)) == is_same


triples = st.tuples(parts, parts, parts)


@given(triples, triples)
@settings(max_examples=200)
def test_different_exits_have_different_keys(
    first: tuple[str, str, str], second: tuple[str, str, str]
) -> None:
    def key(symbol: str, reason: str, version: str) -> str:
        return exit_key("a", symbol=symbol, reason=reason, position_version=version)

    assert (key(*first) == key(*second)) == (first == second)


@given(triples, triples)
@settings(max_examples=200)
def test_different_entries_have_different_keys(
    first: tuple[str, str, str], second: tuple[str, str, str]
) -> None:
    def key(strategy: str, version: str, symbol: str) -> str:
        return entry_key(
            "a", strategy=strategy, version=version, symbol=symbol, timeframe="1h", candle_time=1
        )

    assert (key(*first) == key(*second)) == (first == second)


@given(prices, st.decimals("0", "0.5", places=3), steps, st.integers(0, 5))
@settings(max_examples=200)
def test_a_limit_is_on_the_tick_and_less_than_one_tick_beyond_its_distance(
    price: Decimal, collar: Decimal, tick: Decimal, widen: int
) -> None:
    share = Fraction(collar) * (Fraction(1, 2) + widen)
    buy = limit_price(Side.BUY, make_quote(price), collar, tick, widen)
    sell = limit_price(Side.SELL, make_quote(price), collar, tick, widen)
    assert buy % tick == 0
    assert sell % tick == 0
    assert 0 <= Fraction(buy) - Fraction(price) * (1 + share) < tick
    exact = Fraction(price) * (1 - share)
    assert sell == tick or 0 <= exact - Fraction(sell) < tick


@given(amounts, steps)
@settings(max_examples=200)
def test_steps_are_exact(amount: Decimal, step: Decimal) -> None:
    down, up = floor_to(amount, step), ceil_to(amount, step)
    assert down % step == 0
    assert up % step == 0
    assert down <= amount < down + step
    assert amount <= up < amount + step


@given(amounts, prices, steps)
@settings(max_examples=200)
def test_what_is_affordable_costs_no_more_and_one_lot_more_would(
    budget: Decimal, cost: Decimal, lot: Decimal
) -> None:
    quantity = Fraction(affordable(budget, cost, lot))
    assert quantity % Fraction(lot) == 0
    assert quantity * Fraction(cost) <= Fraction(budget)
    assert (quantity + Fraction(lot)) * Fraction(cost) > Fraction(budget)


@given(st.decimals("-1e20", "1e20", places=9))
@settings(max_examples=100)
def test_plain_numbers_keep_their_value_and_have_no_exponent(amount: Decimal) -> None:
    assert plain(amount) == amount
    assert "E+" not in str(plain(amount))


@given(st.floats(1e-6, 1e9))
@settings(max_examples=100)
def test_a_float_becomes_the_price_that_it_shows(value: float) -> None:
    assert abs(Fraction(from_float(value)) - Fraction(repr(value))) < Fraction(1, 10**12)
