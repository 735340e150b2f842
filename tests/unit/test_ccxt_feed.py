"""The ccxt feed against a fake exchange: closed candles only, few calls, plain decimals."""

from __future__ import annotations

import sys
from decimal import Decimal

import pytest

from engine.errors import ConfigError, DataQualityError, NotFound
from services.market_data.feeds.ccxt import CcxtFeed, connect
from tests.market_feeds import FIRST_OPEN, HOUR, FakeExchange

NOW = FIRST_OPEN + 100 * HOUR + HOUR // 2


class Seconds:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_feed() -> tuple[CcxtFeed, FakeExchange, Seconds]:
    exchange, seconds = FakeExchange(NOW), Seconds()
    return CcxtFeed(exchange, "USD", seconds), exchange, seconds


def test_only_active_spot_markets_in_the_account_currency_with_two_sides_are_listed() -> None:
    feed, _, _ = make_feed()
    assert [each.symbol for each in feed.instruments(NOW)] == ["ETH/USD", "BTC/USD"]


def test_steps_and_spread_come_from_the_exchange() -> None:
    feed, _, _ = make_feed()
    bitcoin = feed.instruments(NOW)[1]
    assert bitcoin.tick_size == Decimal("0.01")
    assert bitcoin.lot_size == Decimal("0.00001")
    assert bitcoin.min_notional == 5
    assert bitcoin.spread_bps == pytest.approx(2.0)


def test_precision_in_decimals_is_understood() -> None:
    feed, exchange, _ = make_feed()
    exchange.precisionMode = 2
    assert feed._step(3) == Decimal("0.001")


def test_the_forming_candle_is_left_out() -> None:
    feed, _, _ = make_feed()
    candles = feed.candles("BTC/USD", "1h", NOW, 5, None)
    assert len(candles) == 5
    assert candles.time[-1] == FIRST_OPEN + 99 * HOUR


def test_a_long_window_is_read_in_pages() -> None:
    feed, exchange, _ = make_feed()
    candles = feed.candles("BTC/USD", "1h", NOW, 40, None)
    assert ((candles.time - FIRST_OPEN) // HOUR).tolist() == list(range(60, 100))
    assert exchange.calls.count("fetch_ohlcv BTC/USD") == 3


def test_nothing_newer_asks_nothing() -> None:
    feed, exchange, _ = make_feed()
    candles = feed.candles("BTC/USD", "1h", NOW, 500, FIRST_OPEN + 99 * HOUR)
    assert len(candles) == 0
    assert "fetch_ohlcv BTC/USD" not in exchange.calls


def test_tickers_are_asked_once_for_many_quotes_and_again_when_old() -> None:
    feed, exchange, seconds = make_feed()
    for symbol in ("BTC/USD", "ETH/USD"):
        feed.prices(symbol, NOW)
    assert exchange.calls.count("fetch_tickers") == 1
    seconds.now = 3.0
    feed.prices("BTC/USD", NOW)
    assert exchange.calls.count("fetch_tickers") == 2


def test_a_one_sided_ticker_is_no_price() -> None:
    feed, _, _ = make_feed()
    with pytest.raises(DataQualityError):
        feed.prices("XRP/USD", NOW)


@pytest.mark.parametrize("symbol", ["FOO/USD", "OLD/USD", "ETH/BTC"])
def test_what_is_not_tradable_is_unknown(symbol: str) -> None:
    feed, _, _ = make_feed()
    with pytest.raises(NotFound):
        feed.candles(symbol, "1h", NOW, 5, None)


def test_without_the_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(ConfigError, match=r"requirements-live\.txt"):
        connect("kraken")
