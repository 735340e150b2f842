"""Rules of one symbol: within every limit, tighter never more, exits never blocked."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.cycle import SymbolFacts
from engine.domain.limits import GuardLimits, Limits
from engine.domain.model import (
    Instrument,
    OrderIntent,
    PortfolioSnapshot,
    RiskDecision,
    TradingState,
)
from engine.domain.risk import assess, safety
from engine.domain.sizing import size_entry
from tests.factories import (
    NOW,
    make_candles,
    make_exit,
    make_instrument,
    make_intent,
    make_limits,
    make_position,
    make_signal,
    make_snapshot,
    make_symbol_facts,
)

shares = st.decimals("0.001", "1", places=3)
money = st.decimals("0", "200000", places=2)
lots = st.sampled_from([Decimal(1), Decimal("0.01"), Decimal("0.0001"), Decimal(7)])
ages = st.integers(0, 40).map(lambda hours: NOW - timedelta(hours=hours))

intents = st.builds(
    lambda quantity, price, stop: make_intent(quantity=quantity, price=price, stop_price=stop),
    st.decimals("0.0001", "5000", places=4),
    st.decimals("60", "5000", places=2),
    st.one_of(st.none(), st.decimals("1", "59", places=2)),
)
instruments = lots.map(lambda lot: make_instrument(lot_size=lot))
snapshots = st.builds(
    lambda cash, held: make_snapshot(
        *([make_position(quantity=str(held))] if held > 0 else []), cash=cash
    ),
    money,
    st.decimals("0", "500", places=2),
)
risk_changes = st.fixed_dictionaries(
    {
        "max_risk_per_trade": shares,
        "max_position_size_pct": shares,
        "max_order_notional": st.decimals("1", "50000", places=2),
    }
)
facts = st.builds(
    make_symbol_facts,
    owner=st.sampled_from([None, "sma_cross", "macd"]),
    last_exit_at=st.one_of(st.none(), ages),
    orders_last_hour=st.integers(0, 6),
    stop_exits_at=st.lists(ages, max_size=8).map(tuple),
    strategy_orders_today=st.just({}) | st.just({"sma_cross|buy": 9, "sma_cross|sell": 9}),
    disabled_strategies=st.just(()) | st.just(("sma_cross",)),
    quarantined=st.booleans(),
)


def assessed(
    intent: OrderIntent,
    known: SymbolFacts,
    instrument: Instrument,
    snapshot: PortfolioSnapshot,
    limits: Limits,
    **changed: Any,
) -> RiskDecision | OrderIntent:
    arguments: dict[str, Any] = {"trading_state": TradingState.ACTIVE, "may_enter": True}
    return assess(
        intent, known, instrument, snapshot, limits, market_time=NOW, **arguments | changed
    )


def granted(result: RiskDecision | OrderIntent) -> Decimal:
    return result.quantity


@given(intents, instruments, snapshots, risk_changes)
@settings(max_examples=200)
def test_an_entry_is_within_every_limit_of_its_symbol(
    intent: OrderIntent,
    instrument: Instrument,
    snapshot: PortfolioSnapshot,
    changes: dict[str, Decimal],
) -> None:
    limits = make_limits(risk=changes)
    result = assessed(intent, make_symbol_facts(), instrument, snapshot, limits)
    quantity, price = Fraction(granted(result)), Fraction(intent.price)
    equity = Fraction(snapshot.equity)
    unit = price if intent.stop_price is None else price - Fraction(intent.stop_price)
    position = snapshot.position(intent.symbol)
    held = Fraction(position.value) if position is not None else Fraction(0)
    assert quantity % Fraction(instrument.lot_size) == 0
    assert quantity <= Fraction(intent.quantity)
    assert quantity * unit <= Fraction(changes["max_risk_per_trade"]) * equity
    assert quantity * price <= Fraction(changes["max_order_notional"])
    if quantity > 0:
        assert held + quantity * price <= Fraction(changes["max_position_size_pct"]) * equity
        assert quantity * price >= Fraction(instrument.min_notional)


@given(intents, facts, instruments, snapshots, risk_changes, shares)
@settings(max_examples=200)
def test_tighter_limits_never_approve_more(  # noqa: PLR0917
    intent: OrderIntent,
    known: SymbolFacts,
    instrument: Instrument,
    snapshot: PortfolioSnapshot,
    changes: dict[str, Decimal],
    factor: Decimal,
) -> None:
    loose = make_limits(risk=changes)
    tight = make_limits(
        risk={name: value * factor for name, value in changes.items()}
        | {
            "cooldown_candles": 5,
            "max_orders_per_symbol_per_hour": 2,
            "stoploss_guard": GuardLimits(stops=2, window_candles=24, lock_candles=9),
        }
    )
    assert granted(assessed(intent, known, instrument, snapshot, tight)) <= granted(
        assessed(intent, known, instrument, snapshot, loose)
    )


cycles = st.fixed_dictionaries(
    {
        "may_enter": st.booleans(),
        "trading_state": st.sampled_from([TradingState.ACTIVE, TradingState.REDUCING]),
    }
)


@given(facts, snapshots, cycles)
@settings(max_examples=150)
def test_an_exit_is_never_blocked_by_an_entry_rule(
    known: SymbolFacts, snapshot: PortfolioSnapshot, cycle: dict[str, Any]
) -> None:
    intent = make_exit(quantity="2")
    nothing = {
        "max_risk_per_trade": Decimal(0),
        "max_position_size_pct": Decimal(0),
        "max_order_notional": Decimal(0),
    }
    limits = make_limits(risk=nothing)
    result = assessed(intent, known, make_instrument(), snapshot, limits, **cycle)
    assert granted(result) == 2


@given(st.lists(ages, max_size=10), st.integers(1, 5), st.integers(1, 30), st.integers(1, 10))
@settings(max_examples=200)
def test_the_guard_locks_exactly_after_enough_stops_within_the_window(
    stops_at: list[Any], stops: int, window: int, lock: int
) -> None:
    guard = GuardLimits(stops=stops, window_candles=window, lock_candles=lock)
    limits = make_limits(risk={"stoploss_guard": guard})
    known = make_symbol_facts(stop_exits_at=tuple(stops_at))
    result = assessed(make_intent(), known, make_instrument(), make_snapshot(), limits)
    hour = timedelta(hours=1)
    is_locked = any(
        sum(last - window * hour < other <= last for other in stops_at) >= stops
        and last + lock * hour > NOW
        for last in stops_at
    )
    assert isinstance(result, RiskDecision) == is_locked
    if isinstance(result, RiskDecision):
        assert result.binding_rule == "stoploss_guard"


@given(
    st.sampled_from(["risk", "fraction", "volatility"]),
    shares,
    money,
    lots,
    st.decimals("1", "99.99", places=2) | st.none(),
)
@settings(max_examples=200)
def test_a_size_spends_no_more_than_its_method_says_and_one_lot_more_would(
    method: str, share: Decimal, cash: Decimal, lot: Decimal, stop: Decimal | None
) -> None:
    limits = make_limits(
        sizing={"method": method, "risk": share, "fraction": share, "volatility": share},
        exits={"stop": None},
    )
    candles = make_candles([100.0] * 30, spread=1.0)
    intent = size_entry(
        make_signal(stop_loss=stop),
        make_instrument(lot_size=lot),
        make_snapshot(cash=cash),
        candles,
        limits,
    )
    unit = {
        "risk": Fraction(100) if stop is None else 100 - Fraction(stop),
        "fraction": 100 * (1 + Fraction(limits.risk.max_fee)),
        "volatility": Fraction(2),
    }[method]
    budget = Fraction(cash) * Fraction(share)
    assert Fraction(intent.quantity) % Fraction(lot) == 0
    assert Fraction(intent.quantity) * unit <= budget
    assert (Fraction(intent.quantity) + Fraction(lot)) * unit > budget


@given(money, money, st.decimals("0.01", "0.5", places=3))
@settings(max_examples=150)
def test_a_lower_equity_never_lifts_a_breach(low: Decimal, high: Decimal, most: Decimal) -> None:
    limits = msgspec.structs.replace(make_limits().risk, max_drawdown=most)
    low, high = sorted((low, high))

    def causes(equity: Decimal) -> set[str]:
        account = make_snapshot(
            cash=equity, peak_equity=Decimal(200000), day_start_equity=Decimal(150000)
        )
        return {breach.cause for breach in safety(account, limits)}

    worse, better = causes(low), causes(high)
    # The hard limit stands for the soft one.
    assert {c for c in better if c != "daily_loss_soft"} <= worse
    if "daily_loss_soft" in better:
        assert worse & {"daily_loss_soft", "daily_loss_hard"}
