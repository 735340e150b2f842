"""Risk of one symbol's candidate in its batch, and the safety of the whole account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal

import msgspec

from engine.domain import risk_rules as rules
from engine.domain.amounts import ZERO
from engine.domain.book import book_of
from engine.domain.cycle import AllocationFacts, SymbolFacts
from engine.domain.limits import Limits, RiskLimits
from engine.domain.model import (
    Allowance,
    Instrument,
    Order,
    OrderIntent,
    PortfolioSnapshot,
    RiskDecision,
    TradingState,
    Value,
    Verdict,
)

SHARE_PLACES = Decimal("0.000001")


class SafetyBreach(Value, frozen=True, kw_only=True):
    """A limit of the account that is broken, and the trading state that it latches."""

    cause: str
    level: TradingState
    detail: str


class LimitUsage(Value, frozen=True, kw_only=True):
    """How much of a limit is used, and what happens at the limit."""

    name: str
    used: Decimal
    limit: Decimal
    unit: str
    effect: str


def assess(
    intent: OrderIntent,
    facts: SymbolFacts,
    instrument: Instrument,
    snapshot: PortfolioSnapshot,
    limits: Limits,
    *,
    market_time: datetime,
    trading_state: TradingState,
    may_enter: bool,
) -> RiskDecision | OrderIntent:
    """Every rule about one symbol: the intent with what was granted, or its denial.

    Exits are asked only what concerns exits: the state HALTED, the lot and the minimum value.
    """
    if intent.is_exit:
        found = [rules.trading_state(trading_state, is_exit=True)]
    else:
        found = [rules.trading_state(trading_state, is_exit=False)]
        found.append(rules.degraded(may_enter=may_enter))
        if limits.risk.is_enforced:
            found += _guards(intent, facts, snapshot, limits, market_time)
            found += _sizes(intent, instrument, snapshot, limits.risk)
    minimum = instrument if limits.risk.is_enforced else without_minimum(instrument)
    decision = rules.settle(intent, (*rules.asked(intent), *found), minimum, intent.price)
    if decision.verdict is Verdict.DENIED:
        return decision
    return msgspec.structs.replace(
        intent, quantity=decision.quantity, allowances=decision.allowances
    )


def without_minimum(instrument: Instrument) -> Instrument:
    """The same instrument without a minimum order value: a rule that can be lifted."""
    if instrument.min_notional == 0:
        return instrument
    return msgspec.structs.replace(instrument, min_notional=ZERO)


def safety(snapshot: PortfolioSnapshot, limits: RiskLimits) -> tuple[SafetyBreach, ...]:
    """What the account's losses latch. A limit that is reached counts as broken.

    Daily loss is measured from the equity at the start of the UTC day of market time, drawdown
    from the highest equity, both with the unrealised result. The hard limit includes the soft.
    """
    return tuple(breach for breach in _breaches(snapshot, limits) if breach is not None)


def usage(
    snapshot: PortfolioSnapshot,
    limits: RiskLimits,
    *,
    open_orders: tuple[Order, ...] = (),
    late_orders: tuple[Order, ...] = (),
    unapplied: Mapping[str, Decimal] | None = None,
    entry_stops: Mapping[str, Decimal] | None = None,
    orders_last_minute: int = 0,
) -> tuple[LimitUsage, ...]:
    """Each limit of the account, how much of it is used, and its effect, for the operator."""
    facts = AllocationFacts(
        trading_state=TradingState.ACTIVE,
        candidates=(),
        open_orders=open_orders,
        late_orders=late_orders,
        unapplied=dict(unapplied or {}),
        orders_last_minute=orders_last_minute,
        attempts={},
        entry_stops=dict(entry_stops or {}),
    )
    book = book_of(snapshot, facts, limits)
    equity = snapshot.equity
    loss = _share(snapshot.day_start_equity - equity, snapshot.day_start_equity)
    drop = _share(snapshot.peak_equity - equity, snapshot.peak_equity)
    rows = (
        ("max_gross_exposure", _share(book.exposure, equity), limits.max_gross_exposure, "entry"),
        ("max_portfolio_risk", _share(book.risk, equity), limits.max_portfolio_risk, "entry"),
        ("min_cash", _share(book.cash, equity), limits.min_cash, "entry"),
        ("max_daily_loss_soft", loss, limits.max_daily_loss_soft, "REDUCING, latched"),
        ("max_daily_loss_hard", loss, limits.max_daily_loss_hard, "HALTED, latched"),
        ("max_drawdown", drop, limits.max_drawdown, "HALTED, latched"),
    )
    counts = (
        ("max_open_positions", len(book.symbols), limits.max_open_positions, "positions"),
        ("max_orders_per_minute", orders_last_minute, limits.max_orders_per_minute, "orders"),
    )
    return (
        *(_usage(name, used, limit, "equity", effect) for name, used, limit, effect in rows),
        *(
            _usage(name, Decimal(used), Decimal(limit), unit, "entry")
            for name, used, limit, unit in counts
        ),
    )


def _guards(
    intent: OrderIntent,
    facts: SymbolFacts,
    snapshot: PortfolioSnapshot,
    limits: Limits,
    market_time: datetime,
) -> Iterator[Allowance]:
    yield rules.owned(intent.strategy, _owner(facts, snapshot))
    yield rules.quarantined(facts)
    yield rules.strategy_disabled(intent.strategy, facts)
    yield rules.cooldown_candles(facts, limits, market_time)
    yield rules.stoploss_guard(facts, limits, market_time)
    yield rules.max_orders_per_symbol_per_hour(facts, limits.risk)
    yield rules.max_repeats_per_day(intent, facts, limits.risk)


def _owner(facts: SymbolFacts, snapshot: PortfolioSnapshot) -> str | None:
    """As the ledger knows it, else as the portfolio does; "" for a foreign position."""
    position = snapshot.position(facts.symbol)
    if facts.owner is not None or position is None:
        return facts.owner
    return position.strategy or ""


def _sizes(
    intent: OrderIntent, instrument: Instrument, snapshot: PortfolioSnapshot, limits: RiskLimits
) -> Iterator[Allowance]:
    lot, price, equity = instrument.lot_size, intent.price, snapshot.equity
    held = snapshot.position(intent.symbol)
    value = ZERO if held is None else held.value
    yield rules.max_risk_per_trade(intent, price, equity, lot, limits)
    yield rules.max_position_size_pct(price, value, equity, lot, limits)
    yield rules.max_order_notional(price, lot, limits)


def _breaches(snapshot: PortfolioSnapshot, limits: RiskLimits) -> Iterator[SafetyBreach | None]:
    loss = _share(snapshot.day_start_equity - snapshot.equity, snapshot.day_start_equity)
    told = f"{loss:.2%} lost since the day began"
    if loss >= limits.max_daily_loss_hard:
        detail = f"{told}, limit {limits.max_daily_loss_hard:.2%}"
        yield SafetyBreach(cause="daily_loss_hard", level=TradingState.HALTED, detail=detail)
    elif loss >= limits.max_daily_loss_soft:
        detail = f"{told}, limit {limits.max_daily_loss_soft:.2%}"
        yield SafetyBreach(cause="daily_loss_soft", level=TradingState.REDUCING, detail=detail)
    drop = _share(snapshot.peak_equity - snapshot.equity, snapshot.peak_equity)
    if drop >= limits.max_drawdown:
        detail = f"{drop:.2%} below the highest equity, limit {limits.max_drawdown:.2%}"
        yield SafetyBreach(cause="drawdown", level=TradingState.HALTED, detail=detail)


def _share(amount: Decimal, base: Decimal) -> Decimal:
    """`amount` as a fraction of `base`; of nothing, any positive amount is all of it."""
    if base > 0:
        return amount / base
    return Decimal(1) if amount > 0 else ZERO


def _usage(name: str, used: Decimal, limit: Decimal, unit: str, effect: str) -> LimitUsage:
    told = "no further entries" if effect == "entry" else effect
    return LimitUsage(
        name=name,
        used=used.quantize(SHARE_PLACES) if unit == "equity" else used,
        limit=limit,
        unit="of equity" if unit == "equity" else unit,
        effect=told,
    )
