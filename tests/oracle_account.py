"""A second opinion on the account: what fills and marks make of it, without the product.

Written from the definitions alone: a fee is realised when it is paid, the average price is without
fees, a new position is worth its fill's price until the first mark, and a UTC day begins with the
equity that the day before ended with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

PRICE_STEP = Decimal("0.000000000001")


@dataclass
class Held:
    """An open position since market time `since`, bought for `cost` and valued at `mark`."""

    quantity: Decimal
    cost: Decimal
    mark: Decimal
    stop: Decimal
    since: int

    @property
    def value(self) -> Decimal:
        """At the market price."""
        return self.quantity * self.mark

    @property
    def average_price(self) -> Decimal:
        """What one unit cost, to twelve places."""
        return (self.cost / self.quantity).quantize(PRICE_STEP, ROUND_HALF_EVEN)


@dataclass
class Account:
    """Cash and positions, with the results so far."""

    cash: Decimal
    peak: Decimal
    day_start: Decimal
    realized: Decimal = Decimal(0)
    held: dict[str, Held] = field(default_factory=dict)

    @classmethod
    def of(cls, cash: Decimal) -> Account:
        """A new one."""
        return cls(cash=cash, peak=cash, day_start=cash)

    @property
    def equity(self) -> Decimal:
        """Cash and all that is held."""
        return self.cash + sum((each.value for each in self.held.values()), Decimal(0))

    def mark(self, prices: Mapping[str, Decimal], *, is_new_day: bool) -> None:
        """Value what is held anew."""
        if is_new_day:
            self.day_start = self.equity
        for symbol, each in self.held.items():
            each.mark = prices[symbol]
        self.peak = max(self.peak, self.equity)

    def buy(self, symbol: str, bought: Held, fee: Decimal) -> None:
        """Book a first buy of a pair."""
        assert symbol not in self.held
        self.cash -= bought.cost + fee
        self.realized -= fee
        self.held[symbol] = bought

    def sell(self, symbol: str, value: Decimal, fee: Decimal) -> None:
        """Book the sale of a whole position for `value`."""
        self.cash += value - fee
        self.realized += value - fee - self.held.pop(symbol).cost
