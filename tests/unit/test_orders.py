"""Identity, price and frozen body of an order."""

from __future__ import annotations

import uuid
from decimal import Decimal

import msgspec
import pytest

from engine.domain.model import OrderBody, OrderStatus, OrderType, Side, TimeInForce
from engine.domain.orders import (
    NAMESPACE,
    client_order_id,
    contradicts,
    entry_key,
    exit_key,
    exit_widening,
    freeze,
    is_terminal,
    limit_price,
    may_move,
    need,
)
from tests.factories import NEWEST, NOW, make_quote

COLLAR = Decimal("0.02")
CENT = Decimal("0.01")


def test_keys_have_the_published_form() -> None:
    entry = entry_key(
        "paper",
        strategy="sma_cross",
        version="1",
        symbol="BTC/USD",
        timeframe="1h",
        candle_time=NEWEST,
    )
    assert entry == f"v1|paper|sma_cross|1|BTC/USD|1h|{NEWEST}|buy"
    closing = exit_key("paper", symbol="BTC/USD", reason="stop", position_version="f-9")
    assert closing == "v1|paper|BTC/USD|exit|stop|f-9"


def test_the_id_is_the_uuid5_of_key_and_attempt() -> None:
    """Pinned: another namespace or form would send known decisions a second time."""
    assert client_order_id("v1|k", 0) == str(uuid.uuid5(NAMESPACE, "v1|k|0"))
    assert client_order_id("v1|k", 0) == "c6968563-a2d2-54c8-9fd9-d760a2e5059a"


def test_a_limit_lies_half_a_collar_beyond_the_quote() -> None:
    quote = make_quote(bid=Decimal("99.97"), ask=Decimal("100.03"))
    assert limit_price(Side.BUY, quote, COLLAR, CENT) == Decimal("101.04")
    assert limit_price(Side.SELL, quote, COLLAR, CENT) == Decimal("98.97")


def test_a_limit_on_the_tick_is_not_moved() -> None:
    assert limit_price(Side.BUY, make_quote(), COLLAR, CENT) == Decimal(101)
    assert limit_price(Side.SELL, make_quote(), COLLAR, CENT) == Decimal(99)
    assert limit_price(Side.BUY, make_quote("200.42"), Decimal(0), CENT) == Decimal("200.42")


def test_a_widened_limit_lies_whole_collars_further() -> None:
    assert limit_price(Side.SELL, make_quote(), COLLAR, CENT, widen=2) == Decimal(95)
    assert limit_price(Side.SELL, make_quote(), COLLAR, CENT, widen=60) == CENT


def test_exits_widen_from_the_fourth_attempt_on() -> None:
    assert [exit_widening(attempt) for attempt in range(6)] == [0, 0, 0, 1, 2, 3]


def test_need_is_quantity_at_the_limit_with_the_highest_fee() -> None:
    assert need(Decimal(2), Decimal(101), Decimal("0.002")) == Decimal("202.404")


def test_contradictions_are_two_ends_or_a_trade_that_never_was() -> None:
    assert contradicts(OrderStatus.VOIDED, OrderStatus.FILLED)
    assert contradicts(OrderStatus.FILLED, OrderStatus.CANCELED)
    assert contradicts(OrderStatus.PARTIAL, OrderStatus.REJECTED)
    assert contradicts(OrderStatus.ACCEPTED, OrderStatus.VOIDED)
    assert not contradicts(OrderStatus.FILLED, OrderStatus.FILLED)
    assert not contradicts(OrderStatus.UNKNOWN, OrderStatus.VOIDED)
    assert not contradicts(OrderStatus.PARTIAL, OrderStatus.CANCELED)
    assert not contradicts(OrderStatus.FILLED, OrderStatus.ACCEPTED)
    assert not contradicts(OrderStatus.ACCEPTED, OrderStatus.REJECTED)


@pytest.mark.parametrize("status", list(OrderStatus))
def test_the_ends_are_terminal_and_nothing_else(status: OrderStatus) -> None:
    ends = {"FILLED", "CANCELED", "EXPIRED", "REJECTED", "VOIDED"}
    assert is_terminal(status) == (status.value in ends)


def test_an_unknown_order_may_be_sent_again_and_an_accepted_one_not() -> None:
    assert may_move(OrderStatus.UNKNOWN, OrderStatus.SENDING)
    assert not may_move(OrderStatus.ACCEPTED, OrderStatus.SENDING)
    assert not may_move(OrderStatus.SENDING, OrderStatus.SENDING)
    assert not may_move(OrderStatus.CANCELED, OrderStatus.FILLED)


def body(**changed: object) -> OrderBody:
    fields: dict[str, object] = {
        "client_order_id": "id",
        "account": "paper",
        "epoch": 3,
        "symbol": "BTC/USD",
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "time_in_force": TimeInForce.IOC,
        "quantity": Decimal("1E+3"),
        "reference_price": Decimal("0.0000000012"),
        "reduce_only": False,
        "strategy": "sma_cross",
        "valid_until": NOW,
        "limit_price": Decimal("0.0000000013"),
    }
    return OrderBody(**fields | changed)  # type: ignore[arg-type]


def test_the_frozen_body_is_stable_json_without_exponents() -> None:
    assert freeze(body()) == (
        '{"client_order_id":"id","account":"paper","epoch":3,"symbol":"BTC/USD","side":"buy",'
        '"type":"limit","time_in_force":"IOC","quantity":"1000",'
        '"reference_price":"0.0000000012","reduce_only":false,"strategy":"sma_cross",'
        '"valid_until":"2025-11-22T12:00:00Z","limit_price":"0.0000000013"}'
    )


def test_the_frozen_body_reads_back_as_the_same_order() -> None:
    assert msgspec.json.decode(freeze(body()), type=OrderBody) == body()
    named = body(symbol="币安人生/USDT", strategy='a "b"')
    assert msgspec.json.decode(freeze(named).encode(), type=OrderBody) == named
    market = body(limit_price=None)
    assert "limit_price" not in freeze(market)
    assert msgspec.json.decode(freeze(market), type=OrderBody) == market
