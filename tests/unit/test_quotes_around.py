"""The quote around a price: on the tick, never crossed, never free."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.market_data.feeds.feed import around


@pytest.mark.parametrize(
    ("price", "spread_bps", "tick", "expected"),
    [
        (100.0, 10.0, "0.01", ["99.95", "100.05", "100.00"]),
        (100.005, 0.0, "0.01", ["100.00", "100.01", "100.00"]),
        (100.0, 0.0, "0.01", ["100.00", "100.00", "100.00"]),
        (100.0, 3.0, "0.01", ["99.98", "100.02", "100.00"]),
        (0.000012, 5.0, "0.000001", ["0.000011", "0.000013", "0.000012"]),
        (0.001, 20000.0, "0.001", ["0.001", "0.002", "0.001"]),
        (70900.0, 2.0, "1", ["70892", "70908", "70900"]),
    ],
)
def test_bid_is_rounded_down_and_ask_up(
    price: float, spread_bps: float, tick: str, expected: list[str]
) -> None:
    prices = around(price, spread_bps, Decimal(tick))
    texts = [format(each, "f") for each in (prices.bid, prices.ask, prices.last)]
    assert texts == expected
