"""When an open position is left, and why."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.candles import Candles
from engine.domain.exits import ProtectiveExit, protective_exit
from engine.domain.limits import DistanceRule
from tests.factories import (
    HOUR_MS,
    NEWEST,
    NOW,
    candles_of,
    make_candles,
    make_limits,
    make_position,
    make_symbol_facts,
)

QUIET = (100.0, 101.0, 99.0, 100.0)
NO_EXITS: dict[str, Any] = {"stop": None, "target": None, "trailing": None, "time_candles": 0}
FIVE_PERCENT = DistanceRule(unit="fraction", amount=Decimal("0.05"))


def judged(
    candles: Candles,
    *,
    hours: float = 3,
    stop: str | None = "95",
    target: str | None = "110",
    market: str = "100",
    strategy: str | None = "sma_cross",
    **plan: Any,
) -> ProtectiveExit | None:
    """A position bought at 100 `hours` ago; the newest candle closed now."""
    return protective_exit(
        make_position(
            opened_at=NOW - timedelta(hours=hours),
            market_price=Decimal(market),
            strategy=strategy,
        ),
        make_symbol_facts(
            stop_price=None if stop is None else Decimal(stop),
            target_price=None if target is None else Decimal(target),
        ),
        candles,
        exits=make_limits(exits=NO_EXITS | plan).exits,
        timeframe_s=3600,
        market_time=NOW,
    )


def outcome(found: ProtectiveExit | None) -> tuple[str, Decimal, Decimal] | None:
    return None if found is None else (found.reason, found.trigger_price, found.touch_price)


def test_quiet_candles_call_for_nothing() -> None:
    assert judged(candles_of(*[QUIET] * 5)) is None


def test_a_low_at_the_stop_is_a_stop_out_at_the_stop() -> None:
    found = judged(candles_of(QUIET, QUIET, QUIET, (100, 101, 95, 99), QUIET))
    assert outcome(found) == ("stop", Decimal(95), Decimal(95))
    assert found is not None
    assert found.candle_time == NEWEST - HOUR_MS
    assert found.detail == "stop at 95 was touched in the candle of 2025-11-22T10:00:00Z"


def test_a_high_at_the_target_takes_the_profit() -> None:
    found = judged(candles_of(*[QUIET] * 4, (100, 110, 99, 108)))
    assert outcome(found) == ("target", Decimal(110), Decimal(110))


def test_a_gap_is_had_at_the_open() -> None:
    below = judged(candles_of(*[QUIET] * 4, (90, 92, 88, 91)))
    assert outcome(below) == ("stop", Decimal(95), Decimal(90))
    above = judged(candles_of(*[QUIET] * 4, (115, 116, 114, 115)))
    assert outcome(above) == ("target", Decimal(110), Decimal(115))


def test_the_stop_comes_before_the_target_inside_a_candle() -> None:
    found = judged(candles_of(*[QUIET] * 4, (100, 120, 90, 100)))
    assert outcome(found) == ("stop", Decimal(95), Decimal(95))


def test_the_earlier_candle_decides() -> None:
    found = judged(candles_of(*[QUIET] * 3, (100, 111, 99, 105), (100, 101, 90, 92)))
    assert outcome(found) == ("target", Decimal(110), Decimal(110))


def test_candles_before_the_entry_do_not_count() -> None:
    assert judged(candles_of((100, 130, 80, 100), QUIET, QUIET, QUIET), hours=3) is None


def test_the_candle_that_opened_at_the_entry_counts_fully() -> None:
    found = judged(candles_of((100, 101, 94, 100), QUIET, QUIET), hours=3)
    assert outcome(found) == ("stop", Decimal(95), Decimal(95))


def test_of_the_candle_of_the_entry_only_the_close_counts() -> None:
    wild = (100.0, 130.0, 80.0, 100.0)
    assert judged(candles_of(wild, QUIET, QUIET), hours=2.5) is None
    low_close = judged(candles_of((100, 130, 80, 94), QUIET, QUIET), hours=2.5)
    assert outcome(low_close) == ("stop", Decimal(95), Decimal(94))


def test_the_mark_counts_too() -> None:
    candles = candles_of(*[QUIET] * 4)
    assert outcome(judged(candles, market="94")) == ("stop", Decimal(95), Decimal(94))
    assert outcome(judged(candles, market="95")) == ("stop", Decimal(95), Decimal(95))
    assert outcome(judged(candles, market="111")) == ("target", Decimal(110), Decimal(111))


def test_the_mark_alone_is_enough() -> None:
    assert outcome(judged(make_candles([]), market="94")) == ("stop", Decimal(95), Decimal(94))


def test_a_trailing_stop_follows_the_highest_high() -> None:
    rising = [(100.0, 105.0, 100.0, 104.0), (104.0, 120.0, 104.0, 118.0)]
    plan = {"trailing": FIVE_PERCENT, "target": None}
    assert judged(candles_of(*rising), hours=2, market="118", **plan) is None
    found = judged(
        candles_of(*rising, (118.0, 119.0, 113.0, 116.0)),
        trailing=FIVE_PERCENT,
        target=None,
    )
    assert outcome(found) == ("trailing", Decimal(114), Decimal(114))


def test_a_candles_own_high_does_not_raise_the_level_for_its_own_low() -> None:
    spike = (100.0, 120.0, 100.0, 115.0)
    plan = {"trailing": FIVE_PERCENT, "target": None}
    assert judged(candles_of(spike), hours=1, market="115", **plan) is None


def test_a_close_below_the_level_that_its_own_high_left_behind_is_a_touch() -> None:
    fallen = (100.0, 120.0, 100.0, 110.0)
    found = judged(candles_of(fallen), hours=1, trailing=FIVE_PERCENT, target=None)
    assert outcome(found) == ("trailing", Decimal(114), Decimal(110))


def test_the_mark_is_compared_with_the_trailing_level() -> None:
    risen = (100.0, 120.0, 100.0, 118.0)
    found = judged(candles_of(risen), hours=1, trailing=FIVE_PERCENT, target=None, market="113.9")
    assert outcome(found) == ("trailing", Decimal(114), Decimal("113.9"))


def test_the_higher_of_stop_and_trailing_stop_gives_the_reason() -> None:
    crash = (100.0, 100.0, 80.0, 85.0)
    tight = judged(candles_of(crash), hours=1, stop="99", trailing=FIVE_PERCENT)
    assert outcome(tight) == ("stop", Decimal(99), Decimal(99))
    loose = judged(candles_of(crash), hours=1, stop="90", trailing=FIVE_PERCENT)
    assert outcome(loose) == ("trailing", Decimal(95), Decimal(95))


def test_a_trailing_stop_in_atr_never_falls_when_volatility_grows() -> None:
    """ATR is 2 at the entry, so the level is 96; wild candles later may not lower it."""
    calm = [(100.0, 101.0, 99.0, 100.0)] * 30
    wild = [(100.0, 100.0, 97.0, 100.0), (100.0, 100.0, 96.1, 100.0), (100.0, 100.0, 95.9, 99.0)]
    rule = DistanceRule(unit="atr", amount=Decimal(2))
    assert judged(candles_of(*calm, *wild[:2]), hours=2, stop=None, trailing=rule) is None
    found = judged(candles_of(*calm, *wild), hours=3, stop=None, trailing=rule)
    assert found is not None
    assert found.reason == "trailing"
    assert found.trigger_price == 96


def test_a_position_is_left_after_so_many_candles() -> None:
    candles = candles_of(*[QUIET] * 6)
    assert judged(candles, hours=2.9, time_candles=3) is None
    found = judged(candles, hours=3, time_candles=3)
    assert outcome(found) == ("time", Decimal(100), Decimal(100))


def test_an_adopted_position_gets_the_configured_stop_and_target() -> None:
    ten = DistanceRule(unit="fraction", amount=Decimal("0.1"))
    plan = make_limits(exits=NO_EXITS | {"stop": FIVE_PERCENT, "target": ten}).exits
    position = make_position(opened_at=NOW - timedelta(hours=3))
    for row, expected in [
        ((100, 100, 94, 96), ("stop", Decimal(95), Decimal(95))),
        ((100, 111, 99, 105), ("target", Decimal(110), Decimal(110))),
    ]:
        left = protective_exit(
            position,
            make_symbol_facts(),
            candles_of(QUIET, QUIET, row),
            exits=plan,
            timeframe_s=3600,
            market_time=NOW,
        )
        assert outcome(left) == expected


@pytest.mark.parametrize("market", ["1", "100", "1000"])
def test_a_foreign_position_is_left_alone(market: str) -> None:
    crash = candles_of(QUIET, (90.0, 90.0, 80.0, 80.0))
    assert judged(crash, market=market, strategy=None) is None
