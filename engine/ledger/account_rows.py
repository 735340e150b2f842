"""The account's row, its causes and alerts, as other transactions use them.

Whoever moves money takes the account's row first: FOR UPDATE to decide or to change the state,
FOR SHARE to send. SQLite has one writer at a time, which is the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from engine.domain.ledger_values import NewAlert
from engine.domain.model import TradingState
from engine.ledger.column_types import AnyRow
from engine.ledger.records import change, dump, insert_new
from engine.ledger.schema import account, alerts, causes, state_changes

ACCOUNT_ID = 1
LATCHED = "latched"
DERIVED = "derived"
ACCOUNT = select(account).where(account.c.id == ACCOUNT_ID)
LOCKED = {True: ACCOUNT.with_for_update(read=True), False: ACCOUNT.with_for_update()}
CAUSES = select(causes).order_by(causes.c.kind, causes.c.cause)
HEIGHT = {TradingState.HALTED: 0, TradingState.REDUCING: 1, TradingState.ACTIVE: 2}


def lowest(states: list[TradingState]) -> TradingState:
    """The most restrictive of the states; ACTIVE for none."""
    return min(states, key=HEIGHT.__getitem__, default=TradingState.ACTIVE)


def permits(state: TradingState, *, reduce_only: bool) -> bool:
    """Whether an order may leave in this state."""
    return state is TradingState.ACTIVE or (state is TradingState.REDUCING and reduce_only)


def read_account(connection: Connection) -> AnyRow:
    """The account's row, without a lock."""
    return connection.execute(ACCOUNT).one()


def lock_account(connection: Connection, *, share: bool = False) -> AnyRow:
    """The account's row, held until the transaction ends."""
    return connection.execute(LOCKED[share]).one()


def update_account(connection: Connection, **values: Any) -> None:
    """Write columns of the account's row."""
    change(connection, account, {"id": ACCOUNT_ID}, values)


def add_latch(
    connection: Connection, cause: str, level: TradingState, detail: str, now: datetime
) -> bool:
    """Latch a cause, or lower one that is latched; False when nothing changed. Account locked."""
    row = {"kind": LATCHED, "cause": cause, "level": level, "detail": detail, "since": now}
    if not insert_new(connection, causes, row):
        this = (causes.c.kind == LATCHED) & (causes.c.cause == cause)
        known = connection.execute(select(causes.c.level).where(this)).scalar_one()
        if HEIGHT[TradingState(known)] <= HEIGHT[level]:
            return False
        key = {"kind": LATCHED, "cause": cause}
        change(connection, causes, key, {"level": level, "detail": detail})
    write_effective(connection, "engine", f"latched {cause}", now)
    return True


def write_effective(connection: Connection, actor: str, what: str, now: datetime) -> None:
    """Derive the effective state from its causes, and keep a row of history. Account locked."""
    row = read_account(connection)
    found = connection.execute(CAUSES).all()
    effective = lowest([row.operator, *(cause.level for cause in found)])
    if effective is not row.effective:
        update_account(connection, effective=effective, effective_since=now)
    listed = [[cause.kind, cause.cause, cause.level, cause.detail] for cause in found]
    history = {"operator": row.operator, "effective": effective, "causes": dump(listed)}
    connection.execute(insert(state_changes).values(at=now, actor=actor, what=what, **history))


def open_alert(connection: Connection, alert: NewAlert, now: datetime) -> bool:
    """Open an alert; False while one with its key is open."""
    row = {
        "key": alert.key,
        "name": alert.name,
        "severity": alert.severity,
        "detail": alert.detail,
        "cycle_id": alert.cycle_id,
        "opened_at": now,
    }
    return insert_new(connection, alerts, row)
