"""The service's own hard limits: they hold whatever the caller believes."""

from __future__ import annotations

from decimal import Decimal

from engine.domain.amounts import EXACT
from engine.domain.decimals import decimal_text
from engine.domain.matching import Picture, WorkingOrder
from engine.domain.model import Side, Value

ONE = Decimal(1)
# One in so many orders a minute is kept for orders that only shrink a position.
KEPT_FOR_REDUCING = 5


class HardLimits(Value, frozen=True, kw_only=True):
    """`max_order_value` in quote currency; `max_collar` and `max_fee` are fractions."""

    max_order_value: Decimal
    max_collar: Decimal
    max_fee: Decimal
    orders_per_minute: int

    def orders_allowed(self, *, reduce_only: bool) -> int:
        """How many orders a minute may hold before one more of this kind is refused."""
        if reduce_only:
            return self.orders_per_minute
        return self.orders_per_minute - self.orders_per_minute // KEPT_FOR_REDUCING


def breach(
    order: WorkingOrder, reference_price: Decimal, picture: Picture, limits: HardLimits
) -> str:
    """Which limit the order breaks, in words; empty when none."""
    touch = picture.touch(order.side)
    price = touch if order.limit_price is None else order.limit_price
    value = EXACT.multiply(order.quantity, price)
    if value > limits.max_order_value:
        return f"value {decimal_text(value)} above {decimal_text(limits.max_order_value)}"
    # A market order has no limit: the market itself must be what the caller believed it to be.
    has_limit = order.limit_price is not None
    worst, around = (price, touch) if has_limit else (touch, reference_price)
    if _is_beyond(order.side, worst, around, limits.max_collar):
        return f"price {decimal_text(worst)} beyond the collar around {decimal_text(around)}"
    return ""


def _is_beyond(side: Side, price: Decimal, reference: Decimal, collar: Decimal) -> bool:
    """Whether `price` is worse for the order than `reference` by more than the collar."""
    if side is Side.BUY:
        return price > EXACT.multiply(reference, ONE + collar)
    return price < EXACT.multiply(reference, ONE - collar)
