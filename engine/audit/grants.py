"""Whether what a cycle granted was within the limits: worked out anew, apart from the barrier.

Every order of the cycle is taken together. Needs only grow from grant to grant, so what holds
after the last one held after each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from engine.domain.amounts import EXACT, ZERO
from engine.domain.ledger_values import AllocationBasis, Commitment
from engine.domain.model import Order, Side, TradingState


@dataclass(frozen=True)
class Grant:
    """A cycle's orders and what they were decided on."""

    basis: AllocationBasis
    orders: tuple[Order, ...]

    @property
    def entries(self) -> list[Order]:
        """Orders that raise the risk."""
        return [order for order in self.orders if order.side is Side.BUY]


def broken_limits(grant: Grant) -> Iterator[str]:
    """Each limit that the grants broke, in words."""
    yield from _oversold(grant)
    if not grant.entries:
        return
    if grant.basis.trading_state is not TradingState.ACTIVE:
        yield f"entries while {grant.basis.trading_state}"
    if grant.basis.limits.is_enforced:
        yield from _counts(grant)
        yield from _single(grant)
        yield from _sums(grant)


def _oversold(grant: Grant) -> Iterator[str]:
    selling: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for each in _together(grant.basis.commitments, grant.orders):
        if each.side is Side.SELL:
            selling[each.symbol] = EXACT.add(selling[each.symbol], each.quantity)
    sold_now = {order.symbol for order in grant.orders if order.side is Side.SELL}
    for symbol in sorted(sold_now):
        held = grant.basis.snapshot.position(symbol)
        quantity = ZERO if held is None else held.quantity
        if selling[symbol] > quantity:
            yield f"{selling[symbol]:f} {symbol} on sale, {quantity:f} held"


def _counts(grant: Grant) -> Iterator[str]:
    limits, basis = grant.basis.limits, grant.basis
    count = len(grant.orders)
    if count > limits.max_orders_per_cycle:
        yield f"max_orders_per_cycle: {count} of {limits.max_orders_per_cycle}"
    minute = basis.orders_last_minute + count
    if minute > limits.max_orders_per_minute:
        yield f"max_orders_per_minute: {minute} of {limits.max_orders_per_minute}"
    taken = {held.symbol for held in basis.snapshot.positions}
    taken |= {each.symbol for each in _buys(basis)}
    fresh = {order.symbol for order in grant.entries} - taken
    symbols = len(taken | fresh)
    if fresh and symbols > limits.max_open_positions:
        yield f"max_open_positions: {symbols} of {limits.max_open_positions}"


def _single(grant: Grant) -> Iterator[str]:
    limits, equity = grant.basis.limits, grant.basis.snapshot.equity
    for order in grant.entries:
        value = _value(order)
        if value > limits.max_order_notional:
            most = limits.max_order_notional
            yield f"max_order_notional: {value:f} of {most:f} in {order.symbol}"
        risk = EXACT.multiply(order.quantity, _unit_risk(order.limit_price, order.stop_price))
        most = EXACT.multiply(equity, limits.max_risk_per_trade)
        if risk > most:
            yield f"max_risk_per_trade: {risk:f} of {most:f} in {order.symbol}"


def _sums(grant: Grant) -> Iterator[str]:
    limits, basis = grant.basis.limits, grant.basis
    snapshot, equity = basis.snapshot, basis.snapshot.equity
    committed = _together(_buys(basis), grant.entries)
    values: dict[str, Decimal] = defaultdict(lambda: ZERO)
    risk = ZERO
    for held in snapshot.positions:
        values[held.symbol] += EXACT.multiply(held.quantity, held.market_price)
        unit = _unit_risk(held.market_price, basis.entry_stops.get(held.symbol))
        risk += EXACT.multiply(held.quantity, unit)
    for each in committed:
        values[each.symbol] += _value(each)
        unit = _unit_risk(each.limit_price, each.stop_price)
        risk += EXACT.multiply(each.quantity, unit)
    needed = sum((_value(each) for each in committed), ZERO)
    cash = snapshot.cash - EXACT.multiply(needed, 1 + limits.max_fee)
    floor = EXACT.multiply(equity, limits.min_cash)
    if cash < floor:
        yield f"min_cash: {cash:f} left, {floor:f} must remain"
    yield from _above("max_gross_exposure", sum(values.values(), ZERO), equity, limits)
    yield from _above("max_portfolio_risk", risk, equity, limits)
    for symbol in sorted({order.symbol for order in grant.entries}):
        for fault in _above("max_position_size_pct", values[symbol], equity, limits):
            yield f"{fault} in {symbol}"


def _above(name: str, used: Decimal, equity: Decimal, limits: object) -> Iterator[str]:
    most = EXACT.multiply(equity, getattr(limits, name))
    if used > most:
        yield f"{name}: {used:f} of {most:f}"


def _together(known: Iterable[Commitment], granted: Iterable[Order]) -> list[Order | Commitment]:
    return [*known, *granted]


def _buys(basis: AllocationBasis) -> list[Commitment]:
    return [each for each in basis.commitments if each.side is Side.BUY]


def _value(each: Order | Commitment) -> Decimal:
    return EXACT.multiply(each.quantity, each.limit_price)


def _unit_risk(price: Decimal, stop: Decimal | None) -> Decimal:
    """What a unit loses at its stop, all of it without one; never less than nothing."""
    return price if stop is None else max(price - stop, ZERO)
