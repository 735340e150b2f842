"""One contract over every strategy, through the service."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib
from flask.testing import FlaskClient

from engine.domain.candles import Candles
from engine.domain.packed_candles import packed_json
from engine.settings import Settings
from services.strategy.app import create_app
from services.strategy.strategies import BUILT_IN
from tests.factories import make_candles

NAMES = [strategy.name for strategy in BUILT_IN]
HELD = {"quantity": "1", "average_price": "100"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    folder = str(tmp_path_factory.mktemp("none"))
    settings = Settings.model_validate({"services": {"strategy": {"folder": folder}}})
    return create_app(settings).test_client()


def ask(client: FlaskClient, **changed: Any) -> Any:
    body = {
        "timeframe": "1h",
        "strategies": [{"name": name} for name in NAMES],
        "market_data": {},
        "positions": {},
        "input_id": "i-1",
    }
    return client.post("/evaluate", json=body | changed).get_json()


def columns(candles: Candles) -> dict[str, list[float]]:
    return {name: column.tolist() for name, column in candles.named()}


def wandering(seed: int, count: int = 300) -> Candles:
    """A random walk with wicks."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    return make_candles(close, spread=0.4)


def signals_over_time(client: FlaskClient, name: str, **body: Any) -> list[dict[str, Any]]:
    """The signals of one strategy at the end of each prefix of a walk, held throughout."""
    walk = wandering(5)
    market = {f"S{end}/USD": columns(_first(walk, end)) for end in range(100, 301)}
    held = dict.fromkeys(market, HELD)
    bought = ask(client, strategies=[{"name": name}], market_data=market, **body)
    sold = ask(client, strategies=[{"name": name}], market_data=market, positions=held)
    assert bought["errors"] == sold["errors"] == {}
    return [*bought["signals"], *sold["signals"]]


def _first(candles: Candles, count: int) -> Candles:
    return candles.between(0, count)


def test_every_strategy_is_listed_with_typed_parameters(client: FlaskClient) -> None:
    listed = client.get("/strategies").get_json()["strategies"]
    assert [each["name"] for each in listed] == NAMES
    for each in listed:
        assert each["version"]
        assert each["min_candles"] >= 15
        assert all(set(value) == {"type", "default"} for value in each["parameters"].values())


@pytest.mark.parametrize("name", NAMES)
def test_signals_hold_to_the_contract(client: FlaskClient, name: str) -> None:
    signals = signals_over_time(client, name)
    assert {signal["action"] for signal in signals} == {"buy", "sell"}
    walk = wandering(5)
    for signal in signals:
        end = int(signal["symbol"][1:-4])
        assert 0.5 <= signal["confidence"] <= 1
        assert signal["strategy"] == name
        assert signal["candle_time"] == walk.time[end - 1]
        assert float(signal["price"]) == pytest.approx(walk.close[end - 1], rel=1e-9)
        assert signal["reason"]


@pytest.mark.parametrize("name", NAMES)
def test_a_buy_has_a_stop_two_atr_below_its_price(client: FlaskClient, name: str) -> None:
    walk = wandering(5)
    average = talib.ATR(walk.high, walk.low, walk.close, 14)
    buys = [each for each in signals_over_time(client, name) if each["action"] == "buy"]
    for signal in buys:
        end = int(signal["symbol"][1:-4])
        stop = walk.close[end - 1] - 2 * average[end - 1]
        assert float(signal["stop_loss"]) == pytest.approx(stop, rel=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_signals_are_events_not_states(client: FlaskClient, name: str) -> None:
    ends = sorted(
        int(signal["symbol"][1:-4])
        for signal in signals_over_time(client, name)
        if signal["action"] == "buy"
    )
    assert 0 < len(ends) < 40
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(ends))


@pytest.mark.parametrize("name", NAMES)
def test_too_few_candles_are_an_error_of_the_symbol(client: FlaskClient, name: str) -> None:
    described = client.get("/strategies").get_json()["strategies"]
    least = next(each["min_candles"] for each in described if each["name"] == name)
    walk = wandering(1)
    market = {
        "FEW/USD": columns(_first(walk, least - 1)),
        "ENOUGH/USD": columns(_first(walk, least)),
    }
    answer = ask(client, strategies=[{"name": name}], market_data=market)
    assert answer["errors"] == {
        "FEW/USD": f"{name} needs {least} candles, got {least - 1}",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_flat_market_gives_no_signal(client: FlaskClient, name: str) -> None:
    market = {"A/USD": columns(make_candles([100.0] * 200))}
    answer = ask(client, strategies=[{"name": name}], market_data=market)
    assert (answer["signals"], answer["errors"]) == ([], {})


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_parameter_is_named(client: FlaskClient, name: str) -> None:
    answer = ask(client, strategies=[{"name": name, "parameters": {"nonsense": 1}}])
    assert answer["status"] == 422
    assert "nonsense" in answer["errors"][0]["detail"]
    assert answer["errors"][0]["field"] == "strategies[0].parameters"


@pytest.mark.parametrize(
    ("name", "parameters", "word"),
    [
        ("sma_cross", {"fast": 50, "slow": 50}, "fast must be below slow"),
        ("sma_cross", {"fast": 1}, "fast must be at least 2"),
        ("sma_cross", {"fast": "20"}, "fast"),
        ("macd", {"fast": 30}, "fast must be below slow"),
        ("macd", {"signal": 0}, "signal must be at least 1"),
        ("rsi_reversion", {"oversold": 70, "overbought": 30}, "oversold must be below overbought"),
        ("rsi_reversion", {"period": 1}, "period must be at least 2"),
        ("rsi_reversion", {"overbought": 101}, "overbought"),
        ("bollinger", {"deviations": 0}, "deviations must be at least 0.1"),
        ("bollinger", {"period": 1}, "period must be at least 2"),
        ("donchian", {"entry": 1}, "entry must be at least 2"),
        ("donchian", {"exit": 1}, "exit must be at least 2"),
    ],
)
def test_a_parameter_out_of_its_bounds_is_named(
    client: FlaskClient, name: str, parameters: dict[str, Any], word: str
) -> None:
    answer = ask(client, strategies=[{"name": name, "parameters": parameters}])
    assert answer["status"] == 422
    assert word in answer["detail"]


def test_an_unknown_strategy_is_named_with_those_there_are(client: FlaskClient) -> None:
    answer = ask(client, strategies=[{"name": "martingale"}])
    assert answer["status"] == 422
    assert "martingale" in answer["detail"]
    assert "donchian" in answer["detail"]


def test_signals_carry_the_id_that_was_asked(client: FlaskClient) -> None:
    walk = wandering(5)
    market = {f"S{end}/USD": columns(_first(walk, end)) for end in range(100, 301)}
    asked = [
        {"id": "quick", "name": "sma_cross", "parameters": {"fast": 5, "slow": 10}},
        {"id": "slow", "name": "sma_cross"},
    ]
    signals = ask(client, strategies=asked, market_data=market)["signals"]
    assert {signal["strategy"] for signal in signals} == {"quick", "slow"}


def test_one_id_for_two_strategies_is_refused(client: FlaskClient) -> None:
    answer = ask(client, strategies=[{"name": "macd"}, {"name": "donchian", "id": "macd"}])
    assert answer["status"] == 422
    assert "macd" in answer["detail"]


def test_the_input_id_is_echoed(client: FlaskClient) -> None:
    assert ask(client, input_id="cycle-7-batch-3")["input_id"] == "cycle-7-batch-3"


def test_only_what_is_held_is_sold_and_only_what_is_not_is_bought(client: FlaskClient) -> None:
    walk = wandering(5)
    market = {f"S{end}/USD": columns(_first(walk, end)) for end in range(100, 301)}
    flat = ask(client, market_data=market)["signals"]
    held = ask(client, market_data=market, positions=dict.fromkeys(market, HELD))["signals"]
    assert {signal["action"] for signal in flat} == {"buy"}
    assert {signal["action"] for signal in held} == {"sell"}


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ({"time": [1, 2]}, "different lengths"),
        ({"close": ["x"]}, "bad columns"),
        ({"close": [None]}, "bad columns"),
        ([1, 2], "bad columns"),
        ({"time": [2**70]}, "bad columns"),
    ],
)
def test_a_symbol_with_bad_columns_costs_only_itself(
    client: FlaskClient, broken: Any, word: str
) -> None:
    market = {"BAD/USD": broken, "GOOD/USD": columns(wandering(1))}
    answer = ask(client, market_data=market)
    assert set(answer["errors"]) == {"BAD/USD"}
    assert word in answer["errors"]["BAD/USD"]


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_price_that_is_not_positive_is_never_judged(
    client: FlaskClient, column: str, value: float
) -> None:
    bad = columns(wandering(1))
    bad[column][3] = value
    answer = ask(client, market_data={"BAD/USD": bad})
    assert (answer["signals"], list(answer["errors"])) == ([], ["BAD/USD"])


def test_disordered_candles_are_never_judged(client: FlaskClient) -> None:
    bad = columns(wandering(1))
    bad["time"][3:5] = reversed(bad["time"][3:5])
    answer = ask(client, market_data={"BAD/USD": bad})
    assert (answer["signals"], list(answer["errors"])) == ([], ["BAD/USD"])


def packed_text(candles: Candles) -> str:
    text: str = json.loads(packed_json(candles))
    return text


def test_packed_candles_are_judged_as_lists_are(client: FlaskClient) -> None:
    walks = {f"S{end}/USD": _first(wandering(1), end) for end in range(100, 301)}
    listed = ask(client, market_data={name: columns(walk) for name, walk in walks.items()})
    packed = ask(client, market_data={name: packed_text(walk) for name, walk in walks.items()})
    assert packed == listed
    assert listed["takes_packed"]
    assert listed["signals"]


@pytest.mark.parametrize(
    "change", [("close", np.nan), ("high", np.inf), ("low", 0.0), ("volume", np.nan), ("time", 0)]
)
def test_packed_candles_are_never_trusted_more_than_lists(
    client: FlaskClient, change: tuple[str, float]
) -> None:
    column, value = change
    bad = wandering(1)
    getattr(bad, column)[3] = value
    answer = ask(client, market_data={"BAD/USD": packed_text(bad)})
    assert (answer["signals"], list(answer["errors"])) == ([], ["BAD/USD"])


@pytest.mark.parametrize("text", ["", "AAAA", "no base64 at all!", "QUJD" * 13])
def test_text_that_is_no_packed_candles_costs_only_its_symbol(
    client: FlaskClient, text: str
) -> None:
    market = {"BAD/USD": text, "GOOD/USD": columns(wandering(1))}
    assert set(ask(client, market_data=market)["errors"]) == {"BAD/USD"}


def test_an_unknown_field_is_refused_by_name(client: FlaskClient) -> None:
    assert ask(client, surprise=1)["errors"] == [{"field": "surprise", "detail": "unknown field"}]


def test_a_body_of_many_megabytes_is_read(client: FlaskClient) -> None:
    walk = columns(wandering(1, 3000))
    body = {
        "timeframe": "1h",
        "strategies": [],
        "market_data": {f"S{number}/USD": walk for number in range(15)},
    }
    data = json.dumps(body)
    assert len(data) > 4_000_000
    response = client.post("/evaluate", data=data, content_type="application/json")
    assert response.status_code == 200


def test_a_file_of_the_folder_becomes_a_strategy(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "strategies" / "_example_momentum.py"
    (tmp_path / "momentum.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    settings = Settings.model_validate({"services": {"strategy": {"folder": str(tmp_path)}}})
    client = create_app(settings).test_client()
    market = {"A/USD": columns(make_candles([100.0] * 50 + [104.0]))}
    answer = ask(client, strategies=[{"name": "momentum"}], market_data=market)
    assert [signal["action"] for signal in answer["signals"]] == ["buy"]
    assert client.get("/health").get_json()["status"] == "ok"


def test_a_broken_file_degrades_the_health_and_the_others_serve(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("STRATEGY = 1 / 0\n", encoding="utf-8")
    settings = Settings.model_validate({"services": {"strategy": {"folder": str(tmp_path)}}})
    client = create_app(settings).test_client()
    health = client.get("/health")
    assert health.status_code == 200
    assert health.get_json()["status"] == "degraded"
    assert "ZeroDivisionError" in health.get_json()["checks"]["file broken.py"]["detail"]
    assert set(client.get("/strategies").get_json()["errors"]) == {"broken.py"}
    assert ask(client, market_data={"A/USD": columns(wandering(1))})["errors"] == {}


def test_tiny_prices_are_plain_decimal_text(client: FlaskClient) -> None:
    close = [1e-7] * 60 + [1.5e-7]
    market = {"A/USD": columns(make_candles(close, spread=1e-9))}
    (signal,) = ask(client, strategies=[{"name": "donchian"}], market_data=market)["signals"]
    assert signal["price"] == "0.00000015"
    assert signal["stop_loss"].startswith("0.0000001")
