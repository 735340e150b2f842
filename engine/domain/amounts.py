"""Exact steps of quantities and prices: rounded to a lot or tick, never up in size."""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal

# Wide enough that a product of a price, a lot and a fee is exact.
EXACT = Context(prec=60, rounding=ROUND_DOWN)

ZERO = Decimal(0)
ONE = Decimal(1)
STORED_PLACES = Decimal("1e-12")
# A sum has no exponent above that of its parts. Zero less nothing: it keeps the sign of a zero.
NO_CHANGE = Decimal("-0")


def floor_to(amount: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` at or below `amount`; 0 for a negative amount."""
    if amount <= 0:
        return ZERO
    return EXACT.multiply(EXACT.divide_int(amount, step), step)


def ceil_to(amount: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` at or above `amount`."""
    down = floor_to(amount, step)
    return down if down >= amount else EXACT.add(down, step)


def affordable(budget: Decimal, unit_cost: Decimal, lot: Decimal) -> Decimal:
    """The largest whole number of lots whose cost at `unit_cost` is within `budget`."""
    if budget <= 0:
        return ZERO
    return EXACT.multiply(EXACT.divide_int(budget, EXACT.multiply(unit_cost, lot)), lot)


def from_float(value: float) -> Decimal:
    """A computed float as a price: its shortest decimal text, at most twelve places."""
    exact = Decimal(repr(float(value)))
    return plain(exact.quantize(STORED_PLACES, context=EXACT))


def plain(amount: Decimal) -> Decimal:
    """The same number without trailing zeros and without an exponent above zero."""
    return EXACT.add(amount.normalize(EXACT), NO_CHANGE)


def text(amount: Decimal) -> str:
    """Decimal text without an exponent, as the wire has it."""
    return format(amount, "f")
