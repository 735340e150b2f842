"""Rows to values and back: the JSON payloads, and the columns that an order is made of.

Statements that run often are built once: what SQLAlchemy knows of one it has seen is ten times
cheaper than to build it again and look for its like.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, Dialect, Executable, Table, bindparam, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from engine.domain.model import Fill, FillEvent, Order
from engine.ledger.column_types import AnyRow
from engine.ledger.schema import orders

T = TypeVar("T")
KEY_PREFIX = "key_"
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
    """Insert rows of the same columns with one statement; none at all for no rows."""
    if rows:
        names = tuple(rows[0])
        _execute_many(connection, _many(connection.dialect, table, names, ()), rows)


def insert_new(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless one of its unique keys is taken; whether it was inserted."""
    statement = _insert_new(connection.dialect.name, table, tuple(row))
    return connection.execute(statement, dict(row)).one_or_none() is not None


@functools.cache
def _insert_new(dialect: str, table: Table, names: tuple[str, ...]) -> Executable:
    statement = _insert(dialect, table, names).on_conflict_do_nothing()
    # Not the row count: for an INSERT it is a driver's choice whether there is one.
    returned: Executable = statement.returning(*table.primary_key.columns)
    return returned


def upsert(connection: Connection, table: Table, row: Mapping[str, Any], *keys: str) -> None:
    """Insert a row, or overwrite the one with the same `keys`."""
    connection.execute(_upsert(connection.dialect.name, table, tuple(row), keys), dict(row))


def upsert_all(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *keys: str
) -> None:
    """The same of many rows with one statement; none at all for no rows."""
    if rows:
        names = tuple(rows[0])
        _execute_many(connection, _many(connection.dialect, table, names, keys), rows)


class _Many(NamedTuple):
    """A statement as the driver takes it, and how its parameters are made of a row."""

    text: str
    is_positional: bool
    columns: tuple[tuple[str, Callable[[Any], Any] | None], ...]


@functools.cache
def _many(dialect: Dialect, table: Table, names: tuple[str, ...], keys: tuple[str, ...]) -> _Many:
    statement: Any = _upsert(dialect.name, table, names, keys) if keys else table.insert()
    compiled = statement.compile(dialect=dialect, column_keys=list(names), for_executemany=True)
    columns = (
        (name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect))
        for name in compiled.positiontup or names
    )
    return _Many(str(compiled), bool(compiled.positional), tuple(columns))


def _execute_many(connection: Connection, many: _Many, rows: Sequence[Mapping[str, Any]]) -> None:
    """For each row; the parameters are made here, of which SQLAlchemy makes three times as much."""
    if any(len(row) != len(many.columns) for row in rows):
        raise ValueError("rows of different columns")
    made = [
        tuple(
            row[name] if process is None else process(row[name]) for name, process in many.columns
        )
        for row in rows
    ]
    if many.is_positional:
        connection.exec_driver_sql(many.text, made)
    else:
        names = [name for name, _ in many.columns]
        named = [dict(zip(names, values, strict=True)) for values in made]
        connection.exec_driver_sql(many.text, named)


@functools.cache
def _upsert(
    dialect: str, table: Table, names: tuple[str, ...], keys: tuple[str, ...]
) -> Executable:
    statement = _insert(dialect, table, names)
    fresh = {name: statement.excluded[name] for name in names if name not in keys}
    made: Executable = statement.on_conflict_do_update(index_elements=list(keys), set_=fresh)
    return made


def _insert(dialect: str, table: Table, names: tuple[str, ...]) -> Any:
    insert = sqlite_insert if dialect == "sqlite" else postgresql_insert
    return insert(table).values({name: bindparam(name) for name in names})


def change(
    connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Write columns of the rows whose columns equal `key`."""
    named = {f"{KEY_PREFIX}{name}": value for name, value in key.items()}
    connection.execute(_change(table, tuple(key), tuple(values)), {**named, **values})


@functools.cache
def _change(table: Table, keys: tuple[str, ...], names: tuple[str, ...]) -> Executable:
    found = update(table).where(
        *(table.c[name] == bindparam(f"{KEY_PREFIX}{name}") for name in keys)
    )
    made: Executable = found.values({name: bindparam(name) for name in names})
    return made
