"""Figures and tables for people: grouped digits, a unit, and how long ago."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MISSING = "-"


def money(value: Any, currency: str = "") -> str:
    """`104312.5` -> `104,312.50 USD`."""
    number = _number(value)
    if number is None:
        return MISSING
    return f"{number:,.2f} {currency}".rstrip()


def exact(value: Any) -> str:
    """A price or quantity with all its digits, grouped: `64118.20` -> `64,118.20`."""
    number = _number(value)
    return MISSING if number is None else f"{number:,f}"


def percent(share: Any, *, signed: bool = False) -> str:
    """A fraction as `2.12 %`."""
    number = _number(share)
    if number is None:
        return MISSING
    return f"{number * 100:{'+' if signed else ''}.2f} %"


def plain_percent(share: Any) -> str:
    """A configured fraction as it was meant: `0.15` -> `15 %`."""
    number = _number(share)
    return MISSING if number is None else f"{(number * 100).normalize():f} %"


def span(seconds: float) -> str:
    """`89 s`, `7 min`, `3 h`, `2 d`: the largest unit of which there are two."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def instant(text: Any) -> datetime | None:
    """An ISO 8601 time, or None."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def clock(text: Any) -> str:
    """The time of day in UTC."""
    at = instant(text)
    return MISSING if at is None else f"{at:%H:%M:%S}"


def seconds_between(earlier: Any, later: Any) -> float | None:
    """Seconds from one ISO 8601 time to another, or None where one is missing."""
    begin, end = instant(earlier), instant(later)
    return None if begin is None or end is None else (end - begin).total_seconds()


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> list[str]:
    """Columns as wide as their widest cell; those named in `right` are set to the right.

    The last column is not padded: it may be long.
    """
    if not rows:
        return []
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings))]
    aligned = [name in right.split() for name in headings]
    return ["  ".join(_cells(line, widths, aligned)).rstrip() for line in lines]


def _cells(line: Sequence[str], widths: Sequence[int], aligned: Sequence[bool]) -> list[str]:
    return [
        cell.rjust(width) if is_right else cell.ljust(width)
        for cell, width, is_right in zip(line, widths, aligned, strict=True)
    ]


def _number(value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
