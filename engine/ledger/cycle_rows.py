"""Cycles: opened once a key, planned once, closed once."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from engine.domain.cycle import (
    BatchRef,
    CyclePlan,
    CycleReport,
    CycleRequest,
    CycleStatus,
    CycleTimes,
    Stage,
    SymbolOutcome,
)
from engine.domain.ledger_values import BatchState, CycleFacts, OpenCycle, OpenedCycle
from engine.errors import Refused
from engine.ledger.account_rows import lock_account, update_account
from engine.ledger.batch_rows import (
    BatchRows,
    batch_values,
    drop_working_data,
    outcome_values,
    plan_header,
)
from engine.ledger.column_types import AnyRow, by_no_index
from engine.ledger.cycle_facts import (
    CYCLE_ROW,
    FAULTS,
    batch_rows,
    cycle_facts,
    cycle_row,
    cycle_times_of,
    outcomes_of,
    report_so_far,
)
from engine.ledger.live_report import live_report
from engine.ledger.order_reads import orders_of_cycle
from engine.ledger.records import change, dump, insert_all, insert_new, load, texts
from engine.ledger.schema import batches, cycle_steps, cycles, outcomes

CYCLE_OF_KEY = CYCLE_ROW.where(cycles.c.key == bindparam("key"))
PLAN = select(cycles.c.plan, cycles.c.epoch).where(cycles.c.cycle_id == bindparam("cycle_id"))
CLOSED_RUNS = (
    CycleStatus.COMPLETED,
    CycleStatus.DEGRADED,
    CycleStatus.FAILED,
    CycleStatus.ABORTED,
)
LATEST = (
    select(cycles.c.report)
    .where(by_no_index(cycles.c.status).in_(CLOSED_RUNS), cycles.c.report.is_not(None))
    .order_by(cycles.c.number.desc())
    .limit(bindparam("count"))
)
RUNNING = CYCLE_ROW.where(cycles.c.status == CycleStatus.RUNNING).order_by(cycles.c.number)
MORE_SECONDS = (
    update(cycle_steps)
    .where(cycle_steps.c.cycle_id == bindparam("cycle"), cycle_steps.c.step == bindparam("of"))
    .values(seconds=cycle_steps.c.seconds + bindparam("more"))
)


def cycle_id_of(key: str, started_at: datetime) -> str:
    """A readable id that sorts by time; the key alone decides what follows the time."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    return f"{started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest}"


class CycleRows(BatchRows):
    """CycleLedger over SQL."""

    def open(
        self, request: CycleRequest, times: CycleTimes, floor_epoch: int, config_hash: str
    ) -> OpenedCycle:
        """Open a cycle, continue the one with the same key, or record it as SKIPPED."""
        now = times.started_at
        with self._connections.write() as connection:
            account = lock_account(connection)
            known = _by_key(connection, request.key)
            if known is not None:
                return _opened(known, continues=True)
            values = _new_cycle(request, times, config_hash)
            blocking = _clear_overdue(connection, now)
            if blocking is None:
                epoch = max(account.epoch, floor_epoch) + 1
                update_account(connection, epoch=epoch)
                values |= {"status": CycleStatus.RUNNING, "epoch": epoch}
            else:
                reason = f"cycle {blocking} is still running"
                ended = {"finished_at": now, "duration_s": 0.0, "symbols_selected": 0}
                values |= {"status": CycleStatus.SKIPPED, "reason": reason, **ended}
            connection.execute(insert(cycles).values(**values))
            row = _by_key(connection, request.key)
            assert row is not None  # noqa: S101  inserted in this transaction
            return _opened(row, continues=False)

    def raise_epoch(self, cycle_id: str, floor_epoch: int) -> int:
        """Give the RUNNING cycle a new epoch above `floor_epoch`; the new epoch.

        Raises NotFound, and Refused when the cycle is not RUNNING.
        """
        with self._connections.write() as connection:
            account = lock_account(connection)
            _running(connection, cycle_id)
            epoch = max(int(account.epoch), floor_epoch) + 1
            update_account(connection, epoch=epoch)
            _change(connection, cycle_id, {"epoch": epoch})
            return epoch

    def set_plan(self, plan: CyclePlan) -> CyclePlan:
        """Store the plan with its batches and outcomes; an earlier stored plan is returned.

        Raises NotFound, and Refused when the cycle is closed and has no plan.
        """
        with self._connections.write(durable=False) as connection:
            row = cycle_row(connection, plan.cycle_id, lock=True)
            if row.plan is not None:
                return _plan_of(row)
            _refuse_closed(row)
            values = {
                "plan": zlib.compress(msgspec.json.encode(plan)),
                "header": dump(plan_header(plan)),
                "market_time": plan.market_time,
                "planned_at": plan.times.started_at + timedelta(seconds=plan.select_seconds),
            }
            _change(connection, plan.cycle_id, values)
            insert_all(connection, batches, batch_values(plan))
            insert_all(connection, outcomes, outcome_values(plan.cycle_id, plan.outcomes))
            return msgspec.structs.replace(plan, epoch=row.epoch)

    def plan(self, cycle_id: str) -> CyclePlan | None:
        """The stored plan, or None; its epoch is the cycle's current one."""
        with self._connections.read() as connection:
            row = connection.execute(PLAN, {"cycle_id": cycle_id}).one_or_none()
        return None if row is None or row.plan is None else _plan_of(row)

    def running(self) -> tuple[OpenCycle, ...]:
        """RUNNING cycles with what the watchdog needs to judge them."""
        with self._connections.read() as connection:
            rows = connection.execute(RUNNING).all()
            return tuple(_open_cycle(connection, row) for row in rows)

    def facts(self, cycle_id: str) -> CycleFacts:
        """Everything that a report is made of. Raises NotFound."""
        with self._connections.read() as connection:
            return cycle_facts(connection, cycle_id)

    def times(self, cycle_id: str) -> CycleTimes:
        """The instants that bound the cycle. Raises NotFound."""
        with self._connections.read() as connection:
            return cycle_times_of(cycle_row(connection, cycle_id))

    def faults(self, cycle_id: str) -> tuple[SymbolOutcome, ...]:
        """Outcomes of the symbols that were skipped or failed, so far; in order of batches."""
        with self._connections.read() as connection:
            return outcomes_of(connection, cycle_id, FAULTS)

    def closed(self, cycle_id: str) -> CycleReport | None:
        """The report of a closed cycle, None while it is open. Raises NotFound."""
        with self._connections.read() as connection:
            row = cycle_row(connection, cycle_id)
            if row.status is CycleStatus.RUNNING:
                return None
            return report_so_far(connection, row, batch_rows(connection, cycle_id))

    def latest(self, count: int) -> tuple[CycleReport, ...]:
        """Reports of the newest closed cycles that ran, the newest first; no SKIPPED ones."""
        with self._connections.read() as connection:
            rows = connection.execute(LATEST, {"count": count}).all()
        return tuple(load(row.report, CycleReport) for row in rows)

    def add_step_seconds(self, cycle_id: str, step: Stage, seconds: float) -> None:
        """Add to the seconds that a step of this cycle took."""
        row = {"cycle_id": cycle_id, "step": step, "seconds": seconds}
        with self._connections.write(durable=False) as connection:
            if not insert_new(connection, cycle_steps, row):
                connection.execute(MORE_SECONDS, {"cycle": cycle_id, "of": step, "more": seconds})

    def close(self, report: CycleReport) -> bool:
        """Close a RUNNING cycle with its report; False when it was closed before."""
        with self._connections.write() as connection:
            row = cycle_row(connection, report.cycle_id, lock=True)
            if row.status is not CycleStatus.RUNNING:
                return False
            values = {
                "status": report.status,
                "finished_at": report.finished_at,
                "duration_s": report.duration_s,
                "symbols_selected": report.symbols.selected,
                "reason": report.reason,
                "report": dump(report),
            }
            _change(connection, report.cycle_id, values)
            drop_working_data(connection, report.cycle_id)
            return True


def _by_key(connection: Connection, key: str) -> AnyRow | None:
    return connection.execute(CYCLE_OF_KEY, {"key": key}).one_or_none()


def _change(connection: Connection, cycle_id: str, values: dict[str, Any]) -> None:
    change(connection, cycles, {"cycle_id": cycle_id}, values)


def _refuse_closed(row: AnyRow) -> None:
    if row.status is not CycleStatus.RUNNING:
        raise Refused(f"cycle {row.cycle_id} is {row.status}")


def _running(connection: Connection, cycle_id: str) -> AnyRow:
    row = cycle_row(connection, cycle_id, lock=True)
    _refuse_closed(row)
    return row


def _new_cycle(request: CycleRequest, times: CycleTimes, config_hash: str) -> dict[str, Any]:
    return {
        "cycle_id": cycle_id_of(request.key, times.started_at),
        "key": request.key,
        "trigger": request.trigger,
        "scheduled_at": request.scheduled_at,
        **msgspec.structs.asdict(times),
        "config_hash": config_hash,
        "dry_run": request.dry_run,
        "symbols": None if request.symbols is None else dump(request.symbols),
        "reason": "",
    }


def _clear_overdue(connection: Connection, now: datetime) -> str | None:
    """Abort RUNNING cycles past their deadline; the id of one that is within it, or None."""
    blocking = None
    for row in connection.execute(RUNNING.with_for_update()).all():
        if now <= row.deadline_at:
            blocking = str(row.cycle_id)
            continue
        ended = {
            "status": CycleStatus.ABORTED,
            "finished_at": now,
            "duration_s": (now - row.started_at).total_seconds(),
            "reason": "it was still open past its deadline when the next cycle began",
        }
        _change(connection, row.cycle_id, ended)
        report = live_report(connection, cycle_row(connection, row.cycle_id))
        stored = {"report": dump(report), "symbols_selected": report.symbols.selected}
        _change(connection, row.cycle_id, stored)
        drop_working_data(connection, row.cycle_id)
    return blocking


def _opened(row: AnyRow, *, continues: bool) -> OpenedCycle:
    return OpenedCycle(
        cycle_id=row.cycle_id,
        epoch=row.epoch,
        status=row.status,
        times=cycle_times_of(row),
        dry_run=row.dry_run,
        symbols=None if row.symbols is None else texts(row.symbols),
        continues=continues,
        reason=row.reason,
    )


def _plan_of(row: AnyRow) -> CyclePlan:
    plan = load(zlib.decompress(row.plan), CyclePlan)
    return msgspec.structs.replace(plan, epoch=row.epoch)


def _open_cycle(connection: Connection, row: AnyRow) -> OpenCycle:
    return OpenCycle(
        cycle_id=row.cycle_id,
        key=row.key,
        epoch=row.epoch,
        trigger=row.trigger,
        times=cycle_times_of(row),
        planned_at=row.planned_at,
        allocated_at=row.allocated_at,
        batches=_batch_states(batch_rows(connection, row.cycle_id)),
        orders=orders_of_cycle(connection, row.cycle_id),
    )


def _batch_states(rows: Sequence[AnyRow]) -> tuple[BatchState, ...]:
    return tuple(
        BatchState(
            ref=BatchRef(cycle_id=row.cycle_id, batch=row.batch, symbols=texts(row.symbols)),
            held=row.held,
            tries=row.tries,
            claimed_by=row.claimed_by,
            claimed_at=row.claimed_at,
            reported_at=row.reported_at,
        )
        for row in rows
    )
