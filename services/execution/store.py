"""Rows of the execution service. Every method takes the connection of the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from engine.domain.decimals import decimal_text
from engine.domain.matching import REST_STATES, Execution
from engine.domain.messages import Fence, SwitchChange
from engine.errors import ConfigError
from services.durable import DurableStore
from services.execution import records, schema
from services.execution.records import StoredOrder

MINUTE_S = 60.0
_OPEN = sorted(state.value for state in REST_STATES)


def open_store(
    path: Path, *, account: str, new_log_id: Callable[[], str], busy_timeout_s: float
) -> DurableStore:
    """The service's file, made with a log of its own on first use.

    Raises ConfigError where the file belongs to another account.
    """
    store = DurableStore(path, schema.metadata, busy_timeout_s=busy_timeout_s)
    with store.write() as connection:
        row = connection.execute(select(schema.venue)).one_or_none()
        if row is None:
            values = {"log_id": new_log_id(), "account": account, "epoch": 0}
            statement = insert(schema.venue).values(id=1, halted=False, halt_reason="", **values)
            connection.execute(statement)
        elif row.account != account:
            fault = (
                f"trading_engine.account: was {account}, but data_dir holds the orders of "
                f"account {row.account}; set another data_dir or that account"
            )
            raise ConfigError([fault])
    return store


def fence(connection: Connection) -> Fence:
    """Fence, log identity and kill switch."""
    row = connection.execute(select(schema.venue)).one()
    return Fence(epoch=row.epoch, log_id=row.log_id, halted=row.halted)


def set_fence(connection: Connection, epoch: int, at: datetime) -> None:
    """Store the fence."""
    before = fence(connection)
    connection.execute(update(schema.venue).values(epoch=epoch))
    if before.epoch != epoch:
        _note_switch(connection, "fence", at)


def set_halted(connection: Connection, at: datetime, *, halted: bool, reason: str) -> None:
    """Store the kill switch."""
    before = fence(connection)
    connection.execute(update(schema.venue).values(halted=halted, halt_reason=reason))
    if before.halted is not halted:
        _note_switch(connection, reason, at)


def _note_switch(connection: Connection, reason: str, at: datetime) -> None:
    """Keep what holds from now on, and where the log stands: later events came after it."""
    now = fence(connection)
    values = {"epoch": now.epoch, "halted": now.halted, "reason": reason}
    moment = {"at": at.astimezone(UTC).isoformat(), "after_seq": head(connection)}
    connection.execute(insert(schema.switches).values(**values, **moment))


def switches(connection: Connection) -> list[SwitchChange]:
    """Every change of fence and kill switch, the first first."""
    query = select(schema.switches).order_by(schema.switches.c.number)
    return [
        SwitchChange(
            at=datetime.fromisoformat(row.at),
            after_seq=row.after_seq,
            epoch=row.epoch,
            halted=row.halted,
        )
        for row in connection.execute(query)
    ]


def order(connection: Connection, client_order_id: str) -> StoredOrder | None:
    """The order or tombstone of this id."""
    query = select(schema.orders).where(schema.orders.c.client_order_id == client_order_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else records.order_of(dict(row))


def open_orders(connection: Connection) -> list[StoredOrder]:
    """Orders that can still fill, oldest first."""
    query = (
        select(schema.orders)
        .where(schema.orders.c.state.in_(_OPEN))
        .order_by(schema.orders.c.created_at, schema.orders.c.client_order_id)
    )
    return [records.order_of(dict(row)) for row in connection.execute(query).mappings()]


def orders_in_last_minute(connection: Connection, now: datetime) -> int:
    """How many orders were taken within the last 60 s; tombstones are none."""
    query = select(func.count()).where(
        schema.orders.c.created_at > now.timestamp() - MINUTE_S, schema.orders.c.body.is_not(None)
    )
    return connection.execute(query).scalar_one()


def head(connection: Connection) -> int:
    """The newest seq of the log, 0 when it is empty."""
    return connection.execute(select(func.max(schema.events.c.seq))).scalar_one() or 0


def events(connection: Connection, after: int, limit: int) -> list[str]:
    """The JSON of events with a seq above `after`, in order."""
    query = (
        select(schema.events.c.event)
        .where(schema.events.c.seq > after)
        .order_by(schema.events.c.seq)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def record(
    connection: Connection,
    changed: StoredOrder,
    executions: Sequence[Execution],
    *,
    filled_at: datetime | None,
    at: datetime,
) -> StoredOrder:
    """Store an order's new state with its fills and their events, fills first; the order.

    `filled_at` is the fills' market time, `at` wall time. The caller holds the write lock, so
    that the next seq is the head's and no gap can arise.
    """
    seq = head(connection)
    for execution in executions:
        seq += 1
        _record_fill(connection, changed, execution, seq, filled_at or at)
    changed = msgspec.structs.replace(changed, seq=seq + 1)
    row = records.row_of(changed)
    statement = upsert(schema.orders).values(row)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["client_order_id"], set_=row)
    )
    event = records.order_event(changed, at.astimezone(UTC))
    _append(connection, changed.seq, changed.client_order_id, event)
    return changed


def _record_fill(
    connection: Connection, changed: StoredOrder, execution: Execution, seq: int, at: datetime
) -> None:
    event = records.fill_event(changed, execution, seq, at.astimezone(UTC))
    connection.execute(
        insert(schema.fills).values(
            fill_id=execution.fill_id,
            seq=seq,
            client_order_id=changed.client_order_id,
            quantity=decimal_text(execution.quantity),
            price=decimal_text(execution.price),
            fee=decimal_text(execution.fee),
            filled_at=at.astimezone(UTC).isoformat(),
        )
    )
    _append(connection, seq, changed.client_order_id, event)


def _append(connection: Connection, seq: int, client_order_id: str, event: msgspec.Struct) -> None:
    text = msgspec.json.encode(event).decode()
    values = {"seq": seq, "client_order_id": client_order_id, "event": text}
    connection.execute(insert(schema.events).values(values))
