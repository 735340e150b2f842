"""E8 and E10 where the test must set the service's limits, prices or clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import requests

from engine.errors import ConfigError
from services.execution.app import create_app
from tests.contract.execution.local import LocalService
from tests.contract.execution.market import FakeMarket


def test_orders_a_minute_are_limited_with_a_fifth_kept_for_reducing(local: LocalService) -> None:
    local.limits = {"orders_per_minute": 10}
    venue = local.start()
    for _ in range(8):
        assert venue.post(venue.body()).status_code == 201
    refused_body = venue.body()
    refused = venue.post(refused_body)
    assert (refused.status_code, refused.json()["accepted"]) == (429, False)
    assert refused.headers["Retry-After"]
    assert venue.order(refused_body["client_order_id"]).status_code == 404
    for _ in range(2):
        assert venue.post(venue.body(reduce_only=True)).status_code == 201
    assert venue.post(venue.body(reduce_only=True)).status_code == 429


def test_the_minute_moves_on(local: LocalService) -> None:
    local.limits = {"orders_per_minute": 5}
    start = datetime.now(UTC)
    local.now = lambda: start
    venue = local.start()
    for _ in range(4):
        assert venue.post(venue.body()).status_code == 201
    body = venue.body()
    assert venue.post(body).status_code == 429
    local.now = lambda: start + timedelta(seconds=61)
    later = venue.body(valid_until=(start + timedelta(seconds=120)).isoformat())
    assert venue.post(later).status_code == 201


def test_a_replay_costs_nothing_of_the_minute(local: LocalService) -> None:
    local.limits = {"orders_per_minute": 2}
    venue = local.start()
    body = venue.body()
    assert venue.post(body).status_code == 201
    assert [venue.post(body).status_code for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("status", [500, 503, 302, 404])
def test_without_a_price_an_order_is_not_accepted(
    local: LocalService, market: FakeMarket, status: int
) -> None:
    venue = local.start()
    market.status = status
    body = venue.body()
    answer = venue.post(body)
    assert (answer.status_code, answer.json()["accepted"]) == (503, False)
    assert venue.order(body["client_order_id"]).status_code == 404
    market.status = 200
    assert venue.post(body).status_code == 201


def test_a_kept_connection_that_the_market_closed_costs_no_order(
    local: LocalService, market: FakeMarket
) -> None:
    venue = local.start()
    venue.post(venue.body())
    market.drops = 1
    assert venue.post(venue.body()).status_code == 201


def test_a_market_that_never_answers_is_no_price(local: LocalService, market: FakeMarket) -> None:
    venue = local.start()
    market.drops = 2
    assert venue.post(venue.body()).status_code == 503


@pytest.mark.parametrize("raw", [b"<html>", b'{"as_of":', b"{}", b'{"quotes": []}'])
def test_a_market_that_answers_garbage_is_no_price(
    local: LocalService, market: FakeMarket, raw: bytes
) -> None:
    venue = local.start()
    market.raw = raw
    assert venue.post(venue.body()).status_code == 503


@pytest.mark.parametrize(
    "quote", [("0", "100"), ("101", "100"), ("NaN", "100"), ("-1", "100"), ("99", "Infinity")]
)
def test_a_quote_that_cannot_be_is_no_price(
    local: LocalService, market: FakeMarket, quote: tuple[str, str]
) -> None:
    venue = local.start()
    market.quotes["BTC/USD"] = quote
    assert venue.post(venue.body()).status_code == 503


def test_replays_voids_and_expired_orders_need_no_price(
    local: LocalService, market: FakeMarket
) -> None:
    venue = local.start()
    body = venue.body()
    venue.post(body)
    market.status = 500
    assert venue.post(body).status_code == 200
    assert venue.void(body["client_order_id"]).json()["state"] == "FILLED"
    expired = venue.body(valid_until="2020-01-01T00:00:00Z")
    assert venue.post(expired).json()["state"] == "REJECTED"


def test_valid_until_is_judged_in_the_accepting_transaction(
    local: LocalService, market: FakeMarket
) -> None:
    """An order whose time runs out while the price is asked is rejected."""
    start = datetime.now(UTC)
    times = iter([start, start + timedelta(seconds=5)])
    venue = local.start()
    body = venue.body(valid_until=(start + timedelta(seconds=2)).isoformat())
    local.now = lambda: next(times)
    assert venue.post(body).json()["state"] == "REJECTED"
    assert "/quotes" in market.paths


def test_the_market_key_is_sent_as_a_bearer_key(local: LocalService, market: FakeMarket) -> None:
    local.market_key = "a-key-of-the-market"
    venue = local.start()
    venue.post(venue.body())
    assert market.authorizations == {"Bearer a-key-of-the-market"}


def test_a_service_with_a_key_answers_only_to_it(local: LocalService) -> None:
    local.execution = {"key": "a-key-of-the-service"}
    venue = local.start()
    url = f"{venue.url}/fence"
    wrong = {"Authorization": "Bearer another"}
    right = {"Authorization": "Bearer a-key-of-the-service"}
    assert requests.get(url, timeout=5).status_code == 401
    assert requests.get(url, headers=wrong, timeout=5).status_code == 401
    assert requests.get(url, headers=right, timeout=5).status_code == 200


def test_a_fee_above_its_own_bound_stops_the_start(local: LocalService) -> None:
    local.execution = {"fee": "0.01"}
    with pytest.raises(ConfigError, match=r"services\.execution\.fee"):
        create_app(local.settings())


def test_a_file_of_another_account_stops_the_start(local: LocalService) -> None:
    local.start()
    settings = local.settings()
    engine = settings.trading_engine.model_copy(update={"account": "another"})
    with pytest.raises(ConfigError, match=r"trading_engine\.account"):
        create_app(settings.model_copy(update={"trading_engine": engine}))
