"""How the paper broker fills: by quotes and volumes, the same whatever came first."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.contract.execution.local import LocalService
from tests.contract.execution.market import FakeMarket


def test_a_market_order_fills_at_the_ask_with_slippage(local: LocalService) -> None:
    venue = local.start()
    order = venue.post(venue.body(type="market", limit_price=None)).json()
    assert (order["state"], order["average_price"]) == ("FILLED", "100.04")
    assert order["fees"] == "0.020008"


def test_fills_are_at_market_time(local: LocalService) -> None:
    venue = local.start()
    venue.post(venue.body())
    assert venue.events()[0]["filled_at"] == "2025-11-22T12:00:00Z"


def test_an_order_beyond_the_volume_fills_in_part(local: LocalService, market: FakeMarket) -> None:
    market.volumes["BTC/USD"] = 10.0
    venue = local.start()
    order = venue.post(venue.body(quantity="5")).json()
    assert order["state"] == "CANCELED"
    assert Decimal("0.5") <= Decimal(order["filled_quantity"]) <= 1


def test_a_market_that_moved_away_from_the_reference_is_rejected(
    local: LocalService, market: FakeMarket
) -> None:
    venue = local.start()
    market.quotes["BTC/USD"] = ("119.99", "120.01")
    order = venue.post(venue.body(type="market", limit_price=None)).json()
    assert (order["state"], "collar" in order["reason"]) == ("REJECTED", True)


def test_a_resting_order_fills_when_the_market_comes_to_it(
    local: LocalService, market: FakeMarket
) -> None:
    venue = local.start()
    body = venue.resting()
    assert venue.post(body).json()["state"] == "ACCEPTED"
    assert venue.events(1) == []
    market.quotes["BTC/USD"] = ("89.00", "89.50")
    fill, order = venue.events(1)
    assert (fill["type"], fill["price"], fill["seq"]) == ("fill", "89.52", 2)
    assert (order["state"], order["seq"]) == ("FILLED", 3)
    assert venue.open_ids() == set()


def test_a_resting_order_fills_candle_by_candle(local: LocalService, market: FakeMarket) -> None:
    market.volumes["BTC/USD"] = 10.0
    venue = local.start()
    body = venue.body(time_in_force="GTC", quantity="1.2")
    first = venue.post(body).json()
    assert first["state"] == "PARTIAL"
    assert venue.open_ids() == {body["client_order_id"]}
    again = venue.order(body["client_order_id"]).json()
    assert again["filled_quantity"] == first["filled_quantity"]
    for _ in range(3):
        market.next_candle()
        venue.open_ids()
    done = venue.order(body["client_order_id"]).json()
    assert (done["state"], done["filled_quantity"]) == ("FILLED", "1.2")
    fills = [each for each in venue.events() if each["type"] == "fill"]
    assert len({each["fill_id"] for each in fills}) == len(fills) >= 2


def test_resting_orders_wait_while_halted(local: LocalService, market: FakeMarket) -> None:
    venue = local.start()
    body = venue.resting()
    venue.post(body)
    venue.halt(cancel_open=False)
    market.quotes["BTC/USD"] = ("89.00", "89.50")
    assert body["client_order_id"] in venue.open_ids()
    venue.resume()
    assert venue.open_ids() == set()


def test_resting_orders_go_on_resting_without_prices(
    local: LocalService, market: FakeMarket
) -> None:
    venue = local.start()
    body = venue.resting()
    venue.post(body)
    market.status = 500
    assert venue.open_ids() == {body["client_order_id"]}


def test_the_order_of_arrival_never_changes_a_fill(tmp_path: Path, market: FakeMarket) -> None:
    market.volumes["BTC/USD"] = 5.0
    told = []
    for name, step in (("first", 1), ("second", -1)):
        service = LocalService(tmp_path / name, market)
        venue = service.start()
        bodies = [venue.body(client_order_id=f"o{n}", quantity="3") for n in range(6)][::step]
        for body in bodies:
            venue.post(body)
        fills = [each for each in venue.events() if each["type"] == "fill"]
        told.append({each["fill_id"]: (each["quantity"], each["price"]) for each in fills})
        service.close()
    assert told[0] == told[1]
    assert len({quantity for quantity, _ in told[0].values()}) > 1


def test_latency_is_decided_by_the_seed(local: LocalService) -> None:
    local.execution = {"latency_ms": 80}
    venue = local.start()
    venue.post(venue.body(client_order_id="slow-1"))
    venue.post(venue.body(client_order_id="slow-2"))
    assert len(local.paused) == 2
    assert all(0 < each <= 0.08 for each in local.paused)
    assert local.paused[0] != local.paused[1]


def test_the_volume_is_asked_once_a_candle_and_the_list_once(
    local: LocalService, market: FakeMarket
) -> None:
    venue = local.start()
    for _ in range(3):
        venue.post(venue.body())
    assert market.paths.count("/ohlcv") == 1
    market.next_candle()
    venue.post(venue.body())
    assert market.paths.count("/ohlcv") == 2
    assert market.paths.count("/symbols") == 1
