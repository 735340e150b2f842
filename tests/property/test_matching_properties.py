"""What holds for every order and every market."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.matching import (
    Bar,
    Match,
    Picture,
    Steps,
    Terms,
    WorkingOrder,
    match_candle,
    match_quote,
)
from engine.domain.model import OrderStatus, OrderType, Side, TimeInForce

prices = st.decimals(min_value="0.00001", max_value="100000", places=5)
quantities = st.decimals(min_value="0.0001", max_value="10000", places=4)
volumes = st.decimals(min_value=0, max_value="1000000", places=3)
steps = st.builds(
    Steps,
    tick_size=st.sampled_from([Decimal("0.00001"), Decimal("0.01"), Decimal("0.5")]),
    lot_size=st.sampled_from([Decimal("0.0001"), Decimal("0.03"), Decimal(1)]),
    min_notional=st.just(Decimal(0)),
)
terms = st.builds(
    Terms,
    fee=st.decimals(min_value=0, max_value="0.005", places=4),
    slippage_bps=st.decimals(min_value=0, max_value=100, places=1),
    max_volume_share=st.sampled_from([Decimal("0.01"), Decimal("0.1"), Decimal(1)]),
    seed=st.integers(0, 5),
    max_fee=st.just(Decimal("0.005")),
)


@st.composite
def pictures(draw: Callable[..., Any]) -> Picture:
    bid, spread = draw(prices), draw(st.decimals(min_value=0, max_value=10, places=5))
    return Picture(
        bid=bid,
        ask=bid + spread,
        volume=draw(volumes),
        candle_time=draw(st.integers(0, 10)),
        steps=draw(steps),
    )


@st.composite
def orders(draw: Callable[..., Any]) -> WorkingOrder:
    kind = draw(st.sampled_from(OrderType))
    resting = kind is OrderType.LIMIT and draw(st.booleans())
    return WorkingOrder(
        client_order_id=draw(st.text("abc", min_size=1, max_size=4)),
        side=draw(st.sampled_from(Side)),
        type=kind,
        time_in_force=TimeInForce.GTC if resting else TimeInForce.IOC,
        quantity=draw(quantities),
        limit_price=draw(prices) if kind is OrderType.LIMIT else None,
    )


def require_sound(order: WorkingOrder, match: Match, lots: Steps, used: Terms) -> None:
    """Within quantity, limit, lot, tick and fee; the state tells the truth."""
    filled = sum((each.quantity for each in match.executions), Decimal(0))
    assert filled <= order.remaining
    assert (match.state is OrderStatus.FILLED) == (filled == order.remaining)
    for each in match.executions:
        assert each.quantity > 0
        assert each.price > 0
        assert each.quantity % lots.lot_size == 0
        assert each.price % lots.tick_size == 0
        assert 0 <= each.fee <= each.quantity * each.price * Decimal("0.005")
        assert each.fee - each.quantity * each.price * used.fee < Decimal("0.00000001")
        if order.limit_price is not None and order.side is Side.BUY:
            assert each.price <= order.limit_price
        if order.limit_price is not None and order.side is Side.SELL:
            assert each.price >= order.limit_price
    if order.time_in_force is TimeInForce.IOC:
        assert match.state in {OrderStatus.FILLED, OrderStatus.CANCELED}


@settings(max_examples=200)
@given(orders(), pictures(), terms)
def test_a_fill_at_a_quote_keeps_every_bound(
    order: WorkingOrder, picture: Picture, used: Terms
) -> None:
    match = match_quote(order, picture, used)
    require_sound(order, match, picture.steps, used)
    touch = picture.touch(order.side)
    for each in match.executions:
        against = each.price - touch if order.side is Side.BUY else touch - each.price
        assert against >= 0 or order.limit_price is not None
        assert each.quantity <= picture.volume * used.max_volume_share


@settings(max_examples=150)
@given(orders(), st.lists(prices, min_size=4, max_size=4), volumes, steps, terms)
def test_a_fill_within_a_candle_keeps_every_bound(
    order: WorkingOrder, four: list[Decimal], volume: Decimal, lots: Steps, used: Terms
) -> None:
    low, first, second, high = sorted(four)
    bar = Bar(time=1, open=first, high=high, low=low, close=second, volume=volume)
    require_sound(order, match_candle(order, bar, lots, used), lots, used)


@settings(max_examples=50)
@given(
    st.lists(orders(), min_size=1, max_size=6, unique_by=lambda each: each.client_order_id),
    pictures(),
    terms,
    st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_never_changes_a_fill(
    arriving: list[WorkingOrder], picture: Picture, used: Terms, shuffler: Any
) -> None:
    alone = {each.client_order_id: match_quote(each, picture, used) for each in arriving}
    shuffled = list(arriving)
    shuffler.shuffle(shuffled)
    assert {each.client_order_id: match_quote(each, picture, used) for each in shuffled} == alone


@settings(max_examples=100)
@given(orders(), st.lists(pictures(), min_size=1, max_size=8), terms)
def test_a_resting_order_never_fills_beyond_its_quantity_however_often_it_is_matched(
    order: WorkingOrder, markets: list[Picture], used: Terms
) -> None:
    lots = markets[0].steps
    given_by_candle: dict[int, Decimal] = {}
    for market in markets:
        picture = msgspec.structs.replace(market, steps=lots, volume=Decimal(100))
        for execution in match_quote(order, picture, used).executions:
            time = picture.candle_time
            before = order.filled_of(time)
            order = msgspec.structs.replace(
                order,
                filled_quantity=order.filled_quantity + execution.quantity,
                fills=execution.number,
                candle_time=time,
                candle_filled=before + execution.quantity,
            )
            given_by_candle[time] = max(given_by_candle.get(time, Decimal(0)), order.candle_filled)
        assert order.filled_quantity <= order.quantity
    assert all(part <= 100 * used.max_volume_share for part in given_by_candle.values())
