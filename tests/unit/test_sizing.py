"""How much an entry buys, and where its stop lies."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import talib

from engine.domain.candles import Candles
from engine.domain.limits import DistanceRule
from engine.domain.model import Action, OrderIntent, Side
from engine.domain.sizing import (
    atr,
    entry_prices,
    last_atr,
    size_entry,
    size_exit,
    stop_distance,
)
from tests.factories import (
    make_candles,
    make_instrument,
    make_limits,
    make_position,
    make_signal,
    make_snapshot,
    make_symbol_facts,
)

# True range 2 in every candle, so ATR is 2.
CANDLES = make_candles([100.0] * 40, spread=1.0)
FEW = make_candles([100.0] * 10, spread=1.0)
TWO_ATR = DistanceRule(unit="atr", amount=Decimal(2))
THREE_PERCENT = DistanceRule(unit="fraction", amount=Decimal("0.03"))
NO_EXITS = {"stop": None, "target": None, "trailing": None, "time_candles": 0}


def sized(candles: Candles = CANDLES, *, signal: Any = None, **changed: Any) -> OrderIntent:
    limits = make_limits(**changed)
    return size_entry(signal or make_signal(), make_instrument(), make_snapshot(), candles, limits)


def test_atr_equals_talib_and_is_unknown_while_there_are_too_few() -> None:
    walk = 100 + np.cumsum(np.sin(np.arange(80.0)))
    candles = make_candles(walk, spread=0.7)
    expected = talib.ATR(candles.high, candles.low, candles.close, 14)
    np.testing.assert_allclose(atr(candles), expected, rtol=1e-9)
    assert np.isnan(atr(FEW)).all()
    assert last_atr(FEW) is None
    assert last_atr(make_candles([])) is None
    assert last_atr(CANDLES) == 2


def test_a_distance_is_a_multiple_of_atr_or_a_fraction_of_the_price() -> None:
    assert stop_distance(TWO_ATR, Decimal(100), CANDLES) == 4
    assert stop_distance(THREE_PERCENT, Decimal(200), CANDLES) == 6
    assert stop_distance(TWO_ATR, Decimal(100), FEW) is None
    assert stop_distance(None, Decimal(100), CANDLES) is None


@pytest.mark.parametrize(
    ("own_stop", "own_target", "stop", "target"),
    [
        (None, None, "96", "103"),
        ("97", "102", "97", "102"),
        ("90", "130", "96", "103"),
    ],
)
def test_the_tighter_of_the_signals_and_the_configured_price_wins(
    own_stop: str | None, own_target: str | None, stop: str, target: str
) -> None:
    exits = make_limits(exits={"stop": TWO_ATR, "target": THREE_PERCENT}).exits
    signal = make_signal(
        stop_loss=None if own_stop is None else Decimal(own_stop),
        take_profit=None if own_target is None else Decimal(own_target),
    )
    assert entry_prices(signal, CANDLES, exits) == (Decimal(stop), Decimal(target))


def test_without_any_exit_there_is_neither_stop_nor_target() -> None:
    exits = make_limits(exits=NO_EXITS).exits
    assert entry_prices(make_signal(), CANDLES, exits) == (None, None)


def test_a_stop_at_or_below_zero_is_none() -> None:
    far = DistanceRule(unit="atr", amount=Decimal(50))
    exits = make_limits(exits=NO_EXITS | {"stop": far}).exits
    assert entry_prices(make_signal(), CANDLES, exits) == (None, None)


def test_fixed_risk_divides_by_the_distance_to_the_stop() -> None:
    intent = sized(sizing={"method": "risk", "risk": Decimal("0.01")})
    assert intent.quantity == 250
    assert intent.stop_price == 96
    assert intent.allowances[0].rule == "sizing.risk"


def test_fixed_risk_without_a_stop_puts_the_whole_value_at_risk() -> None:
    assert sized(exits=NO_EXITS).quantity == 10


def test_a_fraction_divides_by_the_price_with_fees() -> None:
    intent = sized(sizing={"method": "fraction", "fraction": Decimal("0.05")})
    assert intent.quantity == Decimal("49.9001")
    assert intent.allowances[0].rule == "sizing.fraction"


def test_a_volatility_target_divides_by_atr() -> None:
    plan = {"method": "volatility", "volatility": Decimal("0.01")}
    assert sized(sizing=plan).quantity == 500
    assert sized(FEW, sizing=plan).quantity == 0


def test_an_intent_carries_its_signal() -> None:
    intent = sized(signal=make_signal(reason="crossed"))
    assert intent.decision_key.startswith("v1|paper|sma_cross|1|BTC/USD|1h|")
    assert intent.decision_key.endswith("|buy")
    assert (intent.side, intent.confidence, intent.reason) == (Side.BUY, 0.8, "crossed")
    assert not intent.is_exit


def test_an_exit_sells_what_no_open_sell_reserves() -> None:
    facts = make_symbol_facts(open_sell_quantity=Decimal("0.4"), position_fill_id="fill-3")
    intent = size_exit(
        make_position(), make_instrument(), account="paper", reason="stop", facts=facts
    )
    assert intent.quantity == Decimal("0.6")
    assert intent.decision_key == "v1|paper|BTC/USD|exit|stop|fill-3"
    assert (intent.side, intent.strategy, intent.is_exit) == (Side.SELL, "sma_cross", True)


def test_an_exit_is_rounded_down_to_the_lot_and_never_negative() -> None:
    def quantity(held: str, reserved: str) -> Decimal:
        facts = make_symbol_facts(open_sell_quantity=Decimal(reserved))
        return size_exit(
            make_position(quantity=held),
            make_instrument(),
            account="paper",
            reason="stop",
            facts=facts,
        ).quantity

    assert quantity("1.00019", "0") == Decimal("1.0001")
    assert quantity("0.00005", "0") == 0
    assert quantity("1", "1.5") == 0


def test_a_strategys_sell_gives_the_exit_its_confidence_and_candle() -> None:
    signal = make_signal(action=Action.SELL, confidence=0.7, reason="crossed down")
    intent = size_exit(
        make_position(),
        make_instrument(),
        account="paper",
        reason="signal",
        facts=make_symbol_facts(),
        signal=signal,
    )
    assert (intent.confidence, intent.candle_time) == (0.7, signal.candle_time)
    assert (intent.reason, intent.exit_reason) == ("crossed down", "signal")
