"""What passes the parsers and the judges can be traded on; everything else is refused in words.

Services' answers with one part spoiled, at any depth. The oracle is written anew here, in plain
loops, and knows nothing of the product's own checks.
"""

from __future__ import annotations

import json
import math
import tracemalloc
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from engine.clients.answers import RawAnswer
from engine.clients.execution import HttpExecution
from engine.clients.market_data import HttpMarketData
from engine.clients.portfolio import HttpPortfolio
from engine.clients.strategy import HttpStrategyEngine
from engine.clients.transport import Transport
from engine.domain import quality, signals
from engine.domain.candles import Candles
from engine.domain.limits import QualityLimits
from engine.domain.messages import StrategyChoice
from engine.domain.model import Action, OrderStatus
from engine.errors import OrderStateUnknown, ServiceError
from tests.clients_kit import ToldClock
from tests.property.bad_answers import spoiled, transport_that_answers

HOUR_MS = 3_600_000
NOW = datetime(2025, 11, 22, 12, tzinfo=UTC)
AS_OF = "2025-11-22T12:00:00Z"
NOW_MS = int(NOW.timestamp() * 1000)
COUNT = 6
TIMES = [NOW_MS - (COUNT - index) * HOUR_MS for index in range(COUNT)]
LIMITS = QualityLimits(
    stale_grace_s=90, max_gaps=0, max_spike=0.5, frozen_candles=4, max_bad_share=0.2
)
COLUMNS: dict[str, Any] = {
    "time": TIMES,
    "open": [10.0, 10.1, 10.2, 10.3, 10.2, 10.1],
    "high": [10.2, 10.3, 10.4, 10.5, 10.4, 10.3],
    "low": [9.9, 10.0, 10.1, 10.1, 10.0, 10.0],
    "close": [10.1, 10.2, 10.3, 10.2, 10.1, 10.2],
    "volume": [5.0, 6.0, 5.0, 4.0, 5.0, 6.0],
}
QUOTE = {"bid": "10.1", "ask": "10.2", "last": "10.1", "as_of": AS_OF}
SIGNAL = {
    "symbol": "BTC/USD",
    "strategy": "sma",
    "version": "1",
    "action": "buy",
    "confidence": 0.7,
    "price": "10.2",
    "stop_loss": "9.8",
    "take_profit": "11",
    "candle_time": TIMES[-1],
}
HELD = {
    "symbol": "BTC/USD",
    "quantity": "2",
    "average_price": "10",
    "market_price": "10",
    "strategy": "sma",
    "opened_at": AS_OF,
    "version": 1,
}
ACCOUNT = {
    "account": "paper",
    "currency": "USD",
    "cash": "80",
    "equity": "100",
    "peak_equity": "100",
    "day_start_equity": "100",
    "realized_pnl": "0",
    "positions": [HELD],
    "applied_seq": 3,
    "as_of": AS_OF,
}
ORDER = {
    "client_order_id": "o-1",
    "order_id": "v",
    "state": "PARTIAL",
    "quantity": "3",
    "filled_quantity": "1",
    "average_price": "10",
    "fees": "0",
    "seq": 1,
    "reason": "",
}
HEAD = {"as_of": AS_OF, "clock": "live"}
SENT = Candles.of(np.array(TIMES), *(np.array(COLUMNS[name]) for name in list(COLUMNS)[1:]))


def candles_may_be_traded_on(transport: Transport) -> bool:
    answer = HttpMarketData(transport, ToldClock(NOW)).candles(["BTC/USD"], "1h", 50, {})
    assert answer.candles.keys() ^ answer.errors.keys() == {"BTC/USD"}
    assert all(answer.errors.values())
    passed = False
    for series in answer.candles.values():
        fault = quality.judge(series, timeframe_s=3600, market_time=NOW, limits=LIMITS, need=2)
        if fault is None:
            require_tradable(series)
            passed = True
        else:
            assert quality.fault_word(fault) in quality.CANDLE_FAULTS
    return passed


def require_tradable(series: Candles) -> None:
    times = [int(at) for at in series.time]
    assert len(times) >= 2
    assert all(later - earlier == HOUR_MS for earlier, later in pairwise(times))
    assert NOW_MS - HOUR_MS - 90_000 - HOUR_MS <= times[-1] <= NOW_MS - HOUR_MS
    rows = [tuple(map(float, row)) for row in zip(*series.prices(), strict=True)]
    for opened, high, low, close, volume in rows:
        assert all(map(math.isfinite, (opened, high, low, close, volume)))
        assert 0 < low <= min(opened, close) <= max(opened, close) <= high
        assert volume >= 0
    for before, after in pairwise(rows):
        assert abs(after[3] / before[3] - 1) <= 0.5 + 1e-9
    assert not all(row[4] == 0 and row[3] == rows[-1][3] for row in rows[-4:]) or len(rows) < 4


def a_quote_may_be_traded_on(transport: Transport) -> bool:
    answer = HttpMarketData(transport, ToldClock(NOW)).quotes(["BTC/USD"])
    assert answer.quotes.keys() ^ answer.errors.keys() == {"BTC/USD"}
    for quote in answer.quotes.values():
        if quality.judge_quote(quote, now=NOW, max_age_s=15) is None:
            assert all(price.is_finite() for price in (quote.bid, quote.ask, quote.last))
            assert 0 < quote.bid <= quote.ask < Decimal(10) ** 25
            assert timedelta(seconds=-5) <= NOW - quote.as_of <= timedelta(seconds=15)
            return True
    return False


def a_signal_may_be_traded_on(transport: Transport) -> bool:
    choice = StrategyChoice(id="sma", name="sma")
    answer = HttpStrategyEngine(transport).evaluate("1h", [choice], {"BTC/USD": SENT}, [], "in-1")
    found = signals.filter_signals(
        answer.signals,
        strategies=["sma"],
        min_confidence=0.6,
        ttl_s=300,
        timeframe_s=3600,
        market_time=NOW,
        newest={"BTC/USD": TIMES[-1]},
        positions={},
    )
    assert all(dropped.reason for dropped in found.dropped)
    for kept in found.kept:
        assert (kept.symbol, kept.strategy, kept.action) == ("BTC/USD", "sma", Action.BUY)
        assert 0.6 <= kept.confidence <= 1
        assert kept.candle_time == TIMES[-1]
        stop = Decimal(0) if kept.stop_loss is None else kept.stop_loss
        target = Decimal("Infinity") if kept.take_profit is None else kept.take_profit
        assert 0 <= stop < kept.price < target
    return bool(found.kept)


def an_account_may_be_decided_on(transport: Transport) -> bool:
    account = HttpPortfolio(transport, "paper").snapshot()
    total = account.cash
    for held in account.positions:
        assert held.quantity.is_finite()
        assert held.quantity >= 0
        assert 0 <= held.version <= account.applied_seq
        total += held.quantity * held.market_price
    assert account.account == "paper"
    assert abs(total - account.equity) <= Decimal("0.01")
    assert len({held.symbol for held in account.positions}) == len(account.positions)
    return True


def an_order_may_be_recorded(transport: Transport) -> bool:
    order = HttpExecution(transport).submit("o-1", "{}", 1)
    assert order.client_order_id == "o-1"
    assert order.state not in {OrderStatus.RESERVED, OrderStatus.SENDING, OrderStatus.UNKNOWN}
    assert order.filled_quantity >= 0
    if order.quantity is not None:
        assert order.filled_quantity <= order.quantity
    if order.filled_quantity > 0:
        assert order.average_price is not None
        assert order.average_price > 0
        assert order.state is not OrderStatus.REJECTED
    else:
        assert order.state not in {OrderStatus.FILLED, OrderStatus.PARTIAL}
    return True


CASES: dict[str, tuple[Callable[[Transport], bool], Any]] = {
    "candles": (
        candles_may_be_traded_on,
        {**HEAD, "timeframe": "1h", "candles": {"BTC/USD": COLUMNS}, "errors": {}},
    ),
    "quotes": (a_quote_may_be_traded_on, {**HEAD, "quotes": {"BTC/USD": QUOTE}, "errors": {}}),
    "signals": (
        a_signal_may_be_traded_on,
        {"input_id": "in-1", "signals": [SIGNAL], "errors": {}},
    ),
    "account": (an_account_may_be_decided_on, ACCOUNT),
    "order": (an_order_may_be_recorded, ORDER),
}


def use(check: Callable[[Transport], bool], document: Any) -> bool:
    """Whether the answer was taken for good; only documented errors may come instead."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    answer = RawAnswer(200, {"content-type": "application/json"}, body)
    try:
        return check(transport_that_answers(answer))
    except (ServiceError, OrderStateUnknown):
        return False


@pytest.mark.parametrize("name", CASES)
def test_the_good_answer_passes(name: str) -> None:
    check, good = CASES[name]
    assert use(check, good)


def generate(name: str, examples: int) -> Counter[bool]:
    """How many spoiled answers were taken for good, and how many refused."""
    check, good = CASES[name]
    seen: Counter[bool] = Counter()

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(document=spoiled(good))
    def run(document: Any) -> None:
        seen[use(check, document)] += 1

    run()
    return seen


@pytest.mark.parametrize("name", CASES)
def test_nothing_that_cannot_be_is_traded_on(name: str) -> None:
    assert generate(name, 50)[False] > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CASES)
def test_nothing_that_cannot_be_is_traded_on_in_a_thousand_tries(name: str) -> None:
    generate(name, 1)  # Hypothesis reads its table of characters: 200 MB, once a checkout
    tracemalloc.start()
    try:
        assert generate(name, 1100)[False] > 0
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
