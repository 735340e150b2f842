"""The strategy client: what it sends, what it takes, and what it refuses."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.clients.strategy import HttpStrategyEngine
from engine.domain.candles import Candles
from engine.domain.messages import StrategyChoice
from engine.domain.model import Action, Position
from engine.domain.packed_candles import unpacked
from engine.errors import BadPayload, ServiceError
from tests.clients_kit import make_transport
from tests.faulty_server import (
    FaultyServer,
    Reply,
    answer,
)

CANDLES = Candles.of(
    np.array([3_600_000, 7_200_000]),
    *(np.array([1.0, 2.0]) for _ in range(5)),
)
POSITION = Position(
    symbol="BTC/USD",
    quantity=Decimal("0.0000005"),
    average_price=Decimal("1E+3"),
    market_price=Decimal(1000),
    strategy="sma",
    opened_at=datetime(2025, 11, 22, tzinfo=UTC),
    version=3,
)
SIGNAL: dict[str, Any] = {
    "symbol": "BTC/USD",
    "strategy": "sma",
    "version": "1",
    "action": "buy",
    "confidence": 0.7,
    "price": "100",
    "stop_loss": "95",
    "candle_time": 7_200_000,
    "reason": "cross",
}


def evaluated(*signals: dict[str, Any], input_id: str = "in-1", **more: Any) -> Reply:
    errors = {"BTC/USD": "x", "Z": "y"}
    return answer({"input_id": input_id, "signals": signals, "errors": errors, **more})


class TestStrategyEngine:
    """Port StrategyEngine."""

    def asker(self, server: FaultyServer) -> Callable[[], Any]:
        client = HttpStrategyEngine(make_transport(server.url, service="strategy"))
        choice = StrategyChoice(id="sma", name="sma_cross", parameters={"fast": 2})
        return lambda: client.evaluate("1h", [choice], {"BTC/USD": CANDLES}, [POSITION], "in-1")

    def ask(self, server: FaultyServer) -> Any:
        return self.asker(server)()

    def test_columns_and_decimal_text_go_out_and_signals_come_back(self) -> None:
        with FaultyServer(evaluated(SIGNAL)) as server:
            found = self.ask(server)
            sent = server.asked[0].json()
        assert sent == {
            "timeframe": "1h",
            "strategies": [{"id": "sma", "name": "sma_cross", "parameters": {"fast": 2}}],
            "market_data": {
                "BTC/USD": {
                    "time": [3_600_000, 7_200_000],
                    **{name: [1.0, 2.0] for name in ("open", "high", "low", "close", "volume")},
                }
            },
            "positions": {"BTC/USD": {"quantity": "0.0000005", "average_price": "1000"}},
            "input_id": "in-1",
        }
        assert found.signals[0].action is Action.BUY
        assert found.errors == {"BTC/USD": "x"}

    def test_candles_leave_packed_once_the_service_said_that_it_takes_them(self) -> None:
        with FaultyServer(evaluated(SIGNAL, takes_packed=True)) as server:
            ask = self.asker(server)
            ask()
            ask()
            sent = [each.json()["market_data"]["BTC/USD"] for each in server.asked]
        assert isinstance(sent[0], dict)
        read = unpacked(base64.b64decode(sent[1]))
        assert read.columns() == CANDLES.columns()

    @pytest.mark.parametrize(
        "then",
        [evaluated(SIGNAL), Reply(status=422, body=b"{}")],
        ids=["without the word", "refused"],
    )
    def test_after_a_call_that_failed_candles_leave_as_lists(self, then: Reply) -> None:
        """Another service may stand there now, one that takes only what the contract asks for."""
        takes = evaluated(SIGNAL, takes_packed=True)
        with FaultyServer((takes, then, takes)) as server:
            ask = self.asker(server)
            ask()
            with pytest.raises(ServiceError):
                ask()
            ask()
            sent = [each.json()["market_data"]["BTC/USD"] for each in server.asked]
        assert [type(each) for each in sent] == [dict, str, dict]

    @pytest.mark.parametrize(
        "change",
        [
            {"symbol": "DOGE/USD"},
            {"strategy": "other"},
            {"confidence": 1.01},
            {"confidence": -0.1},
            {"price": "0"},
            {"price": "NaN"},
            {"stop_loss": "-1"},
            {"candle_time": 7_200_001},
            {"action": "short"},
            {"confidence": "0.7"},
        ],
        ids=str,
    )
    def test_one_impossible_signal_discards_the_whole_answer(self, change: dict[str, Any]) -> None:
        with (
            FaultyServer(evaluated(SIGNAL, {**SIGNAL, **change})) as server,
            pytest.raises(BadPayload),
        ):
            self.ask(server)

    def test_an_answer_to_another_input_is_discarded(self) -> None:
        with (
            FaultyServer(evaluated(SIGNAL, input_id="in-2")) as server,
            pytest.raises(BadPayload, match="in-2"),
        ):
            self.ask(server)
