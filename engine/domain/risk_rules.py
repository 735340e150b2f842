"""Rules of single orders: each grants an allowance, the smallest wins and is the explanation.

A rule that sets no bound grants None, one that refuses grants 0. Rules carry the names of the
configuration; those without a setting are `trading_state`, `degraded`, `owned`, `quarantined`,
`strategy_disabled`, `lot`, `min_notional`, `position` and, at the barrier, `unknown_symbol`,
`quote`, `already_traded` and `exiting`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from engine.domain.amounts import EXACT, ZERO, affordable, floor_to, plain
from engine.domain.cycle import SymbolFacts
from engine.domain.limits import GuardLimits, Limits, RiskLimits
from engine.domain.model import (
    Allowance,
    Instrument,
    OrderIntent,
    RiskDecision,
    TradingState,
    Verdict,
)


@functools.lru_cache(maxsize=256)
def passes(rule: str, detail: str = "") -> Allowance:
    """The rule sets no bound. Most that pass do so with the same words: those are one value."""
    return Allowance(rule=rule, quantity=None, detail=detail)


def refuses(rule: str, detail: str) -> Allowance:
    """The rule grants nothing."""
    return Allowance(rule=rule, quantity=ZERO, detail=detail)


def grants(rule: str, quantity: Decimal, detail: str) -> Allowance:
    """The rule grants at most `quantity`."""
    return Allowance(rule=rule, quantity=plain(max(quantity, ZERO)), detail=detail)


def binding(allowances: Iterable[Allowance]) -> Allowance | None:
    """The smallest allowance that sets a bound; of equal ones the first."""
    found, least = None, ZERO
    for allowance in allowances:
        quantity = allowance.quantity
        if quantity is not None and (found is None or quantity < least):
            found, least = allowance, quantity
    return found


def asked(intent: OrderIntent) -> tuple[Allowance, ...]:
    """What was granted to the candidate so far, with its own quantity as a bound."""
    own = binding(intent.allowances)
    if own is not None and _quantity(own) <= intent.quantity:
        return intent.allowances
    wish = grants("candidate", intent.quantity, "as the candidate asks")
    return (*intent.allowances, wish)


def trading_state(state: TradingState, *, is_exit: bool) -> Allowance:
    """HALTED refuses everything, REDUCING entries."""
    rule = "trading_state"
    if state is TradingState.HALTED:
        return refuses(rule, "HALTED: no orders")
    if state is TradingState.REDUCING and not is_exit:
        return refuses(rule, "REDUCING: only orders that shrink a position")
    return passes(rule, state.value)


def degraded(*, may_enter: bool) -> Allowance:
    """No entry leaves in a cycle whose prices, account or orders are not known for sure."""
    if may_enter:
        return passes("degraded")
    return refuses("degraded", "no entry may leave in this cycle; its degradations say why")


def owned(strategy: str, owner: str | None) -> Allowance:
    """One owner a symbol: another strategy's entry is refused."""
    if owner is None or owner == strategy:
        return passes("owned")
    return refuses("owned", f"the symbol belongs to {owner or 'nobody: a foreign position'}")


def quarantined(facts: SymbolFacts) -> Allowance:
    """A symbol with an order of unknown fate takes no entry."""
    if not facts.quarantined:
        return passes("quarantined")
    return refuses("quarantined", "the fate of an earlier order is not known yet")


def strategy_disabled(strategy: str, facts: SymbolFacts) -> Allowance:
    """A throttled strategy enters nothing until it is enabled by hand."""
    if strategy not in facts.disabled_strategies:
        return passes("strategy_disabled")
    return refuses("strategy_disabled", f"{strategy} repeated itself and waits to be enabled")


def cooldown_candles(facts: SymbolFacts, limits: Limits, market_time: datetime) -> Allowance:
    """After an exit of the symbol so many candles must pass."""
    rule = "cooldown_candles"
    if facts.last_exit_at is None:
        return passes(rule)
    pause = timedelta(seconds=limits.risk.cooldown_candles * limits.timeframe_s)
    left_s = (facts.last_exit_at + pause - market_time).total_seconds()
    if left_s <= 0:
        return passes(rule)
    return refuses(rule, f"{left_s:.0f} s left of {limits.risk.cooldown_candles} candles")


def stoploss_guard(facts: SymbolFacts, limits: Limits, market_time: datetime) -> Allowance:
    """Too many stop-outs within the window lock entries for a while after the last of them.

    Of the symbol or of all: the facts list those that count.
    """
    rule, guard = "stoploss_guard", limits.risk.stoploss_guard
    until = _locked_until(facts.stop_exits_at, guard, limits.timeframe_s)
    if until is None or market_time >= until:
        return passes(rule)
    left_s = (until - market_time).total_seconds()
    counted = f"{guard.stops} stops{' of any symbol' if guard.locks_all else ''}"
    return refuses(rule, f"{counted} within {guard.window_candles} candles, {left_s:.0f} s left")


def max_orders_per_symbol_per_hour(facts: SymbolFacts, limits: RiskLimits) -> Allowance:
    """Orders of the symbol in the last hour of market time; exits count, but are not refused."""
    rule, most = "max_orders_per_symbol_per_hour", limits.max_orders_per_symbol_per_hour
    detail = f"{facts.orders_last_hour} of {most} in the last hour"
    return refuses(rule, detail) if facts.orders_last_hour >= most else passes(rule, detail)


def max_repeats_per_day(intent: OrderIntent, facts: SymbolFacts, limits: RiskLimits) -> Allowance:
    """Filled orders of one strategy, symbol and side on one day of market time."""
    rule, most = "max_repeats_per_day", limits.max_repeats_per_day
    count = facts.strategy_orders_today.get(f"{intent.strategy}|{intent.side.value}", 0)
    detail = f"{count} of {most} filled today"
    return refuses(rule, detail) if count >= most else passes(rule, detail)


def max_risk_per_trade(
    intent: OrderIntent, price: Decimal, equity: Decimal, lot: Decimal, limits: RiskLimits
) -> Allowance:
    """Loss at the stop, when bought at `price`; without a stop the whole price is at risk."""
    rule, share = "max_risk_per_trade", limits.max_risk_per_trade
    unit = unit_risk(price, intent.stop_price)
    if unit <= 0:
        return refuses(rule, f"the price {price} is at or below the stop {intent.stop_price}")
    budget = EXACT.multiply(equity, share)
    return grants(
        rule, affordable(budget, unit, lot), f"{share:f} of equity at risk, {unit:f} a unit"
    )


def max_position_size_pct(
    price: Decimal, held_value: Decimal, equity: Decimal, lot: Decimal, limits: RiskLimits
) -> Allowance:
    """Value of one symbol: what is held and on order, and this entry at `price`."""
    share = limits.max_position_size_pct
    budget = EXACT.multiply(equity, share) - held_value
    detail = f"{share:f} of equity, {held_value:.2f} held or on order"
    return grants("max_position_size_pct", affordable(budget, price, lot), detail)


def max_order_notional(price: Decimal, lot: Decimal, limits: RiskLimits) -> Allowance:
    """Value of one entry at `price`."""
    most = limits.max_order_notional
    return grants("max_order_notional", affordable(most, price, lot), f"{most:f} at {price:f}")


def unit_risk(price: Decimal, stop: Decimal | None) -> Decimal:
    """What one unit bought at `price` loses at its stop: all of it without one."""
    return price if stop is None else price - stop


def settle(
    intent: OrderIntent, allowances: Sequence[Allowance], instrument: Instrument, price: Decimal
) -> RiskDecision:
    """The verdict: the smallest allowance in whole lots, denied below the minimum value.

    APPROVED when the candidate's own size (its first allowance) binds, RESIZED when a rule does.
    """
    floored = _merged(allowances, instrument.lot_size)
    bound = binding(floored)
    if bound is None:
        bound = refuses("candidate", "no rule grants a quantity")
    quantity = _quantity(bound)
    value = EXACT.multiply(quantity, price)
    if quantity > 0 and value < instrument.min_notional:
        least = f"{value:.2f} after {bound.rule} is below the minimum of {instrument.min_notional}"
        bound = refuses("min_notional", least)
        floored = (*floored, bound)
        quantity = ZERO
    return RiskDecision(
        intent=intent,
        verdict=_verdict(quantity, bound, floored),
        quantity=quantity,
        binding_rule=bound.rule,
        reason=_reason(quantity, bound),
        allowances=floored,
    )


def _quantity(allowance: Allowance) -> Decimal:
    return ZERO if allowance.quantity is None else allowance.quantity


def _merged(allowances: Iterable[Allowance], lot: Decimal) -> tuple[Allowance, ...]:
    """In whole lots, one a rule: the smaller where it was asked twice, the later of equal ones."""
    by_rule: dict[str, Allowance] = {}
    for allowance in allowances:
        rule, bound = allowance.rule, allowance
        if allowance.quantity is not None:
            bound = _in_lots(allowance, allowance.quantity, lot)
        known = by_rule.get(rule)
        if known is None or _replaces(bound.quantity, known.quantity):
            by_rule[rule] = bound
    return tuple(by_rule.values())


def _replaces(later: Decimal | None, earlier: Decimal | None) -> bool:
    if later is None or earlier is None:
        return earlier is None
    return later <= earlier


def _in_lots(allowance: Allowance, quantity: Decimal, lot: Decimal) -> Allowance:
    whole = floor_to(quantity, lot)
    if whole == quantity:
        return allowance
    detail = allowance.detail
    if whole == 0:
        detail = f"{detail}; {quantity:f} is less than one lot of {lot:f}"
    return Allowance(rule=allowance.rule, quantity=plain(whole), detail=detail)


def _verdict(quantity: Decimal, bound: Allowance, allowances: Sequence[Allowance]) -> Verdict:
    if quantity <= 0:
        return Verdict.DENIED
    own = allowances[0].rule if allowances else bound.rule
    return Verdict.APPROVED if bound.rule == own else Verdict.RESIZED


def _reason(quantity: Decimal, bound: Allowance) -> str:
    if quantity <= 0:
        return f"{bound.rule}: {bound.detail}"
    return f"size {quantity:f} set by {bound.rule} ({bound.detail})"


def _locked_until(
    stops_at: Sequence[datetime], guard: GuardLimits, timeframe_s: int
) -> datetime | None:
    """End of the latest lock: one begins at each stop that completes the count."""
    times = sorted(stops_at)
    window = timedelta(seconds=guard.window_candles * timeframe_s)
    full = [
        last
        for first, last in zip(times, times[guard.stops - 1 :], strict=False)
        if last - first < window
    ]
    if not full:
        return None
    return full[-1] + timedelta(seconds=guard.lock_candles * timeframe_s)
