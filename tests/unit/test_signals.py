"""Which signals may be acted on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.model import Action, Position, Signal
from engine.domain.signals import FilteredSignals, filter_signals
from tests.factories import HOUR_MS, NEWEST, NOW, make_position, make_signal


def filtered(signals: Iterable[Signal], *positions: Position, **changed: Any) -> FilteredSignals:
    arguments: dict[str, Any] = {
        "strategies": ["macd", "sma_cross"],
        "min_confidence": 0.6,
        "ttl_s": 300,
        "timeframe_s": 3600,
        "market_time": NOW,
        "newest": {"BTC/USD": NEWEST, "ETH/USD": NEWEST},
        "positions": {position.symbol: position for position in positions},
    }
    return filter_signals(signals, **arguments | changed)


def words(result: FilteredSignals) -> list[str]:
    return [dropped.reason.partition(":")[0] for dropped in result.dropped]


def test_a_good_signal_is_kept() -> None:
    result = filtered([make_signal()])
    assert result.kept == (make_signal(),)
    assert (result.received, result.dropped) == (1, ())


def test_hold_is_not_received() -> None:
    result = filtered([make_signal(action=Action.HOLD)])
    assert (result.received, result.kept, result.dropped) == (0, (), ())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"confidence": 0.59}, "weak"),
        ({"candle_time": NEWEST - HOUR_MS}, "not_newest"),
        ({"candle_time": NEWEST + HOUR_MS}, "not_newest"),
        ({"strategy": "stranger"}, "unknown_strategy"),
        ({"symbol": "FOO/USD"}, "unknown_symbol"),
        ({"confidence": 1.01}, "bad_numbers"),
        ({"confidence": -0.1}, "bad_numbers"),
        ({"confidence": float("nan")}, "bad_numbers"),
        ({"price": Decimal(0)}, "bad_numbers"),
        ({"price": Decimal("NaN")}, "bad_numbers"),
        ({"stop_loss": Decimal(100)}, "bad_numbers"),
        ({"stop_loss": Decimal("NaN")}, "bad_numbers"),
        ({"stop_loss": Decimal(-1)}, "bad_numbers"),
        ({"take_profit": Decimal(100)}, "bad_numbers"),
        ({"action": Action.SELL}, "no_position"),
    ],
)
def test_each_reason_to_drop_has_its_word(changes: dict[str, Any], word: str) -> None:
    result = filtered([make_signal(**changes)])
    assert words(result) == [word]
    assert result.kept == ()
    assert result.received == 1


def test_weak_says_both_numbers() -> None:
    (dropped,) = filtered([make_signal(confidence=0.42)]).dropped
    assert dropped.reason == "weak: confidence 0.42 is below 0.6"


def test_a_buy_expires_and_a_sell_does_not() -> None:
    late = NOW + timedelta(seconds=301)
    assert words(filtered([make_signal()], market_time=late)) == ["expired"]
    assert filtered([make_signal()], market_time=NOW + timedelta(seconds=300)).kept
    sell = make_signal(action=Action.SELL)
    assert filtered([sell], make_position(), market_time=late).kept == (sell,)


def test_only_the_owner_of_a_position_may_sell_it() -> None:
    sell = make_signal(action=Action.SELL)
    assert filtered([sell], make_position()).kept == (sell,)
    assert words(filtered([sell], make_position(strategy="macd"))) == ["not_owner"]
    assert words(filtered([sell], make_position(strategy=None))) == ["not_owner"]


def test_the_most_confident_buy_of_a_symbol_is_kept() -> None:
    weaker, stronger = make_signal(confidence=0.7), make_signal(strategy="macd", confidence=0.9)
    result = filtered([weaker, stronger])
    assert result.kept == (stronger,)
    assert words(result) == ["outranked"]
    assert "0.90 against 0.70" in result.dropped[0].reason


def test_equal_confidence_is_decided_by_the_strategy_id() -> None:
    result = filtered([make_signal(), make_signal(strategy="macd")])
    assert [signal.strategy for signal in result.kept] == ["macd"]


def test_the_same_signal_twice_is_a_duplicate() -> None:
    result = filtered([make_signal(), make_signal()])
    assert len(result.kept) == 1
    assert words(result) == ["duplicate"]


def test_the_owners_sell_wins_over_any_buy() -> None:
    sell = make_signal(action=Action.SELL, confidence=0.6)
    buy = make_signal(strategy="macd", confidence=1.0)
    result = filtered([buy, sell], make_position())
    assert result.kept == (sell,)
    assert words(result) == ["outranked"]


def test_symbols_do_not_compete() -> None:
    result = filtered([make_signal("ETH/USD"), make_signal("BTC/USD")])
    assert [signal.symbol for signal in result.kept] == ["BTC/USD", "ETH/USD"]
