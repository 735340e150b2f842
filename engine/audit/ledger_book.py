"""Reads the engine's ledger for the audit, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from itertools import chain

import msgspec
from sqlalchemy import Connection, func, select

from engine.audit.books import Decided, Halt, LedgerBook, StateChange, Step
from engine.domain.amounts import EXACT, ZERO
from engine.domain.ledger_values import AllocationBasis
from engine.domain.model import (
    ExecutionEvent,
    FillEvent,
    OrderEvent,
    PortfolioSnapshot,
)
from engine.ledger.account_rows import read_account
from engine.ledger.audit import findings
from engine.ledger.ledger import SqlLedger
from engine.ledger.position_rows import adoptions_of
from engine.ledger.records import ORDER_COLUMNS, fill_of, load, order_of
from engine.ledger.schema import (
    allocations,
    audit_log,
    cycles,
    events,
    fills,
    orders,
    snapshots,
    state_changes,
    transitions,
)

_decode = msgspec.json.Decoder(FillEvent | OrderEvent).decode
OK = 200
CONFIRMED = "execution=confirmed"


def read_ledger(ledger: SqlLedger, now: datetime | None) -> LedgerBook:
    """The ledger at one instant. Raises LedgerUnavailable.

    `now` is wall time; None says that the deployment is stopped: what is open is then judged by
    when the ledger was last written.
    """
    with ledger.reading() as connection:
        active = _last_active_at(connection)
        moment = active if now is None else now
        account = read_account(connection)
        found = connection.execute(select(*ORDER_COLUMNS).order_by(orders.c.number)).all()
        return LedgerBook(
            cursor=account.contiguous_seq,
            log_id=account.log_id,
            orders={row.client_order_id: order_of(row) for row in found},
            steps=_steps(connection),
            events=_events(connection),
            fills=tuple(
                fill_of(row) for row in connection.execute(select(fills).order_by(fills.c.seq))
            ),
            cycles=connection.execute(select(func.count()).select_from(cycles)).scalar_one(),
            decided=_decided(connection),
            states=_states(connection),
            halts=_halts(connection),
            adopted=_adopted(connection),
            findings=findings(connection, ledger.max_fee, moment),
        )


def known_orders(ledger: SqlLedger) -> frozenset[str]:
    """Every order's id. Raises LedgerUnavailable."""
    with ledger.reading() as connection:
        return frozenset(connection.execute(select(orders.c.client_order_id)).scalars())


def _steps(connection: Connection) -> tuple[Step, ...]:
    columns = [transitions.c[name] for name in Step.__struct_fields__]
    chosen = select(*columns).order_by(transitions.c.number)
    return tuple(Step(**row._asdict()) for row in connection.execute(chosen))


def _events(connection: Connection) -> dict[int, ExecutionEvent]:
    chosen = select(events.c.seq, events.c.payload)
    return {row.seq: _decode(row.payload) for row in connection.execute(chosen)}


def _decided(connection: Connection) -> tuple[Decided, ...]:
    chosen = select(allocations).order_by(allocations.c.at)
    return tuple(
        Decided(cycle_id=row.cycle_id, at=row.at, basis=load(row.basis, AllocationBasis))
        for row in connection.execute(chosen)
    )


def _states(connection: Connection) -> tuple[StateChange, ...]:
    columns = [state_changes.c[name] for name in StateChange.__struct_fields__]
    chosen = select(*columns).order_by(state_changes.c.number)
    return tuple(StateChange(**row._asdict()) for row in connection.execute(chosen))


def _halts(connection: Connection) -> tuple[Halt, ...]:
    answered = (audit_log.c.route == "/halt") & (audit_log.c.status == OK)
    chosen = select(audit_log.c.at, audit_log.c.detail).where(answered)
    return tuple(
        Halt(at=row.at, confirmed=CONFIRMED in row.detail)
        for row in connection.execute(chosen.order_by(audit_log.c.number))
    )


def _adopted(connection: Connection) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for adoption in adoptions_of(connection):
        known = sums.get(adoption.symbol, ZERO)
        sums[adoption.symbol] = EXACT.add(known, adoption.quantity)
    return sums


def _last_active_at(connection: Connection) -> datetime | None:
    """When anything was last written that carries wall time."""
    columns = (transitions.c.at, cycles.c.started_at, cycles.c.finished_at, state_changes.c.at)
    newest = [connection.execute(select(func.max(column))).scalar() for column in columns]
    pictures: Iterable[str] = connection.execute(select(snapshots.c.payload)).scalars()
    taken = [load(payload, PortfolioSnapshot).as_of for payload in pictures]
    return max((at for at in chain(newest, taken) if at is not None), default=None)
