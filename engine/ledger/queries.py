"""Reads for display: pages of cycles and orders, one of each whole, and the figures of rates."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, func, insert, select

from engine.domain.alerts import AlertRecord
from engine.domain.cycle import CycleReport, CycleStatus
from engine.domain.model import OrderStatus, Signal
from engine.domain.orders import is_terminal
from engine.domain.spans import StepSpan, began_at
from engine.domain.views import (
    AuditEntry,
    AuditRow,
    BatchView,
    CycleDetail,
    CycleProgress,
    DecisionTally,
    OrderRow,
    OrderStory,
    Page,
    Rates,
    SignalView,
    StoredAnswer,
)
from engine.errors import NotFound, Refused
from engine.ledger.alert_rows import alerts_since
from engine.ledger.column_types import AnyRow, by_no_index
from engine.ledger.connections import Connections
from engine.ledger.cycle_facts import CYCLE_ROW, batch_rows, cycle_row, decisions_of, outcomes_of
from engine.ledger.cycle_rows import CLOSED_RUNS
from engine.ledger.cycle_spans import steps_of
from engine.ledger.live_report import live_report, live_stage
from engine.ledger.order_changes import stored_fills
from engine.ledger.order_reads import orders_of_cycle
from engine.ledger.order_views import (
    batch_of,
    decision_in,
    order_row,
    orders_of,
    signal_of,
    transitions_of,
    why,
    with_decision,
)
from engine.ledger.records import load, order_of, texts, upsert
from engine.ledger.schema import (
    alerts,
    audit_log,
    cycles,
    idempotent_requests,
    orders,
    signals,
)
from engine.ledger.tally_rows import decisions_after

IDEMPOTENT_FOR = timedelta(hours=24)
MAX_DURATIONS = 500


def cursor_of(text: str) -> int:
    """The number in a cursor. Raises Refused for text that no page gave."""
    if not (text.isascii() and text.isdigit() and len(text) <= len("9223372036854775807") - 1):
        raise Refused("before: not a cursor that a page gave")
    return int(text)


class LedgerQueries:
    """What the API shows of the ledger, and what it writes down of itself."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def cycles(self, limit: int, before: str | None) -> Page[CycleReport]:
        """Reports, newest first; a RUNNING cycle's is the one so far."""
        chosen = CYCLE_ROW.order_by(cycles.c.number.desc()).limit(limit + 1)
        if before is not None:
            chosen = chosen.where(cycles.c.number < cursor_of(before))
        with self._connections.read() as connection:
            rows = connection.execute(chosen).all()
            items = tuple(live_report(connection, row) for row in rows[:limit])
        return Page(items=items, next_before=next_cursor(rows, limit))

    def cycle(self, cycle_id: str) -> CycleDetail:
        """One cycle whole. Raises NotFound."""
        with self._connections.read() as connection:
            report = live_report(connection, cycle_row(connection, cycle_id))
            row = cycle_row(connection, cycle_id)
            found = connection.execute(orders_of(cycle_id)).all()
            rows = batch_rows(connection, cycle_id)
            return CycleDetail(
                **msgspec.structs.asdict(report),
                request=row.key,
                cutoff_at=row.cutoff_at,
                deadline_at=row.deadline_at,
                steps=steps_of(connection, row, rows),
                order_list=tuple(order_row(order) for order in found),
                outcomes=outcomes_of(connection, cycle_id),
                batch_list=tuple(_batch_view(batch) for batch in rows),
                signal_list=_signal_views(connection, cycle_id),
                decisions=decisions_of(connection, cycle_id),
                order_ids=tuple(order.client_order_id for order in found),
            )

    def steps(self, cycle_id: str) -> tuple[StepSpan, ...]:
        """The steps of a cycle on its time axis. Raises NotFound."""
        with self._connections.read() as connection:
            row = cycle_row(connection, cycle_id)
            return steps_of(connection, row, batch_rows(connection, cycle_id))

    def current_cycle(self) -> CycleProgress | None:
        """The RUNNING cycle and how far it is, or None."""
        chosen = CYCLE_ROW.where(cycles.c.status == CycleStatus.RUNNING)
        with self._connections.read() as connection:
            newest = connection.execute(chosen.order_by(cycles.c.number.desc()).limit(1))
            row = newest.one_or_none()
            return None if row is None else _progress(connection, row)

    def last_cycle(self) -> CycleReport | None:
        """The latest closed cycle that ran; a SKIPPED one only where there is no other."""
        with self._connections.read() as connection:
            for wanted in (CLOSED_RUNS, (CycleStatus.SKIPPED,)):
                chosen = CYCLE_ROW.where(by_no_index(cycles.c.status).in_(wanted))
                newest = connection.execute(chosen.order_by(cycles.c.number.desc()).limit(1))
                row = newest.one_or_none()
                if row is not None:
                    return live_report(connection, row)
        return None

    def orders(
        self, limit: int, before: str | None, state: OrderStatus | None, symbol: str | None
    ) -> Page[OrderRow]:
        """Orders, newest first, in a state or of a symbol where asked."""
        chosen = with_decision().order_by(orders.c.number.desc()).limit(limit + 1)
        if before is not None:
            chosen = chosen.where(orders.c.number < cursor_of(before))
        if state is not None:
            chosen = chosen.where(orders.c.status == state)
        if symbol is not None:
            chosen = chosen.where(orders.c.symbol == symbol)
        with self._connections.read() as connection:
            rows = connection.execute(chosen).all()
        items = tuple(order_row(row) for row in rows[:limit])
        return Page(items=items, next_before=next_cursor(rows, limit))

    def order(self, client_order_id: str) -> OrderStory:
        """One order whole. Raises NotFound."""
        chosen = with_decision().where(orders.c.client_order_id == client_order_id)
        with self._connections.read() as connection:
            row = connection.execute(chosen).one_or_none()
            if row is None:
                raise NotFound(f"no order {client_order_id}")
            order, decision = order_of(row), decision_in(row)
            found = stored_fills(connection, [client_order_id])
            return OrderStory(
                order=order,
                why=why(order, decision),
                signal=None if order.is_exit else signal_of(connection, order, order.cycle_id),
                decision=decision,
                transitions=transitions_of(connection, client_order_id),
                fills=tuple(found.get(client_order_id, [])),
                batch=connection.execute(batch_of(order)).scalar(),
            )

    def alerts_since(self, since: datetime) -> tuple[AlertRecord, ...]:
        """Alerts that are open, and those resolved after `since`; the oldest first."""
        with self._connections.read() as connection:
            return alerts_since(connection, since)

    def decisions_after(self, number: int) -> DecisionTally:
        """Decisions of closed cycles beyond `number`, by verdict and rule."""
        with self._connections.read() as connection:
            return decisions_after(connection, number)

    def rates(self, since: datetime) -> Rates:
        """Counts and durations of what happened since then (wall time)."""
        recent = cycles.c.started_at >= since
        status = by_no_index(cycles.c.status)
        ran = and_(recent, status.in_(CLOSED_RUNS))
        durations = (
            select(cycles.c.duration_s)
            .where(ran)
            .order_by(cycles.c.started_at.desc(), cycles.c.number.desc())
        )
        made = orders.c.created_at >= since
        with self._connections.read() as connection:

            def counts(column: Any, *where: Any) -> dict[str, int]:
                grouped = select(column, func.count()).where(*where).group_by(column)
                return {str(name): count for name, count in connection.execute(grouped)}

            def one(chosen: Any) -> Any:
                return connection.execute(chosen).scalar()

            submitted = select(func.count()).where(made, orders.c.sends > 0)
            average = one(select(func.avg(cycles.c.symbols_selected)).where(ran))
            last = CYCLE_ROW.where(status.in_(CLOSED_RUNS))
            newest = connection.execute(last.order_by(cycles.c.number.desc()).limit(1))
            row = newest.one_or_none()
            return Rates(
                cycles_by_status=counts(status, recent),
                durations_s=tuple(connection.execute(durations.limit(MAX_DURATIONS)).scalars()),
                symbols_per_cycle=None if average is None else float(average),
                orders_submitted=one(submitted),
                orders_filled=one(submitted.where(orders.c.has_fill)),
                step_seconds={} if row is None else live_report(connection, row).step_seconds,
                alerts_open=one(select(func.count()).where(alerts.c.resolved_at.is_(None))),
            )

    def orders_by_status(self) -> dict[str, int]:
        """How many orders of all time are in each state."""
        grouped = select(orders.c.status, func.count()).group_by(orders.c.status)
        with self._connections.read() as connection:
            return {str(name): count for name, count in connection.execute(grouped)}

    def idempotent(self, key: str, body_hash: str, now: datetime) -> StoredAnswer | None:
        """The first answer under this key within 24 h; `mismatch` when it was another body's."""
        chosen = select(idempotent_requests).where(
            idempotent_requests.c.key == key, idempotent_requests.c.at > now - IDEMPOTENT_FOR
        )
        with self._connections.read() as connection:
            row = connection.execute(chosen).one_or_none()
        if row is None:
            return None
        mismatch = row.body_hash != body_hash
        return StoredAnswer(status=row.status, body=row.body, mismatch=mismatch)

    def store_idempotent(
        self, key: str, body_hash: str, status: int, body: str, now: datetime
    ) -> None:
        """Keep an answer for 24 h; older ones go, the first within that time stays."""
        row = {"key": key, "body_hash": body_hash, "status": status, "body": body, "at": now}
        expired = idempotent_requests.c.at <= now - IDEMPOTENT_FOR
        with self._connections.write() as connection:
            connection.execute(idempotent_requests.delete().where(expired))
            known = select(idempotent_requests.c.key).where(idempotent_requests.c.key == key)
            if connection.execute(known).one_or_none() is None:
                upsert(connection, idempotent_requests, row, "key")

    def audit_append(self, entry: AuditEntry, now: datetime) -> None:
        """Write down who asked for what; rows are never changed."""
        with self._connections.write() as connection:
            values = msgspec.structs.asdict(entry)
            connection.execute(insert(audit_log).values(at=now, **values))

    def audit(self, limit: int, before: str | None) -> Page[AuditRow]:
        """Who asked for what, newest first."""
        chosen = select(audit_log).order_by(audit_log.c.number.desc()).limit(limit + 1)
        if before is not None:
            chosen = chosen.where(audit_log.c.number < cursor_of(before))
        with self._connections.read() as connection:
            rows = connection.execute(chosen).all()
        fields = AuditRow.__struct_fields__
        items = tuple(AuditRow(**{f: getattr(row, f) for f in fields}) for row in rows[:limit])
        return Page(items=items, next_before=next_cursor(rows, limit))


def next_cursor(rows: Any, limit: int) -> str | None:
    """The cursor that asks for what follows a page of numbered rows; None at the end."""
    return str(rows[limit - 1].number) if len(rows) > limit else None


def _progress(connection: Connection, row: AnyRow) -> CycleProgress:
    found = batch_rows(connection, row.cycle_id)
    made = orders_of_cycle(connection, row.cycle_id)
    return CycleProgress(
        report=live_report(connection, row),
        stage=live_stage(row, found),
        batches_reported=sum(1 for batch in found if batch.reported_at is not None),
        batches_total=len(found),
        orders_total=len(made),
        orders_done=sum(1 for order in made if is_terminal(order.status)),
        cutoff_at=row.cutoff_at,
        deadline_at=row.deadline_at,
        steps=steps_of(connection, row, found),
    )


def _batch_view(row: AnyRow) -> BatchView:
    seconds = load(row.step_seconds, dict[str, float])
    return BatchView(
        number=row.batch,
        symbols=texts(row.symbols),
        held=row.held,
        claimed_by=row.claimed_by,
        tries=row.tries,
        reported_at=row.reported_at,
        failed=row.failed,
        step_seconds=seconds,
        began_at=began_at(row.claimed_at, row.reported_at, seconds),
    )


def _signal_views(connection: Connection, cycle_id: str) -> tuple[SignalView, ...]:
    chosen = select(signals).where(signals.c.cycle_id == cycle_id)
    return tuple(
        SignalView(
            signal=load(row.payload, Signal), batch=row.batch, kept=row.kept, reason=row.reason
        )
        for row in connection.execute(chosen.order_by(signals.c.batch, signals.c.number))
    )
