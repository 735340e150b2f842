"""What the account has committed: holdings, open orders and fills not yet in the snapshot.

Nothing of it is stored: an order needs its unfilled quantity until its end is proved, and every
fill that the snapshot does not contain yet, whatever the order's state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from engine.domain.amounts import EXACT, ZERO
from engine.domain.cycle import AllocationFacts
from engine.domain.ledger_values import AllocationBasis, Commitment
from engine.domain.limits import RiskLimits
from engine.domain.model import Order, PortfolioSnapshot, Position, Side
from engine.domain.orders import is_terminal, need
from engine.domain.risk_rules import unit_risk


@dataclass
class Book:
    """Commitments of the account, in account currency; grows with each order that is granted.

    `cash` is what is free after the need of every open buy. Sells that are not settled give no
    credit in it. `sellable` is the quantity of each holding that no open sell reserves.
    """

    cash: Decimal
    exposure: Decimal = ZERO
    risk: Decimal = ZERO
    values: dict[str, Decimal] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    sellable: dict[str, Decimal] = field(default_factory=dict)
    symbols: set[str] = field(default_factory=set)
    exiting: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    orders_this_cycle: int = 0
    orders_last_minute: int = 0

    def commit(self, order: Order, quantity: Decimal, max_fee: Decimal) -> None:
        """Hold what `quantity` of this order may still use up."""
        if order.side is Side.SELL:
            self.exiting.add(order.symbol)
            free = self.sellable.get(order.symbol, ZERO) - quantity
            self.sellable[order.symbol] = max(free, ZERO)
            return
        value = EXACT.multiply(quantity, order.limit_price)
        unit = max(unit_risk(order.limit_price, order.stop_price), ZERO)
        self.cash -= need(quantity, order.limit_price, max_fee)
        self.exposure += value
        self.risk += EXACT.multiply(quantity, unit)
        self.values[order.symbol] = self.values.get(order.symbol, ZERO) + value
        self.owners.setdefault(order.symbol, order.strategy)
        self.symbols.add(order.symbol)

    def grant(self, order: Order, max_fee: Decimal) -> None:
        """Take in a new order of this cycle."""
        self.commit(order, order.quantity, max_fee)
        self.keys.add(order.decision_key)
        self.orders_this_cycle += 1
        self.orders_last_minute += 1


def book_of(snapshot: PortfolioSnapshot, facts: AllocationFacts, limits: RiskLimits) -> Book:
    """The commitments before this cycle's orders.

    Where limits are lifted only cash and holdings bound an order: the rest is not added up.
    """
    held = snapshot.positions if limits.is_enforced else ()
    values = {position.symbol: position.value for position in held}
    book = Book(
        cash=snapshot.cash,
        exposure=sum(values.values(), ZERO),
        risk=sum((_at_risk(each, facts.entry_stops.get(each.symbol)) for each in held), ZERO),
        values=values,
        # A foreign position has an owner that no strategy equals.
        owners={position.symbol: position.strategy or "" for position in held},
        sellable={position.symbol: position.quantity for position in snapshot.positions},
        symbols=set(values),
        orders_last_minute=facts.orders_last_minute,
    )
    for order in (*facts.open_orders, *facts.late_orders):
        quantity = pending(order, facts.unapplied.get(order.client_order_id, ZERO))
        if quantity > 0:
            book.commit(order, quantity, limits.max_fee)
    return book


def _at_risk(position: Position, stop: Decimal | None) -> Decimal:
    """What is lost at the stop from here; all of it without one."""
    unit = unit_risk(position.market_price, stop)
    return EXACT.multiply(position.quantity, unit) if unit > 0 else ZERO


def pending(order: Order, unapplied: Decimal) -> Decimal:
    """What the snapshot does not show of an order: what may still fill, and what did fill."""
    unfilled = ZERO if is_terminal(order.status) else order.quantity - order.filled_quantity
    return unfilled + unapplied


def basis_of(
    snapshot: PortfolioSnapshot, facts: AllocationFacts, limits: RiskLimits
) -> AllocationBasis:
    """What a decision on these facts is made on, as it is kept for the audit."""
    found = (
        Commitment(
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=pending(order, facts.unapplied.get(order.client_order_id, ZERO)),
            limit_price=order.limit_price,
            stop_price=order.stop_price,
        )
        for order in (*facts.open_orders, *facts.late_orders)
    )
    return AllocationBasis(
        trading_state=facts.trading_state,
        snapshot=snapshot,
        commitments=tuple(each for each in found if each.quantity > 0),
        entry_stops=facts.entry_stops,
        orders_last_minute=facts.orders_last_minute,
        limits=limits,
    )
