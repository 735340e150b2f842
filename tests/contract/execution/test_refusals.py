"""E6, E8 and E10: what is not accepted, and how the caller can tell."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.execution.venue import Venue, instant, kind


def test_valid_until_past_on_the_services_clock_is_rejected_and_recorded(venue: Venue) -> None:
    body = venue.body(valid_until=instant(-timedelta(milliseconds=1)))
    answer = venue.post(body)
    order = answer.json()
    assert (answer.status_code, order["state"], order["filled_quantity"]) == (201, "REJECTED", "0")
    assert "valid_until" in order["reason"]
    assert venue.order(body["client_order_id"]).json() == order


def test_a_limit_beyond_the_services_own_collar_is_rejected(venue: Venue) -> None:
    order = venue.post(venue.body(limit_price=str(venue.price * Decimal("1.5")))).json()
    assert (order["state"], order["filled_quantity"]) == ("REJECTED", "0")
    assert "collar" in order["reason"]


def test_an_order_value_beyond_the_services_own_limit_is_rejected(venue: Venue) -> None:
    quantity = str(int(Decimal(10) ** 9 / venue.price))
    order = venue.post(venue.body(quantity=quantity)).json()
    assert (order["state"], order["filled_quantity"]) == ("REJECTED", "0")


def test_an_unknown_symbol_is_rejected(venue: Venue) -> None:
    order = venue.post(venue.body(symbol="NONE/SUCH")).json()
    assert order["state"] == "REJECTED"
    assert "NONE/SUCH" in order["reason"]


def test_an_order_below_the_minimum_is_rejected(venue: Venue) -> None:
    order = venue.post(venue.body(quantity="0.00000001")).json()
    assert (order["state"], order["filled_quantity"]) == ("REJECTED", "0")


@pytest.mark.parametrize(
    "changed",
    [
        {"quantity": "0"},
        {"quantity": "-1"},
        {"quantity": "NaN"},
        {"quantity": "1E400"},
        {"quantity": 1},
        {"quantity": None},
        {"limit_price": "Infinity"},
        {"limit_price": None},
        {"type": "market"},
        {"type": "market", "limit_price": None, "time_in_force": "GTC"},
        {"type": "stop"},
        {"side": "short"},
        {"time_in_force": "DAY"},
        {"epoch": -1},
        {"epoch": "1"},
        {"reduce_only": "no"},
        {"valid_until": "tomorrow"},
        {"valid_until": "2025-11-22T12:00:00"},
        {"account": "another"},
        {"client_order_id": "with/slash"},
        {"client_order_id": ""},
        {"leverage": "10"},
    ],
)
def test_a_body_that_is_no_order_is_422_and_leaves_no_row(
    venue: Venue, changed: dict[str, Any]
) -> None:
    head = venue.head()
    body = venue.body(**changed)
    answer = venue.post(body)
    assert answer.status_code == 422
    assert kind(answer)
    assert venue.head() == head


@pytest.mark.parametrize("raw", [b"{", b"[]", b"null", b"\xff\xfe", b"{}"])
def test_a_body_that_is_no_json_object_is_4xx(venue: Venue, raw: bytes) -> None:
    answer = venue.call("POST", "/orders", data=raw)
    assert answer.status_code in {400, 422}


def test_a_body_beyond_the_size_limit_is_413(venue: Venue) -> None:
    answer = venue.post(venue.body(strategy="x" * 20000))
    assert answer.status_code == 413


def test_orders_are_listed_by_the_open_state_only(venue: Venue) -> None:
    assert venue.call("GET", "/orders", params={"state": "closed"}).status_code == 422
