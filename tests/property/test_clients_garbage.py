"""Whatever a service answers, a client raises nothing but the documented errors."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clients.answers import MAX_DETAIL, RawAnswer, decoded, raise_for_status, slowdown_s
from engine.clients.checks import require_sound
from engine.clients.execution import HttpExecution
from engine.clients.market_data import HttpMarketData
from engine.clients.monitoring import HttpMonitoring
from engine.clients.portfolio import HttpPortfolio
from engine.clients.strategy import HttpStrategyEngine
from engine.clients.transport import Transport
from engine.domain.candles import Candles
from engine.domain.messages import CandleAnswer, StrategyChoice
from engine.errors import OrderStateUnknown, ServiceError, ServiceUnavailable
from tests.clients_kit import ToldClock
from tests.property.bad_answers import AS_OF, JUNK, spoiled, transport_that_answers

SYMBOL = {
    "symbol": "BTC/USD",
    "volume_24h": "1",
    "spread_bps": 1.2,
    "tick_size": "1",
    "lot_size": "1",
    "min_notional": "1",
}
COLUMNS = {name: [1, 2] for name in ("time", "open", "high", "low", "close", "volume")}
QUOTE = {"bid": "1", "ask": "2", "last": "1", "as_of": AS_OF}
HELD = {
    "symbol": "BTC/USD",
    "quantity": "1",
    "average_price": "1",
    "market_price": "1",
    "strategy": None,
    "opened_at": AS_OF,
    "version": 1,
}
ACCOUNT = {
    "account": "paper",
    "currency": "USD",
    "cash": "1",
    "equity": "2",
    "peak_equity": "2",
    "day_start_equity": "2",
    "realized_pnl": "0",
    "positions": [HELD],
    "applied_seq": 1,
    "as_of": AS_OF,
}
SIGNAL = {
    "symbol": "BTC/USD",
    "strategy": "sma",
    "version": "1",
    "action": "buy",
    "confidence": 0.7,
    "price": "1",
    "candle_time": 2,
}
ORDER = {
    "client_order_id": "o-1",
    "order_id": "v",
    "state": "FILLED",
    "filled_quantity": "1",
    "average_price": "1",
    "fees": "0",
    "seq": 1,
    "reason": "",
}
FILL = {
    "type": "fill",
    "seq": 2,
    "fill_id": "f",
    "client_order_id": "o-1",
    "symbol": "BTC/USD",
    "side": "buy",
    "quantity": "1",
    "price": "1",
    "fee": "0",
    "filled_at": AS_OF,
    "strategy": "sma",
}
HEAD = {"as_of": AS_OF, "clock": "live"}
CANDLES = Candles.of(np.array([1, 2]), *(np.array([1.0, 2.0]) for _ in range(5)))
CHOICE = StrategyChoice(id="sma", name="sma")

CALLS: dict[str, tuple[Callable[[Transport], object], Any]] = {
    "symbols": (lambda t: _market(t).symbols(), {**HEAD, "symbols": [SYMBOL]}),
    "clock": (lambda t: _market(t).advance("c", 1), {**HEAD, "ended": False}),
    "candles": (
        lambda t: _market(t).candles(["BTC/USD"], "1h", 5, {"BTC/USD": 1}),
        {**HEAD, "timeframe": "1h", "candles": {"BTC/USD": COLUMNS}, "errors": {}},
    ),
    "quotes": (
        lambda t: _market(t).quotes(["BTC/USD"]),
        {**HEAD, "quotes": {"BTC/USD": QUOTE}, "errors": {}},
    ),
    "evaluate": (
        lambda t: HttpStrategyEngine(t).evaluate("1h", [CHOICE], {"BTC/USD": CANDLES}, [], "in-1"),
        {"input_id": "in-1", "signals": [SIGNAL], "errors": {}},
    ),
    "snapshot": (lambda t: HttpPortfolio(t, "paper").snapshot(), ACCOUNT),
    "fills": (
        lambda t: HttpPortfolio(t, "paper").apply_fills(1, []),
        {"applied_seq": 1, "applied": [], "duplicates": []},
    ),
    "equity": (
        lambda t: HttpPortfolio(t, "paper").equity(None),
        {"points": [{"time": AS_OF, "equity": "1", "cash": "1"}]},
    ),
    "submit": (lambda t: HttpExecution(t).submit("o-1", "{}", 1), ORDER),
    "order": (lambda t: HttpExecution(t).order("o-1"), ORDER),
    "void": (lambda t: HttpExecution(t).void("o-1"), ORDER),
    "open orders": (lambda t: HttpExecution(t).open_orders(), {"orders": [ORDER]}),
    "fence": (lambda t: HttpExecution(t).set_fence(1), {"epoch": 1, "log_id": "l"}),
    "halt": (
        lambda t: HttpExecution(t).halt("r", cancel_open=True),
        {"halted": True, "cancelled": ["o"], "failed": []},
    ),
    "events": (
        lambda t: HttpExecution(t).events(0, 10),
        {
            "log_id": "l",
            "head": 2,
            "events": [{**ORDER, "type": "order", "at": AS_OF}, FILL],
        },
    ),
    "monitoring": (lambda t: HttpMonitoring(t).publish([]), {}),
}


def _market(transport: Transport) -> HttpMarketData:
    return HttpMarketData(transport, ToldClock())


@st.composite
def answers(draw: st.DrawFn, good: Any) -> RawAnswer:
    """Nearly right, random JSON, half of it, or random bytes, under any status."""
    text = json.dumps(draw(spoiled(good) | JUNK)).encode()
    kind = draw(st.integers(0, 9))
    if kind == 0:
        text = text[: draw(st.integers(0, len(text)))]
    if kind == 1:
        text = draw(st.binary(max_size=40))
    status = 200 if kind < 8 else draw(st.integers(200, 599))
    names = st.sampled_from(["content-type", "retry-after", "content-encoding"])
    junk = draw(st.dictionaries(names, st.text(string.printable, max_size=20), max_size=2))
    headers = {"content-type": "application/json", **(junk if kind == 9 else {})}
    return RawAnswer(status, headers, text)


def outcome(
    action: Callable[[], object],
) -> tuple[object, ServiceError | OrderStateUnknown | None]:
    """The result, or the documented error; every other one is a failure of the test."""
    try:
        return action(), None
    except (ServiceError, OrderStateUnknown) as exc:
        return None, exc


@pytest.mark.parametrize("name", CALLS)
def test_the_good_answer_is_taken(name: str) -> None:
    call, good = CALLS[name]
    body = json.dumps(good).encode()
    told = RawAnswer(200, {"content-type": "application/json"}, body)
    _, refused = outcome(lambda: call(transport_that_answers(told)))
    assert refused is None


@pytest.mark.parametrize("name", CALLS)
def test_no_answer_raises_anything_but_the_documented_errors(name: str) -> None:
    call, good = CALLS[name]

    @settings(max_examples=60, deadline=None)
    @given(answer=answers(good))
    def check(answer: RawAnswer) -> None:
        result, error = outcome(lambda: call(transport_that_answers(answer)))
        require_sound(vars(result)["errors"] if isinstance(result, CandleAnswer) else result)
        if isinstance(result, CandleAnswer):
            columns = [column for found in result.candles.values() for column in found.prices()]
            assert all(np.isfinite(column).all() for column in columns)
        if isinstance(error, OrderStateUnknown):
            assert name == "submit"
        elif name == "submit" and isinstance(error, ServiceUnavailable):
            assert error.accepted is False

    check()


@settings(max_examples=200, deadline=None)
@given(answer=answers(ACCOUNT), text=st.text(max_size=40))
def test_no_header_or_status_raises_anything_else(answer: RawAnswer, text: str) -> None:
    headers = {**answer.headers, "retry-after": text}
    seconds = slowdown_s(
        RawAnswer(429, headers, answer.body), datetime(2025, 11, 22, tzinfo=UTC), 120
    )
    assert 0 <= seconds <= 120
    for step in (raise_for_status, lambda name, given: decoded(name, given, json.loads)):
        _, error = outcome(lambda step=step: step("portfolio", answer))
        if isinstance(error, ServiceError):
            assert error.service == "portfolio"
            assert len(error.detail) <= MAX_DETAIL
