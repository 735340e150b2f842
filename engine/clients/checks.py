"""Whether a decoded answer can be computed with: finite numbers in range, times in UTC."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

MAX_EXPONENT = 24
"""Powers of ten, either way, that a price, quantity or amount may have."""
MAX_INTEGER = 2**63 - 1
Fault = tuple[str, str]
_NO_OFFSET = timedelta(0)


def require_sound(value: object, where: str = "answer") -> None:
    """Raise ValueError, naming the field, where any value inside cannot be trusted.

    Refused: a Decimal or float that is NaN or infinite, a Decimal beyond 10^24 either way, an
    integer beyond 63 bits, a time without an offset or with another than UTC.
    """
    fault = _fault(value)
    if fault is not None:
        path, what = fault
        raise ValueError(f"{where}{path} {what}")


def _fault(value: object) -> Fault | None:
    """The first fault inside: the path to it, which is put together only then, and what it is."""
    if value is None or isinstance(value, (str, bool)):
        return None
    if isinstance(value, Decimal):
        return _fault_of_decimal(value)
    if isinstance(value, float):
        return None if math.isfinite(value) else ("", "is not finite")
    if isinstance(value, int):
        return ("", "is out of range") if abs(value) > MAX_INTEGER else None
    if isinstance(value, datetime):
        return None if value.utcoffset() == _NO_OFFSET else ("", "is not a UTC time")
    return _fault_of_parts(value)


def _fault_of_decimal(value: Decimal) -> Fault | None:
    if not value.is_finite():
        return "", "is not finite"
    exponent = value.as_tuple().exponent
    if value.adjusted() > MAX_EXPONENT or (isinstance(exponent, int) and exponent < -MAX_EXPONENT):
        return "", "is out of range"
    return None


def _fault_of_parts(value: object) -> Fault | None:
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            fault = _fault(getattr(value, name))
            if fault is not None:
                return f".{name}{fault[0]}", fault[1]
        return None
    parts: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, (list, tuple)):
        parts = enumerate(value)
    for key, part in parts:
        fault = _fault(part)
        if fault is not None:
            return f"[{key}]{fault[0]}", fault[1]
    return None
