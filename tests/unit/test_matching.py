"""Orders against quotes and candles, with figures worked out by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.domain.candles import Candles
from engine.domain.matching import (
    Bar,
    Match,
    Picture,
    Steps,
    Terms,
    WorkingOrder,
    bar_of,
    draw,
    fee_of,
    fill_id,
    match_candle,
    match_quote,
    refusal,
)
from engine.domain.model import OrderStatus, OrderType, Side, TimeInForce
from tests.factories import make_candles

STEPS = Steps(tick_size=Decimal("0.01"), lot_size=Decimal("0.001"), min_notional=Decimal(10))
TERMS = Terms(
    fee=Decimal("0.001"),
    slippage_bps=Decimal(2),
    max_volume_share=Decimal("0.1"),
    seed=7,
    max_fee=Decimal("0.005"),
)
PICTURE = Picture(
    bid=Decimal("99.95"),
    ask=Decimal("100.05"),
    volume=Decimal(1000000),
    candle_time=1763780400000,
    steps=STEPS,
)


def make_working(**changed: Any) -> WorkingOrder:
    fields: dict[str, Any] = {
        "client_order_id": "order-1",
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "time_in_force": TimeInForce.IOC,
        "quantity": Decimal("1.5"),
        "limit_price": Decimal(101),
    }
    return WorkingOrder(**fields | changed)


def on_quote(picture: Picture = PICTURE, terms: Terms = TERMS, **changed: Any) -> Match:
    return match_quote(make_working(**changed), picture, terms)


def test_a_marketable_buy_fills_at_the_ask_plus_slippage_rounded_up_to_the_tick() -> None:
    """100.05 x 1.0002 = 100.07001 -> 100.08; fee 150.12 x 0.001 = 0.15012."""
    match = on_quote()
    (fill,) = match.executions
    assert (match.state, fill.quantity) == (OrderStatus.FILLED, Decimal("1.5"))
    assert (fill.price, fill.fee) == (Decimal("100.08"), Decimal("0.15012000"))


def test_a_marketable_sell_fills_at_the_bid_less_slippage_rounded_down_to_the_tick() -> None:
    """99.95 x 0.9998 = 99.93001 -> 99.93."""
    (fill,) = on_quote(side=Side.SELL, limit_price=Decimal(99)).executions
    assert fill.price == Decimal("99.93")


def test_slippage_never_goes_beyond_the_limit() -> None:
    (fill,) = on_quote(limit_price=Decimal("100.06")).executions
    assert fill.price == Decimal("100.06")


def test_a_limit_off_the_tick_grid_counts_as_the_safer_tick() -> None:
    (fill,) = on_quote(limit_price=Decimal("100.067")).executions
    assert fill.price == Decimal("100.06")
    assert on_quote(limit_price=Decimal("100.049")).executions == ()


def test_an_immediate_order_whose_limit_is_not_reached_is_cancelled() -> None:
    match = on_quote(limit_price=Decimal(100))
    assert match == Match(state=OrderStatus.CANCELED, reason="limit not reached")


def test_a_good_till_cancel_order_whose_limit_is_not_reached_rests() -> None:
    match = on_quote(limit_price=Decimal(100), time_in_force=TimeInForce.GTC)
    assert match.state is OrderStatus.ACCEPTED


def test_a_market_order_fills_whatever_the_price() -> None:
    match = on_quote(type=OrderType.MARKET, limit_price=None)
    assert match.state is OrderStatus.FILLED
    assert match.executions[0].price == Decimal("100.08")


def test_volume_bounds_the_fill_and_the_rest_of_an_immediate_order_is_cancelled() -> None:
    thin = msgspec.structs.replace(PICTURE, volume=Decimal(10))
    match = on_quote(thin)
    part = (1 + draw(7, "order-1", thin.candle_time, "volume")) / 2
    expected = (Decimal(10) * Decimal("0.1") * part).quantize(Decimal("0.001"), "ROUND_DOWN")
    assert match.executions[0].quantity == expected
    assert Decimal("0.5") <= expected <= 1
    assert (match.state, match.reason) == (OrderStatus.CANCELED, "no volume")


def test_a_resting_order_gets_a_candles_share_once_and_the_next_candles_again() -> None:
    thin = msgspec.structs.replace(PICTURE, volume=Decimal(10))
    order = make_working(time_in_force=TimeInForce.GTC)
    first = match_quote(order, thin, TERMS)
    taken = first.executions[0].quantity
    resting = msgspec.structs.replace(
        order,
        filled_quantity=taken,
        fills=1,
        candle_time=thin.candle_time,
        candle_filled=taken,
    )
    again = match_quote(resting, thin, TERMS)
    later = match_quote(resting, msgspec.structs.replace(thin, candle_time=1), TERMS)
    assert first.state is OrderStatus.PARTIAL
    assert (again.state, again.executions) == (OrderStatus.PARTIAL, ())
    assert later.executions[0].number == 2


def test_without_volume_nothing_fills() -> None:
    empty = msgspec.structs.replace(PICTURE, volume=Decimal(0))
    assert on_quote(empty) == Match(state=OrderStatus.CANCELED, reason="no volume")


def test_quantity_is_rounded_down_to_the_lot() -> None:
    match = on_quote(quantity=Decimal("1.5009"), time_in_force=TimeInForce.GTC)
    assert match.executions[0].quantity == Decimal("1.5")
    assert (match.state, match.reason) == (OrderStatus.CANCELED, "below one lot")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"quantity": Decimal("0.0009")}, "below one lot"),
        ({"quantity": Decimal("0.05"), "limit_price": Decimal(101)}, "below the minimum 10"),
        ({"quantity": Decimal("0.1")}, ""),
    ],
)
def test_orders_too_small_for_the_instrument_are_refused(
    changed: dict[str, Any], reason: str
) -> None:
    found = refusal(make_working(**changed), PICTURE)
    assert reason in found
    assert bool(found) is bool(reason)


def test_the_fee_is_rounded_up_to_eight_places() -> None:
    assert fee_of(Decimal("0.0000123"), TERMS) == Decimal("0.00000002")


def test_rounding_up_never_lifts_the_fee_above_its_bound() -> None:
    tight = msgspec.structs.replace(TERMS, max_fee=TERMS.fee)
    assert fee_of(Decimal("0.0000123"), tight) == Decimal("0.00000001")


def test_a_fill_id_depends_on_order_and_number_alone() -> None:
    assert fill_id("order-1", 1) == fill_id("order-1", 1)
    assert len({fill_id("order-1", 1), fill_id("order-1", 2), fill_id("order-2", 1)}) == 3


def test_a_draw_depends_on_seed_order_candle_and_purpose() -> None:
    drawn = draw(7, "a", 1, "volume")
    assert drawn == draw(7, "a", 1, "volume")
    others = [draw(8, "a", 1, "volume"), draw(7, "b", 1, "volume"), draw(7, "a", 2, "volume")]
    assert any(other != drawn for other in others)
    assert 0 <= drawn <= 1


def make_bar(**changed: str) -> Bar:
    prices = {"open": "100", "high": "105", "low": "95", "close": "102", "volume": "1000000"}
    return Bar(time=1, **{name: Decimal(text) for name, text in (prices | changed).items()})


def on_bar(bar: Bar, **changed: Any) -> Match:
    order = make_working(time_in_force=TimeInForce.GTC, **changed)
    return match_candle(order, bar, STEPS, msgspec.structs.replace(TERMS, slippage_bps=Decimal(0)))


def test_a_gap_through_the_limit_fills_at_the_open() -> None:
    (fill,) = on_bar(make_bar(open="97"), limit_price=Decimal(99)).executions
    assert fill.price == 97


def test_a_limit_touched_within_the_candle_fills_at_the_limit() -> None:
    (bought,) = on_bar(make_bar(), limit_price=Decimal(95)).executions
    (sold,) = on_bar(make_bar(), side=Side.SELL, limit_price=Decimal(105)).executions
    assert (bought.price, sold.price) == (95, 105)


def test_a_limit_outside_the_candle_rests() -> None:
    match = on_bar(make_bar(), limit_price=Decimal("94.99"))
    assert (match.state, match.executions) == (OrderStatus.ACCEPTED, ())


def test_a_market_order_fills_at_the_open_with_slippage() -> None:
    order = make_working(type=OrderType.MARKET, limit_price=None)
    (fill,) = match_candle(order, make_bar(), STEPS, TERMS).executions
    assert fill.price == Decimal("100.02")


def test_a_bar_has_the_candles_numbers_as_they_are_written() -> None:
    candles: Candles = make_candles([0.1, 0.2, 0.3])
    bar = bar_of(candles, 2)
    assert bar.close == Decimal("0.3")
    assert bar.time == int(candles.time[2])
