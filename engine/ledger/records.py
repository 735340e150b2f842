"""Rows to values and back: the JSON payloads, and the columns that an order is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from engine.domain.model import Fill, FillEvent, Order
from engine.ledger.column_types import AnyRow
from engine.ledger.schema import orders

T = TypeVar("T")
ORDER_COLUMNS = tuple(orders.c[name] for name in Order.__struct_fields__)


def dump(value: Any) -> str:
    """A value as JSON text."""
    return msgspec.json.encode(value).decode()


def load(text: str | bytes, kind: type[T]) -> T:
    """The value that `dump` wrote."""
    return msgspec.json.decode(text, type=kind)


def texts(payload: str) -> tuple[str, ...]:
    """A stored list of texts."""
    return load(payload, tuple[str, ...])


def body_hash(body: str) -> str:
    """Identifies a frozen body."""
    return hashlib.sha256(body.encode()).hexdigest()


def order_of(row: AnyRow) -> Order:
    """The order in a row that holds ORDER_COLUMNS."""
    fields = row._mapping  # noqa: SLF001  the public mapping view of a Row bears this name
    return Order(**{name: fields[name] for name in Order.__struct_fields__})


def order_values(order: Order, *, confidence: float, settled: bool) -> dict[str, Any]:
    """The columns of a new order."""
    return {
        **msgspec.structs.asdict(order),
        "body_hash": body_hash(order.body),
        "confidence": confidence,
        "has_fill": order.filled_quantity > 0,
        "settled": settled,
    }


def fill_values(event: FillEvent) -> dict[str, Any]:
    """The columns of a fill."""
    return {name: getattr(event, name) for name in Fill.__struct_fields__}


def fill_of(row: AnyRow) -> Fill:
    """The fill in a row of the fills table."""
    fields = row._mapping  # noqa: SLF001  as above
    return Fill(**{name: fields[name] for name in Fill.__struct_fields__})


def insert_all(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows with one statement; none at all for no rows."""
    if rows:
        connection.execute(table.insert(), list(rows))


def insert_new(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless one of its unique keys is taken; whether it was inserted."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
    statement = insert(table).values(**row).on_conflict_do_nothing()
    # Not the row count: for an INSERT it is a driver's choice whether there is one.
    done = connection.execute(statement.returning(*table.primary_key.columns))
    return done.one_or_none() is not None


def upsert(connection: Connection, table: Table, row: Mapping[str, Any], *keys: str) -> None:
    """Insert a row, or overwrite the one with the same `keys`."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
    statement = insert(table).values(**row)
    fresh = {name: statement.excluded[name] for name in row if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=fresh))
