"""One contract over every feed of the market data service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from flask.testing import FlaskClient

from engine.domain.candles import CandleColumns
from services.market_data.app import create_app
from services.market_data.feeds.ccxt import CcxtFeed
from tests.market_feeds import (
    FIRST_OPEN,
    HOUR,
    FakeExchange,
    market_settings,
    rows_of,
    write_csv,
    write_parquet,
)

WALL = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
SYMBOLS = ["BTC/USD", "ETH/USD"]


@dataclass(frozen=True)
class Service:
    """A service under test and what it was made from."""

    client: FlaskClient
    restart: Callable[[], FlaskClient]

    def get(self, path: str) -> Any:
        return self.client.get(path).get_json()

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(path, json=body).get_json()

    def ohlcv(self, *symbols: str, **more: Any) -> Any:
        body = {"symbols": list(symbols or SYMBOLS), "timeframe": "1h", "limit": 5} | more
        return self.post("/ohlcv", **body)

    def now_ms(self) -> int:
        return round(datetime.fromisoformat(self.get("/clock")["as_of"]).timestamp() * 1000)


def _market_data(kind: str, folder: Path) -> dict[str, Any]:
    tables = rows_of("BTC/USD", 100.0), rows_of("ETH/USD", 10.0)
    match kind:
        case "parquet":
            return {"feed": "files", "path": str(write_parquet(folder / "a.parquet", *tables))}
        case "csv":
            return {"feed": "files", "path": str(write_csv(folder / "a.csv", *tables))}
        case "folder":
            (folder / "many").mkdir()
            write_csv(folder / "many" / "a.csv", tables[0])
            write_parquet(folder / "many" / "b.parquet", tables[1])
            return {"feed": "files", "path": str(folder / "many")}
        case "ccxt":
            return {"feed": "ccxt", "exchange": "fake"}
    return {"feed": "simulated", "symbols": 3}


def _make(kind: str, folder: Path) -> Service:
    settings = market_settings(folder / "data", **_market_data(kind, folder))

    def start() -> FlaskClient:
        exchange = FakeExchange(round(WALL.timestamp() * 1000))
        feed = CcxtFeed(exchange, "USD", lambda: 0.0) if kind == "ccxt" else None
        return create_app(settings, feed=feed, wall=lambda: WALL).test_client()

    return Service(start(), start)


@pytest.fixture(params=["simulated", "parquet", "csv", "folder", "ccxt"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    return _make(request.param, tmp_path)


@pytest.fixture(params=["simulated", "parquet"])
def replay(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    return _make(request.param, tmp_path)


def test_symbols_come_by_volume_with_plain_decimals(service: Service) -> None:
    symbols = service.get("/symbols")["symbols"]
    volumes = [Decimal(each["volume_24h"]) for each in symbols]
    assert volumes == sorted(volumes, reverse=True)
    assert {"BTC/USD", "ETH/USD"} <= {each["symbol"] for each in symbols}
    for each in symbols:
        for name in ("volume_24h", "tick_size", "lot_size", "min_notional"):
            assert Decimal(each[name]) > 0
            assert "E" not in each[name]


def test_symbols_are_filtered_by_volume_spread_and_limit(service: Service) -> None:
    whole = service.get("/symbols")["symbols"]
    least = whole[0]["volume_24h"]
    assert service.get(f"/symbols?min_volume_24h={least}")["symbols"] == whole[:1]
    assert service.get("/symbols?limit=1")["symbols"] == whole[:1]
    assert service.get("/symbols?max_spread_bps=0.5")["symbols"] == []


def test_candles_are_closed_ascending_columns_of_one_length(service: Service) -> None:
    answer = service.ohlcv()
    as_of = datetime.fromisoformat(answer["as_of"]).timestamp() * 1000
    assert set(answer["candles"]) == set(SYMBOLS)
    for columns in answer["candles"].values():
        candles = CandleColumns(**columns).candles()
        assert len(candles) == 5
        assert candles.time[-1] + HOUR <= as_of < candles.time[-1] + 2 * HOUR
        assert set(candles.time[1:] - candles.time[:-1]) == {HOUR}
        assert (candles.high >= candles.low).all()


def test_each_asked_symbol_is_in_exactly_one_of_candles_and_errors(service: Service) -> None:
    answer = service.ohlcv("BTC/USD", "FOO/USD", "BTC/USD")
    assert list(answer["candles"]) == ["BTC/USD"]
    assert answer["errors"] == {"FOO/USD": "unknown symbol"}


def test_since_is_exclusive_and_nothing_newer_gives_empty_columns(service: Service) -> None:
    time = service.ohlcv()["candles"]["BTC/USD"]["time"]
    since = {"BTC/USD": time[-3], "ETH/USD": time[-1]}
    candles = service.ohlcv(since=since)["candles"]
    assert candles["BTC/USD"]["time"] == time[-2:]
    assert all(column == [] for column in candles["ETH/USD"].values())


def test_limit_gives_the_newest_candles(service: Service) -> None:
    five = service.ohlcv()["candles"]["BTC/USD"]["close"]
    assert service.ohlcv(limit=2)["candles"]["BTC/USD"]["close"] == five[-2:]


def test_quotes_are_on_the_tick_with_the_wall_time_of_the_answer(service: Service) -> None:
    ticks = {
        each["symbol"]: Decimal(each["tick_size"]) for each in service.get("/symbols")["symbols"]
    }
    answer = service.post("/quotes", symbols=[*SYMBOLS, "FOO/USD"])
    assert answer["errors"] == {"FOO/USD": "unknown symbol"}
    for symbol, quote in answer["quotes"].items():
        bid, ask, last = (Decimal(quote[name]) for name in ("bid", "ask", "last"))
        assert 0 < bid <= last <= ask
        assert all(price % ticks[symbol] == 0 for price in (bid, ask, last))
        assert datetime.fromisoformat(quote["as_of"]) == WALL


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/ohlcv", {"symbols": ["BTC/USD"], "timeframe": "7h"}, "timeframe"),
        ("/ohlcv", {"symbols": ["BTC/USD"], "timeframe": "1h", "extra": 1}, "extra"),
        ("/ohlcv", {"symbols": ["BTC/USD"], "timeframe": "1h", "limit": 0}, "limit"),
        ("/ohlcv", {"symbols": ["BTC/USD"], "timeframe": "1h", "limit": 5001}, "limit"),
        ("/ohlcv", {"symbols": ["BTC/USD"] * 1001, "timeframe": "1h"}, "symbols"),
        ("/quotes", {"symbols": "BTC/USD"}, "symbols"),
        ("/clock", {"cycle_id": "c", "candles": -1}, "candles"),
        ("/clock", {}, ""),
        ("/clock", {"cycle_id": "c", "as_of": "2025-03-02T00:00:00Z"}, ""),
    ],
)
def test_a_wrong_request_is_a_problem_that_names_the_field(
    service: Service, path: str, body: dict[str, Any], field: str
) -> None:
    response = service.client.post(path, json=body)
    assert response.status_code == 422
    assert response.content_type == "application/problem+json"
    assert [error["field"] for error in response.get_json()["errors"]] == [field]


def test_a_thousand_symbols_with_since_fit_into_one_request(service: Service) -> None:
    symbols = [f"SYM{number:057d}/USD" for number in range(1000)]
    answer = service.ohlcv(*symbols, since=dict.fromkeys(symbols, FIRST_OPEN))
    assert len(answer["errors"]) == 1000


def test_health_and_description_are_served(service: Service) -> None:
    health = service.get("/health")
    assert health["status"] == "ok"
    assert set(service.get("/openapi.json")["paths"]) >= {"/symbols", "/ohlcv", "/quotes", "/clock"}


def test_only_simulated_prices_say_so(service: Service) -> None:
    clock, health = service.get("/clock"), service.get("/health")
    is_simulated = clock["feed"] == "simulated"
    answers = [clock, health, service.get("/symbols"), service.ohlcv()]
    assert all(answer["simulated"] is is_simulated for answer in answers)
    assert ("SIMULATED" in health["checks"]["feed"]["detail"]) is is_simulated


def test_a_replay_moves_once_for_each_cycle(replay: Service) -> None:
    before = replay.now_ms()
    first = replay.post("/clock", cycle_id="one", candles=2)
    again = replay.post("/clock", cycle_id="one", candles=2)
    assert first == again
    assert replay.now_ms() == before + 2 * HOUR
    replay.post("/clock", cycle_id="two", candles=1)
    replay.post("/clock", cycle_id="one", candles=2)
    assert replay.now_ms() == before + 3 * HOUR


def test_a_cycle_moves_by_the_configured_number_of_candles(replay: Service) -> None:
    before = replay.now_ms()
    replay.post("/clock", cycle_id="one")
    assert replay.now_ms() == before + HOUR


def test_no_candles_move_nothing(replay: Service) -> None:
    before = replay.now_ms()
    replay.post("/clock", cycle_id="one", candles=0)
    assert replay.now_ms() == before


def test_a_replay_stands_where_it_stood_after_a_restart(replay: Service) -> None:
    moved = replay.post("/clock", cycle_id="one", candles=3)
    client = replay.restart()
    assert client.get("/clock").get_json() == moved
    assert client.post("/clock", json={"cycle_id": "one", "candles": 3}).get_json() == moved


def test_an_operator_moves_a_replay_to_a_whole_candle_and_never_back(replay: Service) -> None:
    before = replay.now_ms()
    target = datetime.fromtimestamp((before + 2 * HOUR + 1_800_000) / 1000, tz=UTC)
    replay.post("/clock", as_of=target.isoformat())
    assert replay.now_ms() == before + 2 * HOUR
    earlier = datetime.fromtimestamp(before / 1000, tz=UTC)
    response = replay.client.post("/clock", json={"as_of": earlier.isoformat()})
    assert response.status_code == 409
    assert replay.now_ms() == before + 2 * HOUR


def test_as_of_is_the_close_of_the_newest_candle(replay: Service) -> None:
    answer = replay.ohlcv()
    newest = answer["candles"]["BTC/USD"]["time"][-1] + HOUR
    assert datetime.fromisoformat(answer["as_of"]).timestamp() * 1000 == newest


def test_the_quote_is_the_open_of_the_candle_that_closes_next(replay: Service) -> None:
    quote = replay.post("/quotes", symbols=["BTC/USD"])["quotes"]["BTC/USD"]
    replay.post("/clock", cycle_id="one", candles=1)
    opened = replay.ohlcv(limit=1)["candles"]["BTC/USD"]["open"][-1]
    assert float(quote["last"]) == opened
    assert float(quote["bid"]) < opened < float(quote["ask"])


def test_a_candle_that_was_shown_never_changes(replay: Service) -> None:
    before = replay.ohlcv()["candles"]["BTC/USD"]
    replay.post("/clock", cycle_id="one", candles=1)
    after = replay.ohlcv(limit=6)["candles"]["BTC/USD"]
    assert {name: column[:-1] for name, column in after.items()} == before


def test_a_live_clock_is_the_wall_clock_and_is_not_moved(tmp_path: Path) -> None:
    live = _make("ccxt", tmp_path)
    assert live.post("/clock", cycle_id="one", candles=5)["clock"] == "live"
    assert live.now_ms() == round(WALL.timestamp() * 1000)
    response = live.client.post("/clock", json={"as_of": "2026-05-05T00:00:00Z"})
    assert response.status_code == 409


def test_a_replay_ends_with_the_file_and_stands_there(tmp_path: Path) -> None:
    files = _make("parquet", tmp_path)
    end = files.post("/clock", cycle_id="one", candles=1000)
    assert end["ended"] is True
    assert files.now_ms() == FIRST_OPEN + 39 * HOUR
    assert files.post("/clock", cycle_id="two", candles=1) == end
    assert "ended" in files.get("/health")["checks"]["clock"]["detail"]
    assert set(files.post("/quotes", symbols=SYMBOLS)["quotes"]) == set(SYMBOLS)


def test_a_silent_exchange_is_a_503(tmp_path: Path) -> None:
    exchange = FakeExchange(round(WALL.timestamp() * 1000))
    exchange.failure = TimeoutError("no answer in time")
    settings = market_settings(tmp_path, feed="ccxt", exchange="fake")
    feed = CcxtFeed(exchange, "USD", lambda: 0.0)
    client = create_app(settings, feed=feed, wall=lambda: WALL).test_client()
    for response in (
        client.get("/symbols"),
        client.post("/ohlcv", json={"symbols": SYMBOLS, "timeframe": "1h"}),
        client.post("/quotes", json={"symbols": SYMBOLS}),
    ):
        assert response.status_code == 503
        assert "no answer in time" in response.get_json()["detail"]


def test_tiny_prices_are_plain_decimal_text(tmp_path: Path) -> None:
    table = rows_of("A/USD", 100.0)
    for number, name in enumerate(table.column_names[2:6], start=2):
        table = table.set_column(number, name, pc.multiply(table.column(name), 1e-9))
    path = write_parquet(tmp_path / "a.parquet", table)
    settings = market_settings(tmp_path, feed="files", path=str(path))
    client = create_app(settings, wall=lambda: WALL).test_client()
    (listed,) = client.get("/symbols").get_json()["symbols"]
    assert listed["tick_size"] == "0.0000000001"
    quotes = client.post("/quotes", json={"symbols": ["A/USD"]}).get_json()["quotes"]
    assert quotes["A/USD"]["last"] == "0.0000001100"
