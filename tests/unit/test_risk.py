"""Rules about one symbol, and the safety of the account."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.model import (
    Instrument,
    OrderIntent,
    PortfolioSnapshot,
    RiskDecision,
    TradingState,
    Verdict,
)
from engine.domain.risk import assess, safety, usage
from engine.domain.sizing import size_entry
from tests.factories import (
    NOW,
    make_candles,
    make_exit,
    make_instrument,
    make_intent,
    make_limits,
    make_order,
    make_position,
    make_signal,
    make_snapshot,
    make_symbol_facts,
)

HOUR = timedelta(hours=1)


def assessed(
    intent: OrderIntent,
    *,
    snapshot: PortfolioSnapshot | None = None,
    instrument: Instrument | None = None,
    state: TradingState = TradingState.ACTIVE,
    may_enter: bool = True,
    limits: dict[str, Any] | None = None,
    **facts: Any,
) -> RiskDecision | OrderIntent:
    return assess(
        intent,
        make_symbol_facts(**facts),
        instrument or make_instrument(),
        snapshot or make_snapshot(),
        make_limits(**(limits or {})),
        market_time=NOW,
        trading_state=state,
        may_enter=may_enter,
    )


def denial(result: RiskDecision | OrderIntent) -> str | None:
    if isinstance(result, OrderIntent):
        return None
    assert result.verdict is Verdict.DENIED
    assert result.quantity == 0
    assert result.reason.startswith(f"{result.binding_rule}: ")
    return result.binding_rule


def granted(result: RiskDecision | OrderIntent) -> Decimal:
    assert isinstance(result, OrderIntent)
    return result.quantity


def test_an_entry_that_breaks_no_rule_passes_with_its_allowances() -> None:
    result = assessed(make_intent())
    assert isinstance(result, OrderIntent)
    assert result.quantity == 1
    assert {allowance.rule for allowance in result.allowances} >= {
        "cooldown_candles",
        "stoploss_guard",
        "max_orders_per_symbol_per_hour",
        "max_repeats_per_day",
        "owned",
        "quarantined",
        "max_risk_per_trade",
        "max_position_size_pct",
        "max_order_notional",
    }


ENTRY_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"state": TradingState.HALTED}, "trading_state"),
    ({"state": TradingState.REDUCING}, "trading_state"),
    ({"may_enter": False}, "degraded"),
    ({"owner": "macd"}, "owned"),
    ({"owner": ""}, "owned"),
    ({"quarantined": True}, "quarantined"),
    ({"disabled_strategies": ("sma_cross",)}, "strategy_disabled"),
    ({"last_exit_at": NOW - 2 * HOUR + timedelta(seconds=1)}, "cooldown_candles"),
    ({"stop_exits_at": tuple(NOW - n * HOUR for n in (3, 4, 5, 20))}, "stoploss_guard"),
    ({"orders_last_hour": 4}, "max_orders_per_symbol_per_hour"),
    ({"strategy_orders_today": {"sma_cross|buy": 5}}, "max_repeats_per_day"),
]


@pytest.mark.parametrize(("changes", "rule"), ENTRY_REFUSALS)
def test_each_rule_refuses_an_entry_under_its_own_name(changes: dict[str, Any], rule: str) -> None:
    assert denial(assessed(make_intent(), **changes)) == rule


@pytest.mark.parametrize(
    "changes",
    [
        {"owner": "sma_cross"},
        {"disabled_strategies": ("macd",)},
        {"last_exit_at": NOW - 2 * HOUR},
        {"stop_exits_at": tuple(NOW - n * HOUR for n in (3, 4, 5))},
        # Four stops, but not within 24 candles.
        {"stop_exits_at": tuple(NOW - n * HOUR for n in (3, 4, 5, 27))},
        # Four stops within the window, and the lock of four candles is over.
        {"stop_exits_at": tuple(NOW - n * HOUR for n in (4, 5, 6, 7))},
        {"orders_last_hour": 3},
        {"strategy_orders_today": {"sma_cross|buy": 4, "sma_cross|sell": 9, "macd|buy": 9}},
    ],
)
def test_just_within_a_rule_is_allowed(changes: dict[str, Any]) -> None:
    assert denial(assessed(make_intent(), **changes)) is None


@pytest.mark.parametrize(
    "changes", [changes for changes, _ in ENTRY_REFUSALS if "state" not in changes]
)
def test_no_entry_rule_blocks_an_exit(changes: dict[str, Any]) -> None:
    assert granted(assessed(make_exit(), **changes)) == 1


@pytest.mark.parametrize("owner", ["macd", None])
def test_the_portfolio_knows_the_owner_of_an_adopted_or_foreign_position(
    owner: str | None,
) -> None:
    held = make_snapshot(make_position(strategy=owner))
    assert denial(assessed(make_intent(), snapshot=held)) == "owned"


def test_an_exit_passes_while_reducing_and_not_while_halted() -> None:
    assert granted(assessed(make_exit(), state=TradingState.REDUCING)) == 1
    assert denial(assessed(make_exit(), state=TradingState.HALTED)) == "trading_state"


def test_the_risk_of_a_trade_bounds_its_size() -> None:
    """5 % of 100,000 at risk, 20 a unit: 250 units, and 19 % of equity in notional."""
    wish = make_intent(quantity=Decimal(900), stop_price=Decimal(80), price=Decimal(100))
    loose = {"max_position_size_pct": Decimal(1), "max_order_notional": Decimal(10**6)}
    result = assessed(wish, limits={"risk": loose})
    assert granted(result) == 250


def test_without_a_stop_the_whole_price_is_at_risk() -> None:
    wish = make_intent(quantity=Decimal(900), stop_price=None)
    assert granted(assessed(wish)) == 50


def test_the_position_size_counts_what_is_held() -> None:
    wish = make_intent(quantity=Decimal(900))
    snapshot = make_snapshot(make_position(quantity="50"), cash="95000")
    assert granted(assessed(wish, snapshot=snapshot)) == 150


def test_the_order_notional_bounds_its_size() -> None:
    wish = make_intent(quantity=Decimal(900))
    limits = {"risk": {"max_order_notional": Decimal("1234.56")}}
    assert granted(assessed(wish, limits=limits)) == Decimal("12.3456")


def test_what_is_left_is_rounded_down_to_the_lot() -> None:
    wish = make_intent(quantity=Decimal("1.00019"))
    assert granted(assessed(wish)) == Decimal("1.0001")
    coarse = make_instrument(lot_size=Decimal(7))
    assert granted(assessed(make_intent(quantity=Decimal(20)), instrument=coarse)) == 14


def test_less_than_a_lot_or_the_minimum_value_is_denied() -> None:
    small = make_intent(quantity=Decimal("0.00005"))
    result = assessed(small)
    assert denial(result) == "candidate"
    assert isinstance(result, RiskDecision)
    assert "less than one lot" in result.reason
    assert denial(assessed(make_intent(quantity=Decimal("0.0999")))) == "min_notional"
    assert granted(assessed(make_intent(quantity=Decimal("0.1")))) == Decimal("0.1")


def test_dust_is_shown_and_not_sold() -> None:
    result = assessed(make_exit(quantity="0.05"))
    assert denial(result) == "min_notional"


def test_an_entry_without_equity_is_denied() -> None:
    snapshot = make_snapshot(cash="0")
    assert denial(assessed(make_intent(), snapshot=snapshot)) == "max_risk_per_trade"


def test_a_lifted_set_of_rules_leaves_the_size_alone() -> None:
    wish = make_intent(quantity=Decimal("0.05"))
    facts = {"owner": "macd", "orders_last_hour": 99, "quarantined": True}
    assert granted(assessed(wish, limits={"risk": {"is_enforced": False}}, **facts)) == Decimal(
        "0.05"
    )


def test_the_size_of_an_entry_names_the_rule_that_bound() -> None:
    """Risk sizing wants 250 units; the order's notional allows 150."""
    candles = make_candles([100.0] * 40, spread=1.0)
    wish = size_entry(make_signal(), make_instrument(), make_snapshot(), candles, make_limits())
    assert wish.quantity == 250
    result = assessed(wish, limits={"risk": {"max_order_notional": Decimal(15000)}})
    assert granted(result) == 150
    assert isinstance(result, OrderIntent)
    smallest = min(
        (a for a in result.allowances if a.quantity is not None), key=lambda a: a.quantity or 0
    )
    assert (smallest.rule, smallest.quantity) == ("max_order_notional", 150)


def snapshot_of(equity: str, *, day_start: str = "100", peak: str = "100") -> PortfolioSnapshot:
    return make_snapshot(
        cash=equity, day_start_equity=Decimal(day_start), peak_equity=Decimal(peak)
    )


def test_losses_latch_the_trading_state() -> None:
    limits = make_limits().risk

    def found(equity: str, peak: str = "100") -> list[tuple[str, TradingState]]:
        breaches = safety(snapshot_of(equity, peak=peak), limits)
        return [(breach.cause, breach.level) for breach in breaches]

    assert found("97.01") == []
    assert found("97") == [("daily_loss_soft", TradingState.REDUCING)]
    assert found("95") == [("daily_loss_hard", TradingState.HALTED)]
    assert found("100", peak="117.6") == []
    assert found("100", peak="118") == [("drawdown", TradingState.HALTED)]
    assert [cause for cause, _ in found("80")] == ["daily_loss_hard", "drawdown"]


def test_an_account_that_lost_everything_is_halted() -> None:
    causes = {b.cause for b in safety(snapshot_of("-1"), make_limits().risk)}
    assert causes == {"daily_loss_hard", "drawdown"}
    empty = snapshot_of("0", day_start="0", peak="0")
    assert safety(empty, make_limits().risk) == ()


def test_usage_shows_each_limit_of_the_account() -> None:
    snapshot = make_snapshot(
        make_position(quantity="200"), cash="80000", day_start_equity=Decimal(101000)
    )
    rows = usage(
        snapshot,
        make_limits().risk,
        open_orders=(make_order("ETH/USD", quantity=Decimal(100)),),
        entry_stops={"BTC/USD": Decimal(90)},
        orders_last_minute=3,
    )
    used = {row.name: row.used for row in rows}
    assert used["max_gross_exposure"] == Decimal("0.3")
    assert used["max_portfolio_risk"] == Decimal("0.12")
    assert used["min_cash"] == Decimal("0.6998")
    assert used["max_open_positions"] == 2
    assert used["max_orders_per_minute"] == 3
    assert used["max_daily_loss_soft"] == Decimal("0.009901")
    effects = {row.name: (row.limit, row.unit, row.effect) for row in rows}
    assert effects["max_drawdown"] == (Decimal("0.15"), "of equity", "HALTED, latched")
    assert effects["max_open_positions"] == (20, "positions", "no further entries")
