"""The market data client: what it sends, what it takes, and what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.clients.market_data import HttpMarketData
from engine.domain.model import (
    MarketClock,
)
from engine.errors import (
    BadPayload,
    ServiceUnavailable,
)
from tests.clients_kit import ToldClock, make_transport
from tests.faulty_server import (
    HTML,
    Asked,
    FaultyServer,
    Reply,
    answer,
)

AS_OF = "2025-11-22T12:00:00Z"
INSTRUMENT = {
    "symbol": "BTC/USD",
    "volume_24h": "1000000",
    "spread_bps": 1.2,
    "tick_size": "0.01",
    "lot_size": "0.0001",
    "min_notional": "10",
}
COLUMNS: dict[str, Any] = {
    "time": [3_600_000, 7_200_000],
    "open": [1, 2],
    "high": [2, 3],
    "low": [0.5, 1],
    "close": [1.5, 2.5],
    "volume": [10, 20],
}
QUOTE = {"bid": "99.5", "ask": "100.5", "last": "100", "as_of": AS_OF}


def market(server: FaultyServer, **options: Any) -> HttpMarketData:
    clock = ToldClock()
    return HttpMarketData(
        make_transport(server.url, service="market_data", clock=clock), clock, **options
    )


def ohlcv(candles: dict[str, Any], errors: dict[str, str] | None = None, **more: Any) -> Reply:
    document = {
        "as_of": AS_OF,
        "clock": "live",
        "timeframe": "1h",
        "candles": candles,
        "errors": errors or {},
        **more,
    }
    return Reply(body=json.dumps(document).encode())


def quotes(values: dict[str, Any], errors: dict[str, str] | None = None, **more: Any) -> Reply:
    return answer(
        {"as_of": AS_OF, "clock": "live", "quotes": values, "errors": errors or {}, **more}
    )


class TestMarketData:
    """Port MarketData."""

    def test_symbols_come_by_volume_without_those_that_make_no_sense(self) -> None:
        listed = [
            INSTRUMENT,
            {**INSTRUMENT, "symbol": "BIG/USD", "volume_24h": "9000000"},
            {**INSTRUMENT, "symbol": "ZERO/USD", "tick_size": "0"},
            {**INSTRUMENT, "symbol": "NAN/USD", "volume_24h": "NaN"},
            {**INSTRUMENT, "symbol": "NEG/USD", "spread_bps": -1},
            {"symbol": "HALF/USD"},
            {**INSTRUMENT, "lot_size": "5"},
        ]
        reply = answer({"as_of": AS_OF, "clock": "live", "symbols": listed})
        with FaultyServer(reply) as server:
            found = market(server).symbols()
            assert server.asked[0].path == "/symbols"
        assert [one.symbol for one in found.symbols] == ["BIG/USD", "BTC/USD"]
        assert found.symbols[1].lot_size == Decimal("0.0001")

    def test_the_markets_time_is_asked_for_with_one_symbol(self) -> None:
        """And found in a list of many: a service need not know the limit."""
        told = {"as_of": "2020-01-01T00:00:00Z", "clock": "replay", "symbols": [INSTRUMENT] * 3}
        with FaultyServer(answer(told)) as server:
            found = market(server).time()
            assert server.asked[0].path == "/symbols?limit=1"
        assert (found.as_of.year, found.clock, found.ended) == (2020, "replay", False)

    def test_an_empty_list_is_an_answer_and_a_list_of_nonsense_is_not(self) -> None:
        empty = answer({"as_of": AS_OF, "clock": "live", "symbols": []})
        nonsense = answer({"as_of": AS_OF, "clock": "live", "symbols": [{}, 1]})
        with FaultyServer([empty, nonsense]) as server:
            client = market(server)
            assert client.symbols().symbols == ()
            with pytest.raises(BadPayload):
                client.symbols()

    @pytest.mark.parametrize("seconds", [-6, 6])
    def test_a_live_answer_that_is_not_of_now_is_stale(self, seconds: int) -> None:
        as_of = datetime(2025, 11, 22, 12, tzinfo=UTC) + timedelta(seconds=seconds)
        with (
            FaultyServer(ohlcv({"A": COLUMNS}, as_of=as_of.isoformat())) as server,
            pytest.raises(ServiceUnavailable, match="stale answer"),
        ):
            market(server).candles(["A"], "1h", 10, {})

    def test_a_replayed_answer_may_be_of_any_time_but_not_in_live_mode(self) -> None:
        reply = ohlcv({"A": COLUMNS}, as_of="2020-01-01T00:00:00Z", clock="replay")
        with FaultyServer(reply) as server:
            found = market(server).candles(["A"], "1h", 10, {})
            assert (found.clock, found.as_of.year) == (MarketClock.REPLAY, 2020)
            with pytest.raises(BadPayload, match="live mode"):
                market(server, must_be_live=True).candles(["A"], "1h", 10, {})

    def test_candles_are_columns_newer_than_asked_and_no_more_than_asked(self) -> None:
        with FaultyServer(ohlcv({"A": COLUMNS, "B": COLUMNS})) as server:
            found = market(server).candles(["A", "B"], "1h", 1, {"A": 7_200_000})
            assert server.asked[0].json() == {
                "symbols": ["A", "B"],
                "timeframe": "1h",
                "limit": 1,
                "since": {"A": 7_200_000},
            }
        assert len(found.candles["A"]) == 0
        assert found.candles["B"].close.tolist() == [2.5]
        assert found.candles["B"].time.dtype == np.int64

    def test_one_symbols_garbage_is_that_symbols_error_alone(self) -> None:
        candles = {
            "GOOD": COLUMNS,
            "NAN": {**COLUMNS, "close": [float("nan"), 1]},
            "INF": {**COLUMNS, "close": [float("inf"), 1]},
            "SHORT": {**COLUMNS, "close": [1]},
            "TEXT": {**COLUMNS, "close": ["1", "2"]},
            "NONE": None,
            "BOTH": COLUMNS,
            "EXTRA": COLUMNS,
        }
        errors = {"FOO": "unknown symbol", "BOTH": "delisted", "OTHER": "x"}
        asked = ["GOOD", "NAN", "INF", "SHORT", "TEXT", "NONE", "BOTH", "FOO", "MISSING"]
        with FaultyServer(ohlcv(candles, errors)) as server:
            found = market(server).candles(asked, "1h", 10, {})
        assert list(found.candles) == ["GOOD"]
        assert set(found.errors) == set(asked) - {"GOOD"}
        assert found.errors["FOO"] == "unknown symbol"
        assert found.errors["BOTH"] == "delisted"
        assert found.errors["MISSING"] == "missing: not in the answer"
        assert all("garbage" in found.errors[name] for name in ("NAN", "SHORT", "TEXT", "NONE"))

    def test_another_timeframe_is_garbage(self) -> None:
        with (
            FaultyServer(ohlcv({"A": COLUMNS}, timeframe="1m")) as server,
            pytest.raises(BadPayload, match="timeframe"),
        ):
            market(server).candles(["A"], "1h", 10, {})

    def test_many_symbols_are_asked_for_in_parts(self) -> None:
        def reply(asked: Asked) -> Reply:
            return ohlcv(dict.fromkeys(asked.json()["symbols"], COLUMNS))

        names = [f"S{index}" for index in range(600)]
        with FaultyServer(reply) as server:
            found = market(server).candles(names, "1h", 10, {})
            sizes = [len(asked.json()["symbols"]) for asked in server.asked]
        assert sizes == [250, 250, 100]
        assert set(found.candles) == set(names)

    def test_a_part_that_fails_costs_only_its_own_symbols(self) -> None:
        def reply(asked: Asked) -> Reply:
            symbols = asked.json()["symbols"]
            return HTML if "S0" in symbols else quotes(dict.fromkeys(symbols, QUOTE))

        names = [f"S{index}" for index in range(251)]
        with FaultyServer(reply) as server:
            found = market(server).quotes(names)
        assert list(found.quotes) == ["S250"]
        assert len(found.errors) == 250
        with FaultyServer(HTML) as server, pytest.raises(BadPayload):
            market(server).quotes(names)

    def test_a_quote_that_cannot_be_is_that_symbols_error(self) -> None:
        bad = {
            "INVERTED": {**QUOTE, "bid": "101"},
            "ZERO": {**QUOTE, "bid": "0"},
            "NAN": {**QUOTE, "last": "NaN"},
            "NAIVE": {**QUOTE, "as_of": "2025-11-22T12:00:00"},
            "FUTURE": {**QUOTE, "as_of": "2025-11-22T12:00:06Z"},
            "MISSING": {"bid": "1"},
        }
        with FaultyServer(quotes({"GOOD": QUOTE, **bad})) as server:
            found = market(server).quotes(["GOOD", *bad])
        assert list(found.quotes) == ["GOOD"]
        assert set(found.errors) == set(bad)

    def test_the_clock_is_moved_once_a_cycle(self) -> None:
        reply = answer({"as_of": AS_OF, "clock": "replay", "ended": True, "feed": "files"})
        with FaultyServer(reply) as server:
            moved = market(server).advance("c-1", 1)
            assert server.asked[0].json() == {"cycle_id": "c-1", "candles": 1}
        assert moved.ended
