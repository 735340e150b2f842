"""Decimal text: what is taken from the wire, and the one form in which it is given."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from engine.domain.amounts import plain, text

MAX_WHOLE_DIGITS = 15
MAX_PLACES = 18


def decimal_text(value: Decimal) -> str:
    """Decimal text without exponent and trailing zeros: `0.0000005`, `120`."""
    return text(plain(value))


def parse_decimal(written: str) -> Decimal:
    """The exact value of decimal text within the bounds of what is traded.

    Raises ValueError for what is no number, is not finite, or has more than 15 whole digits
    or 18 places. Exponents within these bounds are understood.
    """
    shown = repr(written[:40])
    try:
        value = Decimal(written)
    except InvalidOperation:
        raise ValueError(f"not a decimal number: {shown}") from None
    if not value.is_finite():
        raise ValueError(f"not a finite number: {shown}")
    if value == 0:
        return Decimal(0)
    _, _, exponent = value.as_tuple()
    if not isinstance(exponent, int) or -exponent > MAX_PLACES:
        raise ValueError(f"more than {MAX_PLACES} places: {shown}")
    if value.adjusted() >= MAX_WHOLE_DIGITS:
        raise ValueError(f"more than {MAX_WHOLE_DIGITS} whole digits: {shown}")
    return plain(value)


def parse_amount(written: str, field: str) -> Decimal:
    """The value of decimal text, at least 0. Raises ValueError that names `field`."""
    try:
        value = parse_decimal(written)
    except ValueError as exc:
        raise ValueError(f"{field}: {exc}") from exc
    if value < 0:
        raise ValueError(f"{field}: must not be negative")
    return value


def parse_positive(written: str, field: str) -> Decimal:
    """The value of decimal text, above 0. Raises ValueError that names `field`."""
    value = parse_amount(written, field)
    if value == 0:
        raise ValueError(f"{field}: must be above 0")
    return value
