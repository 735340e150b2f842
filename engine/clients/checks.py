"""Whether a decoded answer can be computed with: finite numbers in range, times in UTC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

MAX_EXPONENT = 24
"""Powers of ten, either way, that a price, quantity or amount may have."""
MAX_INTEGER = 2**63 - 1
_NO_OFFSET = timedelta(0)


def require_sound(value: object, where: str = "answer") -> None:
    """Raise ValueError, naming the field, where any value inside cannot be trusted.

    Refused: a Decimal or float that is NaN or infinite, a Decimal beyond 10^24 either way, an
    integer beyond 63 bits, a time without an offset or with another than UTC.
    """
    if value is None or isinstance(value, (str, bool)):
        return
    if isinstance(value, Decimal):
        _require_decimal(value, where)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is not finite")
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise ValueError(f"{where} is out of range")
    elif isinstance(value, datetime):
        if value.utcoffset() != _NO_OFFSET:
            raise ValueError(f"{where} is not a UTC time")
    else:
        _require_parts(value, where)


def _require_decimal(value: Decimal, where: str) -> None:
    if not value.is_finite():
        raise ValueError(f"{where} is not finite")
    exponent = value.as_tuple().exponent
    if value.adjusted() > MAX_EXPONENT or (isinstance(exponent, int) and exponent < -MAX_EXPONENT):
        raise ValueError(f"{where} is out of range")


def _require_parts(value: object, where: str) -> None:
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            require_sound(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, Mapping):
        for key, part in value.items():
            require_sound(part, f"{where}[{key}]")
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            require_sound(part, f"{where}[{index}]")
