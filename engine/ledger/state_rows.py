"""Trading state, schedule, leases and alerts."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)

from engine.domain.ledger_values import DerivedCause, Latch, LedgerState, NewAlert
from engine.domain.model import PortfolioSnapshot, TradingState
from engine.ledger.account_rows import (
    DERIVED,
    LATCHED,
    add_latch,
    lock_account,
    open_alert,
    read_account,
    update_account,
    write_effective,
)
from engine.ledger.connections import Connections
from engine.ledger.records import dump, insert_new, load, upsert
from engine.ledger.schema import (
    account,
    alerts,
    cycles,
    disabled_strategies,
    leases,
    snapshots,
)
from engine.ledger.schema import causes as cause_rows

SECRET_BYTES = 32
CAUSES = select(cause_rows).order_by(cause_rows.c.since, cause_rows.c.cause)
DERIVED_CAUSES = select(cause_rows).where(cause_rows.c.kind == DERIVED)
HAS_CYCLES = select(exists().select_from(cycles))
LEASE: BindParameter[Any] = bindparam("lease")
HOLDER: BindParameter[Any] = bindparam("by")
TAKE_LEASE = (
    update(leases)
    .where(
        leases.c.name == LEASE, or_(leases.c.holder == HOLDER, leases.c.until <= bindparam("at"))
    )
    .values(holder=HOLDER, until=bindparam("end"))
)
RELEASE_LEASE = delete(leases).where(leases.c.name == LEASE, leases.c.holder == HOLDER)


def read_state(connection: Connection) -> LedgerState:
    """The state of the account as one value."""
    row = read_account(connection)
    found = connection.execute(CAUSES).all()
    fields = ("cause", "level", "detail", "since")

    def of_kind(kind: str) -> list[dict[str, Any]]:
        return [{name: getattr(c, name) for name in fields} for c in found if c.kind == kind]

    return LedgerState(
        epoch=row.epoch,
        operator=row.operator,
        operator_reason=row.operator_reason,
        effective=row.effective,
        effective_since=row.effective_since,
        latched=tuple(Latch(**cause) for cause in of_kind(LATCHED)),
        derived=tuple(DerivedCause(**cause) for cause in of_kind(DERIVED)),
        schedule_running=row.schedule_running,
        schedule_set_at=row.schedule_set_at,
        is_new=not connection.execute(HAS_CYCLES).scalar_one(),
    )


class StateRows:
    """StateLedger over SQL."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def read(self) -> LedgerState:
        """The state of the account."""
        with self._connections.read() as connection:
            return read_state(connection)

    def set_operator(
        self, state: TradingState, reason: str, actor: str, now: datetime
    ) -> LedgerState:
        """What the operator wants; lowering and raising. Latched causes are not touched."""
        with self._connections.write() as connection:
            lock_account(connection)
            update_account(connection, operator=state, operator_reason=reason)
            write_effective(connection, actor, f"operator {state}: {reason}", now)
            return read_state(connection)

    def latch(self, cause: str, level: TradingState, detail: str, now: datetime) -> bool:
        """Add a latched cause, or lower it further; False when that changes nothing."""
        with self._connections.write() as connection:
            lock_account(connection)
            return add_latch(connection, cause, level, detail, now)

    def clear_latches(self, actor: str, now: datetime) -> None:
        """Release every latched cause (POST /resume)."""
        with self._connections.write() as connection:
            lock_account(connection)
            done = connection.execute(delete(cause_rows).where(cause_rows.c.kind == LATCHED))
            if done.rowcount:
                write_effective(connection, actor, "cleared latched causes", now)

    def set_derived(
        self,
        causes: dict[str, tuple[TradingState, str]],
        now: datetime,
        begins: dict[str, datetime] | None = None,
    ) -> LedgerState:
        """Replace the derived causes; one that persists keeps its `since`."""
        first = {} if begins is None else begins
        with self._connections.write() as connection:
            lock_account(connection)
            known = {c.cause: c for c in connection.execute(DERIVED_CAUSES)}
            before = {name: (c.level, c.detail) for name, c in known.items()}
            if before != causes:
                connection.execute(delete(cause_rows).where(cause_rows.c.kind == DERIVED))
                for name, (level, detail) in causes.items():
                    since = known[name].since if name in known else first.get(name, now)
                    row = {"cause": name, "level": level, "detail": detail, "since": since}
                    connection.execute(insert(cause_rows).values(kind=DERIVED, **row))
            if {name: c.level for name, c in known.items()} != {
                name: level for name, (level, _) in causes.items()
            }:
                write_effective(connection, "engine", "derived causes", now)
            return read_state(connection)

    def set_schedule(self, *, running: bool, actor: str, now: datetime) -> bool:
        """Whether cycles are wanted on schedule; False when nothing changed."""
        with self._connections.write() as connection:
            row = lock_account(connection)
            changed = row.schedule_running is not running
            if changed or row.schedule_set_at is None:
                update_account(connection, schedule_running=running, schedule_set_at=now)
            if changed:
                what = "schedule running" if running else "schedule stopped"
                write_effective(connection, actor, what, now)
            return changed

    def bind_feed(self, identity: str) -> str:
        """Bind the ledger to a market data feed on first use; the identity it is bound to."""
        return str(self._once("feed", identity))

    def secret(self) -> bytes:
        """32 random bytes that belong to this ledger, made on first use."""
        return bytes(self._once("secret", secrets.token_bytes(SECRET_BYTES)))

    def _once(self, name: str, value: Any) -> Any:
        with self._connections.read() as connection:
            known = connection.execute(select(account.c[name])).scalar_one()
        if known is not None:
            return known
        with self._connections.write() as connection:
            row = lock_account(connection)
            known = getattr(row, name)
            if known is not None:
                return known
            update_account(connection, **{name: value})
            return value

    def save_snapshot(self, snapshot: PortfolioSnapshot) -> None:
        """Keep the last snapshot that the portfolio gave."""
        row = {"account": snapshot.account, "payload": dump(snapshot)}
        with self._connections.write(durable=False) as connection:
            upsert(connection, snapshots, row, "account")

    def last_snapshot(self) -> PortfolioSnapshot | None:
        """The last kept snapshot."""
        with self._connections.read() as connection:
            of_account = snapshots.c.account == select(account.c.account).scalar_subquery()
            chosen = select(snapshots.c.payload).where(of_account)
            payload = connection.execute(chosen).scalar_one_or_none()
        return None if payload is None else load(payload, PortfolioSnapshot)

    def take_lease(self, name: str, holder: str, now: datetime, seconds: float) -> bool:
        """Take or extend a lease; False while another holder's has not run out."""
        until = now + timedelta(seconds=seconds)
        with self._connections.write(durable=False) as connection:
            row = {"name": name, "holder": holder, "until": until}
            if insert_new(connection, leases, row):
                return True
            values = {"lease": name, "by": holder, "at": now, "end": until}
            return connection.execute(TAKE_LEASE, values).rowcount == 1

    def release_lease(self, name: str, holder: str) -> None:
        """Give a lease back; no-op when it is not held."""
        with self._connections.write(durable=False) as connection:
            connection.execute(RELEASE_LEASE, {"lease": name, "by": holder})

    def raise_alert(self, alert: NewAlert, now: datetime) -> bool:
        """Open an alert, unique by key while open; False when it is open already."""
        with self._connections.write(durable=False) as connection:
            return open_alert(connection, alert, now)

    def resolve_alert(self, key: str, now: datetime) -> bool:
        """Close an open alert; False when there is none."""
        is_open = (alerts.c.key == key) & alerts.c.resolved_at.is_(None)
        with self._connections.write(durable=False) as connection:
            done = connection.execute(update(alerts).where(is_open).values(resolved_at=now))
            return done.rowcount == 1

    def enable_strategy(self, strategy: str, now: datetime, actor: str) -> int:
        """Let a throttled strategy trade again, in every symbol; in how many it was disabled."""
        with self._connections.write() as connection:
            lock_account(connection)
            named = disabled_strategies.c.strategy == strategy
            count = connection.execute(delete(disabled_strategies).where(named)).rowcount
            if count:
                write_effective(connection, actor, f"enabled strategy {strategy}", now)
            return count
