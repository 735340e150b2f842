"""Exact decimals: rounding to steps, and the one text form that the wire and the stores use."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation

# Wide enough that products and sums of bounded quantities and prices are never rounded.
EXACT = Context(prec=100)

MAX_WHOLE_DIGITS = 15
MAX_PLACES = 18


def plain(value: Decimal) -> str:
    """Decimal text without exponent, trailing zeros or a negative zero: `0.0000005`, `120`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def parse_decimal(text: str) -> Decimal:
    """The exact value of decimal text within the bounds of what is traded.

    Raises ValueError for what is no number, is not finite, or has more than 15 whole digits
    or 18 places. Exponents within these bounds are understood.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"not a decimal number: {text[:40]!r}") from None
    if not value.is_finite():
        raise ValueError(f"not a finite number: {text[:40]!r}")
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or -exponent > MAX_PLACES:
        raise ValueError(f"more than {MAX_PLACES} places: {text[:40]!r}")
    if any(digits) and value.adjusted() >= MAX_WHOLE_DIGITS:
        raise ValueError(f"more than {MAX_WHOLE_DIGITS} whole digits: {text[:40]!r}")
    return Decimal(plain(value)) if any(digits) else Decimal(0)


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `value`."""
    return _to_step(value, step, ROUND_FLOOR)


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `value`."""
    return _to_step(value, step, ROUND_CEILING)


def _to_step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """`value` as a multiple of `step`, exactly; raises ValueError for a step that is not positive.

    The quotient is taken with whole numbers, since a quotient of decimals may itself be rounded.
    """
    if step <= 0:
        raise ValueError(f"a step must be above 0, not {step}")
    top, bottom = value.as_integer_ratio()
    step_top, step_bottom = step.as_integer_ratio()
    numerator, denominator = top * step_bottom, bottom * step_top
    count = numerator // denominator if rounding == ROUND_FLOOR else -(-numerator // denominator)
    return EXACT.multiply(Decimal(count), step)
