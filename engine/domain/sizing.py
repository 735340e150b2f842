"""From a signal to an intent: how much, with which stop and target, rounded down to the lot."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import talib

from engine.domain.amounts import EXACT, ONE, ZERO, affordable, floor_to, from_float, plain
from engine.domain.candles import Candles
from engine.domain.cycle import SymbolFacts
from engine.domain.limits import DistanceRule, ExitPlan, Limits
from engine.domain.model import (
    Allowance,
    Instrument,
    OrderIntent,
    PortfolioSnapshot,
    Position,
    Side,
    Signal,
)
from engine.domain.orders import entry_key, exit_key, need

ATR_PERIOD = 14
SIZING = "sizing."


def atr(candles: Candles, period: int = ATR_PERIOD) -> np.ndarray:
    """Average true range (Wilder) of each candle, from TA-Lib; NaN until there are enough."""
    if len(candles) <= period:
        return np.full(len(candles), np.nan)
    return np.asarray(talib.ATR(candles.high, candles.low, candles.close, timeperiod=period))


def last_atr(candles: Candles) -> Decimal | None:
    """ATR(14) of the newest candle, or None while there are too few."""
    values = atr(candles)
    if len(values) == 0 or not np.isfinite(values[-1]):
        return None
    return from_float(values[-1])


def stop_distance(rule: DistanceRule | None, price: Decimal, candles: Candles) -> Decimal | None:
    """A configured distance in currency; None when there is none or ATR is not known yet."""
    if rule is None:
        return None
    if rule.unit == "fraction":
        return EXACT.multiply(price, rule.amount)
    average = last_atr(candles)
    return None if average is None else EXACT.multiply(average, rule.amount)


def entry_prices(
    signal: Signal, candles: Candles, exits: ExitPlan
) -> tuple[Decimal | None, Decimal | None]:
    """Stop and target of an entry: of the signal's own and the configured one the tighter.

    Distances count from the signal's price. A stop at or below zero protects nothing and is None.
    """
    below = stop_distance(exits.stop, signal.price, candles)
    above = stop_distance(exits.target, signal.price, candles)
    stops = [signal.stop_loss, None if below is None else EXACT.subtract(signal.price, below)]
    targets = [signal.take_profit, None if above is None else EXACT.add(signal.price, above)]
    known_stops = [stop for stop in stops if stop is not None and stop > 0]
    known_targets = [target for target in targets if target is not None]
    stop = plain(max(known_stops)) if known_stops else None
    target = plain(min(known_targets)) if known_targets else None
    return stop, target


def sizing_allowance(
    *,
    price: Decimal,
    unit_risk: Decimal,
    volatility: Decimal | None,
    equity: Decimal,
    lot: Decimal,
    limits: Limits,
) -> Allowance:
    """What the sizing method wants, in whole lots. `volatility` is ATR(14) in currency.

    fraction: equity x fraction / (price x (1 + max_fee)). risk: equity x risk / unit_risk.
    volatility: equity x volatility / ATR(14); nothing while ATR is unknown or zero.
    """
    plan = limits.sizing
    rule = f"{SIZING}{plan.method}"
    if plan.method == "fraction":
        cost = need(ONE, price, limits.risk.max_fee)
        quantity = affordable(EXACT.multiply(equity, plan.fraction), cost, lot)
        detail = f"{plan.fraction} of equity {equity:.2f} at {price}"
    elif plan.method == "risk":
        quantity = affordable(EXACT.multiply(equity, plan.risk), unit_risk, lot)
        detail = f"{plan.risk} of equity {equity:.2f} at risk, {unit_risk} a unit"
    elif volatility is None or volatility <= 0:
        quantity, detail = ZERO, "no ATR yet"
    else:
        quantity = affordable(EXACT.multiply(equity, plan.volatility), volatility, lot)
        detail = f"{plan.volatility} of equity {equity:.2f} moved by one ATR of {volatility}"
    return Allowance(rule=rule, quantity=plain(quantity), detail=detail)


def size_entry(
    signal: Signal,
    instrument: Instrument,
    snapshot: PortfolioSnapshot,
    candles: Candles,
    limits: Limits,
) -> OrderIntent:
    """The entry that a buy signal asks for, before any rule; quantity 0 when nothing is wanted.

    Without a stop the whole price is at risk. The fraction method is worked out again on the
    quote when the account's budget is granted.
    """
    stop, target = entry_prices(signal, candles, limits.exits)
    allowance = sizing_allowance(
        price=signal.price,
        unit_risk=signal.price if stop is None else signal.price - stop,
        volatility=last_atr(candles) if limits.sizing.method == "volatility" else None,
        equity=snapshot.equity,
        lot=instrument.lot_size,
        limits=limits,
    )
    return OrderIntent(
        decision_key=entry_key(
            limits.account,
            strategy=signal.strategy,
            version=signal.version,
            symbol=signal.symbol,
            timeframe=limits.timeframe,
            candle_time=signal.candle_time,
        ),
        symbol=signal.symbol,
        side=Side.BUY,
        quantity=ZERO if allowance.quantity is None else allowance.quantity,
        price=signal.price,
        strategy=signal.strategy,
        version=signal.version,
        confidence=signal.confidence,
        candle_time=signal.candle_time,
        stop_price=stop,
        target_price=target,
        reason=signal.reason,
        allowances=(allowance,),
    )


def size_exit(
    position: Position,
    instrument: Instrument,
    *,
    account: str,
    reason: str,
    facts: SymbolFacts,
    candle_time: int = 0,
    detail: str = "",
    signal: Signal | None = None,
) -> OrderIntent:
    """The sale of a whole position, less what open sells reserve, in whole lots.

    `reason` is stop, target, trailing, time, signal or operator; `signal` is the strategy's sell
    where that is the reason. The quantity is 0 when nothing is free or it is less than a lot.
    """
    free = position.quantity - facts.open_sell_quantity
    quantity = plain(floor_to(free, instrument.lot_size))
    held = f"{position.quantity} held, {facts.open_sell_quantity} in open sells"
    return OrderIntent(
        decision_key=exit_key(
            account,
            symbol=position.symbol,
            reason=reason,
            position_version=facts.position_fill_id or str(position.version),
        ),
        symbol=position.symbol,
        side=Side.SELL,
        quantity=quantity,
        price=position.market_price,
        strategy=position.strategy or "",
        version="" if signal is None else signal.version,
        confidence=1.0 if signal is None else signal.confidence,
        candle_time=candle_time if signal is None else signal.candle_time,
        exit_reason=reason,
        reason=detail or ("" if signal is None else signal.reason),
        allowances=(Allowance(rule="position", quantity=quantity, detail=held),),
    )
