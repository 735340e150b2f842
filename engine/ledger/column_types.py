"""Column types that keep values exact on SQLite and PostgreSQL alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Dialect, Row, String, Text, func
from sqlalchemy.types import TypeDecorator

AnyRow = Row[*tuple[Any, ...]]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_micros(at: datetime) -> int:
    """Microseconds since 1970 of an aware time."""
    return (at - EPOCH) // MICROSECOND


def plain(value: Decimal) -> str:
    """A decimal as text without an exponent, keeping its digits."""
    return format(value, "f")


def by_no_index(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column's value, for a condition that nearly all rows meet.

    Without statistics SQLite takes any index on such a column to be a short way, and goes through
    all rows by it, where it should go by another or stop at the first few.
    """
    return func.coalesce(column, column)


class DecimalText(TypeDecorator[Decimal]):
    """A Decimal as plain text: nothing is rounded and nothing is compared in SQL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Decimal to text."""
        return None if value is None else plain(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        """Text to Decimal."""
        return None if value is None else Decimal(value)


class MicrosUTC(TypeDecorator[datetime]):
    """An aware time as integer microseconds since 1970, UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Aware datetime to microseconds; a naive one is a TypeError."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Microseconds to an aware datetime."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class EnumText(TypeDecorator[StrEnum]):
    """A member of a StrEnum as its text."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__(16)
        self.kind = kind
        self._members = {str(member): member for member in kind}

    def process_bind_param(self, value: StrEnum | str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Member to text; a text that is no member is a ValueError."""
        return None if value is None else str(self.kind(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        """Text to member."""
        return None if value is None else self._members.get(value) or self.kind(value)
