"""The portfolio service over HTTP, against its published contract."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from engine.errors import ConfigError
from engine.service_settings import Portfolio, Services
from engine.settings import Settings, TradingEngine
from services.portfolio.app import create_app
from web import serve

NOW = datetime(2025, 11, 22, 12, 30, tzinfo=UTC)


@contextmanager
def running(folder: Path, account: str = "paper") -> Iterator[str]:
    """The service's address, on the files of `folder`."""
    settings = Settings(
        data_dir=str(folder),
        trading_engine=TradingEngine(account=account),
        services=Services(portfolio=Portfolio(cash=Decimal(1000))),
    )
    server = serve(create_app(settings, now=lambda: NOW), "127.0.0.1", 0, 8)
    try:
        yield server.url
    finally:
        server.close()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with running(tmp_path) as address:
        yield address


def fill(seq: int = 1, **changed: Any) -> dict[str, Any]:
    return {
        "seq": seq,
        "fill_id": f"fill-{seq}",
        "client_order_id": f"order-{seq}",
        "symbol": "BTC/USD",
        "side": "buy",
        "quantity": "2",
        "price": "100",
        "fee": "0.2",
        "filled_at": "2025-11-22T12:00:00Z",
        "strategy": "sma_cross",
    } | changed


def relay(url: str, through_seq: int, *fills: dict[str, Any]) -> requests.Response:
    body = {"through_seq": through_seq, "fills": fills}
    return requests.post(f"{url}/fills", json=body, timeout=5)


def portfolio(url: str) -> dict[str, Any]:
    return requests.get(f"{url}/portfolio", timeout=5).json()


def mark(url: str, price: str, as_of: str = "2025-11-22T13:00:00Z") -> requests.Response:
    body = {"prices": {"BTC/USD": price}, "as_of": as_of}
    return requests.post(f"{url}/marks", json=body, timeout=5)


def test_a_new_account_is_its_cash(url: str) -> None:
    assert portfolio(url) == {
        "account": "paper",
        "currency": "USD",
        "cash": "1000",
        "equity": "1000",
        "peak_equity": "1000",
        "day_start_equity": "1000",
        "realized_pnl": "0",
        "positions": [],
        "applied_seq": 0,
        "as_of": "2025-11-22T12:30:00Z",
    }


def test_a_fill_is_applied_and_acknowledged(url: str) -> None:
    answer = relay(url, 2, fill())
    assert answer.json() == {"applied_seq": 2, "applied": ["fill-1"], "duplicates": []}
    seen = portfolio(url)
    assert (seen["cash"], seen["equity"], seen["applied_seq"]) == ("799.8", "999.8", 2)
    assert seen["positions"] == [
        {
            "symbol": "BTC/USD",
            "quantity": "2",
            "average_price": "100",
            "market_price": "100",
            "strategy": "sma_cross",
            "opened_at": "2025-11-22T12:00:00Z",
            "version": 1,
        }
    ]


def test_a_repeated_fill_is_a_duplicate_and_changes_nothing(url: str) -> None:
    relay(url, 2, fill())
    before = portfolio(url)
    answer = relay(url, 2, fill())
    assert answer.json() == {"applied_seq": 2, "applied": [], "duplicates": ["fill-1"]}
    assert portfolio(url) == before


def test_events_without_fills_raise_applied_seq(url: str) -> None:
    assert relay(url, 7).json()["applied_seq"] == 7
    assert relay(url, 3).json()["applied_seq"] == 7


def test_an_unknown_fill_below_applied_seq_is_a_gap_and_nothing_is_applied(url: str) -> None:
    relay(url, 5)
    before = portfolio(url)
    answer = relay(url, 9, fill(8), fill(4))
    assert answer.status_code == 409
    assert answer.json()["type"].endswith("/gap")
    assert answer.json()["fill_ids"] == ["fill-4"]
    assert portfolio(url) == before


def test_a_known_fill_with_another_content_is_refused(url: str) -> None:
    relay(url, 1, fill())
    answer = relay(url, 1, fill(price="101"))
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/body-mismatch")


def test_a_sell_beyond_the_holding_is_refused_with_all_that_came_with_it(url: str) -> None:
    answer = relay(url, 2, fill(), fill(2, side="sell", quantity="3"))
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/oversold")
    assert portfolio(url)["applied_seq"] == 0
    assert portfolio(url)["positions"] == []


def test_fills_are_applied_in_the_order_of_their_seq(url: str) -> None:
    answer = relay(url, 2, fill(2, side="sell"), fill(1))
    assert answer.json()["applied"] == ["fill-1", "fill-2"]
    assert portfolio(url)["positions"] == []


def test_marks_value_the_holding(url: str) -> None:
    relay(url, 1, fill())
    assert mark(url, "150").json() == {"applied": True, "equity": "1099.8"}
    seen = portfolio(url)
    assert (seen["equity"], seen["peak_equity"]) == ("1099.8", "1099.8")
    assert seen["positions"][0]["market_price"] == "150"


def test_older_marks_are_ignored(url: str) -> None:
    relay(url, 1, fill())
    mark(url, "150")
    answer = mark(url, "1", "2025-11-22T12:59:59Z")
    assert answer.json() == {"applied": False, "equity": "1099.8"}


def test_the_equity_curve_has_one_point_a_market_time(url: str) -> None:
    relay(url, 1, fill())
    mark(url, "150")
    mark(url, "160")
    points = requests.get(f"{url}/equity", timeout=5).json()["points"]
    assert points == [
        {"time": "2025-11-22T12:00:00Z", "equity": "999.8", "cash": "799.8"},
        {"time": "2025-11-22T13:00:00Z", "equity": "1119.8", "cash": "799.8"},
    ]
    since = requests.get(
        f"{url}/equity", params={"since": "2025-11-22T12:00:01Z"}, timeout=5
    ).json()["points"]
    assert since == points[1:]


def test_the_account_survives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as url:
        relay(url, 4, fill())
        mark(url, "150.123")
        before = portfolio(url)
    with running(tmp_path) as url:
        assert portfolio(url) == before
        assert relay(url, 4, fill()).json()["duplicates"] == ["fill-1"]


def test_a_file_of_another_account_is_refused(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    with pytest.raises(ConfigError, match=r"trading_engine\.account.*data_dir"):
        create_app(Settings(data_dir=str(tmp_path), trading_engine=TradingEngine(account="b")))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"quantity": "NaN"}, "quantity"),
        ({"quantity": "0"}, "quantity"),
        ({"quantity": 2}, "quantity"),
        ({"price": "-1"}, "price"),
        ({"price": "1E400"}, "price"),
        ({"fee": "-0.1"}, "fee"),
        ({"side": "short"}, "side"),
        ({"filled_at": "2025-11-22T12:00:00"}, "filled_at"),
        ({"seq": 0}, "seq"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_fill_that_cannot_be_true_is_422_and_names_the_field(
    url: str, changed: dict[str, Any], field: str
) -> None:
    answer = relay(url, 1, fill(**changed))
    assert answer.status_code == 422
    assert field in answer.json()["detail"]
    assert portfolio(url)["applied_seq"] == 0


@pytest.mark.parametrize(
    "fills",
    [
        [fill(1), fill(1, fill_id="other")],
        [fill(1), fill(2, fill_id="fill-1")],
        [fill(9)],
    ],
)
def test_a_list_that_contradicts_itself_is_422(url: str, fills: list[dict[str, Any]]) -> None:
    assert relay(url, 3, *fills).status_code == 422


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity", "1E99"])
def test_a_mark_that_is_no_price_is_422(url: str, price: str) -> None:
    relay(url, 1, fill())
    assert mark(url, price).status_code == 422
    assert portfolio(url)["equity"] == "999.8"


def test_an_exponent_within_bounds_is_understood(url: str) -> None:
    relay(url, 1, fill(price="6.9E-7", fee="0"))
    assert portfolio(url)["positions"][0]["average_price"] == "0.00000069"


def test_the_same_fills_from_many_threads_are_applied_once(url: str) -> None:
    fills = [fill(seq, quantity="0.01") for seq in range(1, 41)]
    answers: list[dict[str, Any]] = []
    barrier = threading.Barrier(6)

    def send() -> None:
        barrier.wait(timeout=10)
        answers.append(relay(url, 40, *fills).json())

    threads = [threading.Thread(target=send) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=20)
    assert sum(len(each["applied"]) for each in answers) == 40
    assert portfolio(url)["positions"][0]["quantity"] == "0.4"


def test_every_reading_while_fills_arrive_is_one_state(url: str) -> None:
    """Equity is cash and positions in each answer, however the readings fall."""
    done = threading.Event()
    wrong: list[dict[str, Any]] = []

    def read() -> None:
        while not done.is_set():
            seen = portfolio(url)
            held = sum(
                Decimal(each["quantity"]) * Decimal(each["market_price"])
                for each in seen["positions"]
            )
            if Decimal(seen["cash"]) + held != Decimal(seen["equity"]):
                wrong.append(seen)

    reader = threading.Thread(target=read)
    reader.start()
    for seq in range(1, 31):
        side = "buy" if seq % 2 else "sell"
        assert relay(url, seq, fill(seq, side=side, price=str(100 + seq))).status_code == 200
    done.set()
    reader.join(timeout=10)
    assert wrong == []


def test_health_says_that_the_store_answers(url: str) -> None:
    answer = requests.get(f"{url}/health", timeout=5)
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
