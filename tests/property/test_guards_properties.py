"""Guards bind exactly as long as they say, and never hold an exit back."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.cycle import SymbolFacts
from engine.domain.limits import GuardLimits
from engine.domain.model import OrderIntent, RiskDecision, TradingState
from engine.domain.risk import assess, safety
from tests.factories import (
    NOW,
    make_exit,
    make_instrument,
    make_intent,
    make_limits,
    make_position,
    make_snapshot,
    make_symbol_facts,
)

HOUR_S = 3600
fractions = st.decimals("0.001", "0.9", places=3)
equities = st.decimals("1", "300000", places=2)


def refusal(known: SymbolFacts, **risk: object) -> str:
    """The rule that refuses an entry of one symbol, or nothing."""
    result = asked(make_intent(), known, **risk)
    return result.binding_rule if isinstance(result, RiskDecision) else ""


def asked(intent: OrderIntent, known: SymbolFacts, **risk: object) -> RiskDecision | OrderIntent:
    return assess(
        intent,
        known,
        make_instrument(),
        make_snapshot(make_position()) if intent.is_exit else make_snapshot(),
        make_limits(risk=risk),
        market_time=NOW,
        trading_state=TradingState.ACTIVE,
        may_enter=True,
    )


@given(st.integers(0, 20 * HOUR_S), st.integers(0, 12))
@settings(max_examples=150)
def test_a_cooldown_lasts_so_many_candles_after_the_exit(ago_s: int, candles: int) -> None:
    known = make_symbol_facts(last_exit_at=NOW - timedelta(seconds=ago_s))
    is_cooling = ago_s < candles * HOUR_S
    assert (refusal(known, cooldown_candles=candles) == "cooldown_candles") is is_cooling


@given(
    st.integers(0, 9), st.integers(0, 9), st.integers(1, 8), st.sampled_from(["sma_cross", "macd"])
)
@settings(max_examples=100)
def test_a_strategy_that_repeated_itself_waits_until_it_is_enabled(
    bought: int, sold: int, most: int, disabled: str
) -> None:
    """Each side is counted by itself; once disabled it stays so, whatever the day's count."""
    known = make_symbol_facts(
        strategy_orders_today={"sma_cross|buy": bought, "sma_cross|sell": sold, "macd|buy": 9},
        disabled_strategies=(disabled,),
    )
    expected = "max_repeats_per_day" if bought >= most else ""
    if disabled == "sma_cross":
        expected = "strategy_disabled"
    assert refusal(known, max_repeats_per_day=most) == expected


@given(st.integers(0, 9), st.integers(1, 8))
@settings(max_examples=60)
def test_so_many_orders_of_a_symbol_leave_in_an_hour(orders: int, most: int) -> None:
    known = make_symbol_facts(orders_last_hour=orders)
    expected = "max_orders_per_symbol_per_hour" if orders >= most else ""
    assert refusal(known, max_orders_per_symbol_per_hour=most) == expected


@given(
    st.integers(0, 20 * HOUR_S),
    st.lists(st.integers(0, 30), max_size=6),
    st.sampled_from(["symbol", "all"]),
)
@settings(max_examples=80)
def test_no_guard_holds_an_exit_back(ago_s: int, stops: list[int], locks: str) -> None:
    guard = GuardLimits(stops=1, window_candles=24, lock_candles=24, locks=locks)
    known = make_symbol_facts(
        last_exit_at=NOW - timedelta(seconds=ago_s),
        stop_exits_at=tuple(NOW - timedelta(hours=hours) for hours in stops),
        orders_last_hour=99,
        strategy_orders_today={"sma_cross|buy": 99, "sma_cross|sell": 99},
        disabled_strategies=("sma_cross",),
    )
    intent = make_exit()
    result = asked(intent, known, cooldown_candles=99, stoploss_guard=guard)
    assert isinstance(result, OrderIntent)
    assert result.quantity == intent.quantity


@given(equities, equities, equities, fractions, fractions, fractions)
@settings(max_examples=200)
def test_a_loss_latches_exactly_where_its_limit_is_reached(  # noqa: PLR0917
    equity: Decimal, day: Decimal, peak: Decimal, one: Decimal, other: Decimal, drop: Decimal
) -> None:
    """Of the day the soft or the hard one, and the drawdown below the highest equity beside it."""
    soft, hard = sorted((one, other))
    limits = msgspec.structs.replace(
        make_limits().risk, max_daily_loss_soft=soft, max_daily_loss_hard=hard, max_drawdown=drop
    )
    account = make_snapshot(cash=equity, day_start_equity=day, peak_equity=peak)
    found = {breach.cause: breach.level for breach in safety(account, limits)}
    expected = {}
    if day - equity >= hard * day:
        expected["daily_loss_hard"] = TradingState.HALTED
    elif day - equity >= soft * day:
        expected["daily_loss_soft"] = TradingState.REDUCING
    if peak - equity >= drop * peak:
        expected["drawdown"] = TradingState.HALTED
    assert found == expected
