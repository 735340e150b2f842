"""Batches of a cycle: their claims, and the one report of each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Connection, bindparam, select

from engine.domain.cycle import (
    BatchInput,
    BatchRef,
    BatchReport,
    CyclePlan,
    CycleStatus,
    Stage,
    SymbolOutcome,
)
from engine.domain.kept_inputs import Basis, StepBasis, StepInputs, Window
from engine.domain.model import Instrument, OrderIntent, Position, RiskDecision, Value
from engine.failpoints import bug
from engine.ledger.archive_rows import Growth, save_inputs
from engine.ledger.column_types import AnyRow
from engine.ledger.connections import Connections
from engine.ledger.records import change, dump, insert_all, load, texts
from engine.ledger.schema import (
    batches,
    candidates,
    cycles,
    decisions,
    outcomes,
    signals,
)

CYCLE_ID: BindParameter[Any] = bindparam("cycle_id")
NUMBER: BindParameter[Any] = bindparam("batch")
CYCLE_STATUS = (
    select(cycles.c.status).where(cycles.c.cycle_id == CYCLE_ID).with_for_update(read=True)
)
OPEN_BATCH = (
    select(batches, cycles.c.epoch, cycles.c.header)
    .join(cycles, cycles.c.cycle_id == batches.c.cycle_id)
    .where(
        batches.c.cycle_id == CYCLE_ID,
        batches.c.batch == NUMBER,
        batches.c.reported_at.is_(None),
        cycles.c.status == CycleStatus.RUNNING,
    )
    .with_for_update(of=batches)
)
NOTHING = Basis("", 0)
SAME_BATCH = (batches.c.cycle_id == candidates.c.cycle_id) & (batches.c.batch == candidates.c.batch)
CANDIDATES = (
    select(candidates.c.payload)
    .join(batches, SAME_BATCH)
    .where(candidates.c.cycle_id == CYCLE_ID)
    .order_by(candidates.c.batch, candidates.c.number)
)
INCLUDED_CANDIDATES = CANDIDATES.where(batches.c.included)
PENDING = (
    select(batches.c.batch)
    .where(batches.c.cycle_id == CYCLE_ID, batches.c.reported_at.is_(None))
    .order_by(batches.c.batch)
)


class PlanSlice(Value, frozen=True, kw_only=True):
    """The part of a plan that one batch needs beside the header."""

    instruments: tuple[Instrument, ...]
    positions: tuple[Position, ...]


def plan_header(plan: CyclePlan) -> CyclePlan:
    """The plan without what grows with the number of symbols."""
    snapshot = plan.snapshot
    if snapshot is not None:
        snapshot = msgspec.structs.replace(snapshot, positions=())
    return msgspec.structs.replace(plan, instruments=(), batches=(), outcomes=(), snapshot=snapshot)


def batch_values(plan: CyclePlan) -> list[dict[str, Any]]:
    """The rows of a plan's batches."""
    known = {instrument.symbol: instrument for instrument in plan.instruments}
    held = {} if plan.snapshot is None else {p.symbol: p for p in plan.snapshot.positions}
    return [
        {
            "cycle_id": plan.cycle_id,
            "batch": batch.number,
            "held": batch.held,
            "symbols": dump(batch.symbols),
            "slice": dump(
                PlanSlice(
                    instruments=tuple(known[s] for s in batch.symbols if s in known),
                    positions=tuple(held[s] for s in batch.symbols if s in held),
                )
            ),
            "claimed_by": "",
            "tries": 0,
            "included": False,
            "failed": "",
            "degraded": "[]",
            "step_seconds": "{}",
        }
        for batch in plan.batches
    ]


def outcome_values(cycle_id: str, found: tuple[SymbolOutcome, ...]) -> list[dict[str, Any]]:
    """The rows of outcomes."""
    return [{"cycle_id": cycle_id, **msgspec.structs.asdict(outcome)} for outcome in found]


def decision_values(
    cycle_id: str, stage: Stage, found: tuple[RiskDecision, ...]
) -> list[dict[str, Any]]:
    """The rows of decisions."""
    return [
        {
            "cycle_id": cycle_id,
            "stage": stage,
            "decision_key": decision.intent.decision_key,
            "symbol": decision.intent.symbol,
            "verdict": decision.verdict,
            "binding_rule": decision.binding_rule,
            "payload": dump(decision),
        }
        for decision in found
    ]


def _signal_values(report: BatchReport) -> list[dict[str, Any]]:
    found = [(signal, True, "") for signal in report.signals_kept]
    found += [(dropped.signal, False, dropped.reason) for dropped in report.signals_dropped]
    return [
        {
            "cycle_id": report.cycle_id,
            "batch": report.batch,
            "symbol": signal.symbol,
            "strategy": signal.strategy,
            "candle_time": signal.candle_time,
            "kept": kept,
            "reason": reason,
            "payload": dump(signal),
        }
        for signal, kept, reason in found
    ]


def candidates_of(
    connection: Connection, cycle_id: str, *, included_only: bool = False
) -> tuple[OrderIntent, ...]:
    """Candidates of the reported batches of a cycle, or of those that the allocation took in."""
    chosen = INCLUDED_CANDIDATES if included_only else CANDIDATES
    payloads = connection.execute(chosen, {"cycle_id": cycle_id}).scalars()
    return tuple(load(payload, OrderIntent) for payload in payloads)


class BatchRows:
    """The part of CycleLedger that is about batches."""

    def __init__(self, connections: Connections, batch_tries: int) -> None:
        self._connections = connections
        self._batch_tries = batch_tries

    def claim(self, ref: BatchRef, worker: str, now: datetime) -> BatchInput | None:
        """Claim a batch. None: reported already, tries used up, or the cycle not RUNNING."""
        with self._connections.write(durable=False) as connection:
            row = _open_batch(connection, ref)
            if row is None:
                return None
            if row.tries >= self._batch_tries and not bug("unbounded_tries"):
                return None
            claimed = {"claimed_by": worker, "claimed_at": now, "tries": row.tries + 1}
            change(connection, batches, _this(ref), claimed)
            return _input(row)

    def report(self, report: BatchReport, now: datetime, basis: Basis | None = None) -> bool:
        """Store a batch's result and what it was decided on: the first wins.

        Of the candles what is not kept yet is. False for a later one, and when the cycle is not
        RUNNING any more.
        """
        ref = BatchRef(cycle_id=report.cycle_id, batch=report.batch, symbols=())
        values = {
            "reported_at": now,
            "failed": report.failed,
            "degraded": dump(report.degraded),
            "step_seconds": dump(report.step_seconds),
        }
        decided_on = NOTHING if basis is None else basis
        growth = Growth(decided_on.timeframe, decided_on.timeframe_s, decided_on.candles)
        with self._connections.write(durable=False) as connection:
            if _open_batch(connection, ref) is None:
                return False
            change(connection, batches, _this(ref), values)
            _insert_results(connection, report)
            save_inputs(connection, ref, _placed(decided_on.steps, growth.keep(connection)))
            return True

    def candidates(self, cycle_id: str) -> tuple[OrderIntent, ...]:
        """Candidates of all reported batches of a cycle."""
        with self._connections.read() as connection:
            return candidates_of(connection, cycle_id)

    def pending(self, cycle_id: str) -> tuple[int, ...]:
        """Numbers of the batches that have not reported."""
        with self._connections.read() as connection:
            return tuple(connection.execute(PENDING, {"cycle_id": cycle_id}).scalars())


def _this(ref: BatchRef) -> dict[str, Any]:
    return {"cycle_id": ref.cycle_id, "batch": ref.batch}


def _open_batch(connection: Connection, ref: BatchRef) -> AnyRow | None:
    """A batch of a RUNNING cycle that has not reported, locked; the cycle stays open too."""
    if connection.dialect.name != "sqlite":  # where one writes at a time, all is locked
        connection.execute(CYCLE_STATUS, {"cycle_id": ref.cycle_id})
    return connection.execute(OPEN_BATCH, _this(ref)).one_or_none()


def _input(row: AnyRow) -> BatchInput:
    header = load(row.header, CyclePlan)
    part = load(row.slice, PlanSlice)
    snapshot = header.snapshot
    if snapshot is not None:
        snapshot = msgspec.structs.replace(snapshot, positions=part.positions)
    ref = BatchRef(cycle_id=row.cycle_id, batch=row.batch, symbols=texts(row.symbols))
    return BatchInput(
        ref=ref,
        epoch=row.epoch,
        times=header.times,
        clock=header.clock,
        market_time=header.market_time,
        dry_run=header.dry_run,
        trading_state=header.trading_state,
        may_enter=header.may_enter,
        instruments=part.instruments,
        snapshot=snapshot,
    )


def _placed(
    steps: Mapping[Stage, StepBasis], windows: Mapping[str, Window]
) -> dict[Stage, StepInputs]:
    """The steps' inputs, with where their candles are kept."""
    return {
        stage: msgspec.structs.replace(
            step.inputs, windows=tuple(windows[symbol] for symbol in sorted(step.candles))
        )
        for stage, step in steps.items()
    }


def _insert_results(connection: Connection, report: BatchReport) -> None:
    cycle_id, number = report.cycle_id, report.batch
    insert_all(connection, outcomes, outcome_values(cycle_id, report.outcomes))
    insert_all(connection, signals, _signal_values(report))
    intents = [
        {
            "cycle_id": cycle_id,
            "batch": number,
            "decision_key": intent.decision_key,
            "payload": dump(intent),
        }
        for intent in report.candidates
    ]
    insert_all(connection, candidates, intents)
    insert_all(connection, decisions, decision_values(cycle_id, Stage.RISK, report.denied))


def drop_working_data(connection: Connection, cycle_id: str) -> None:
    """Delete what only a running cycle needs."""
    change(connection, batches, {"cycle_id": cycle_id}, {"slice": ""})
