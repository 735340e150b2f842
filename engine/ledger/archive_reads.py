"""A closed cycle with everything that its decisions were made from; and how such things age."""

from __future__ import annotations

import zlib
from typing import Any, TypeVar

import msgspec
from sqlalchemy import BindParameter, Connection, Select, bindparam, delete, func, select

from engine.domain.cycle import BatchInput, BatchRef, CyclePlan, DroppedSignal, Stage
from engine.domain.kept_inputs import (
    AllocationRecord,
    DecisionSettings,
    EvaluateInputs,
    KeptBatch,
    KeptCycle,
    RiskInputs,
    Window,
)
from engine.domain.model import OrderIntent, RiskDecision, Signal, Value
from engine.errors import NotFound
from engine.ledger.archive_rows import NO_BATCH
from engine.ledger.column_types import AnyRow
from engine.ledger.cycle_facts import batch_rows, cycle_row
from engine.ledger.order_reads import orders_of_cycle
from engine.ledger.records import load, texts
from engine.ledger.schema import candidates, cycles, decisions, signals
from engine.ledger.schema_inputs import (
    candle_blocks,
    candle_series,
    decision_settings,
    step_inputs,
)

T = TypeVar("T")
CYCLE_ID: BindParameter[Any] = bindparam("cycle_id")
INPUTS = select(step_inputs.c.batch, step_inputs.c.step, step_inputs.c.data).where(
    step_inputs.c.cycle_id == CYCLE_ID
)
DECISIONS = (
    select(decisions.c.stage, decisions.c.payload)
    .where(decisions.c.cycle_id == CYCLE_ID)
    .order_by(decisions.c.number)
)
CANDIDATES = (
    select(candidates.c.batch, candidates.c.payload)
    .where(candidates.c.cycle_id == CYCLE_ID)
    .order_by(candidates.c.number)
)
PLAN = select(cycles.c.plan).where(cycles.c.cycle_id == CYCLE_ID)
SIGNALS = select(signals).where(signals.c.cycle_id == CYCLE_ID).order_by(signals.c.number)

Inputs = dict[tuple[int, Stage], bytes]


class _Windows(Value, frozen=True, kw_only=True):
    """The part of a step's inputs that says where its candles lie."""

    windows: tuple[Window, ...]


def kept_cycle(connection: Connection, cycle_id: str) -> KeptCycle:
    """A cycle's inputs and decisions. Raises NotFound, with the reason, where they are not kept."""
    row = cycle_row(connection, cycle_id)
    kept_plan = connection.execute(PLAN, {"cycle_id": cycle_id}).scalar_one()
    if kept_plan is None:
        raise NotFound(f"cycle {cycle_id} is {row.status}: nothing is kept of what it decided on")
    plan = msgspec.structs.replace(load(zlib.decompress(kept_plan), CyclePlan), epoch=row.epoch)
    found: Inputs = {
        (kept.batch, kept.step): bytes(kept.data)
        for kept in connection.execute(INPUTS, {"cycle_id": cycle_id})
    }
    made = connection.execute(DECISIONS, {"cycle_id": cycle_id}).all()
    decided = [(stage, load(payload, RiskDecision)) for stage, payload in made]
    return KeptCycle(
        plan=plan,
        settings=_settings(connection, row),
        batches=_batches(connection, plan, found, decided),
        allocation=_decoded(found, NO_BATCH, Stage.ALLOCATE, AllocationRecord),
        decisions=tuple(each for stage, each in decided if stage is Stage.ALLOCATE),
        orders=orders_of_cycle(connection, cycle_id),
    )


def _settings(connection: Connection, row: AnyRow) -> DecisionSettings:
    chosen = select(decision_settings.c.payload).where(
        decision_settings.c.config_hash == row.config_hash
    )
    payload = connection.execute(chosen).scalar()
    if payload is None:
        raise NotFound(f"the settings of cycle {row.cycle_id} are not kept")
    return load(payload, DecisionSettings)


def _decoded(found: Inputs, batch: int, step: Stage, kind: type[T]) -> T | None:
    data = found.get((batch, step))
    return None if data is None else load(zlib.decompress(data), kind)


def _batches(
    connection: Connection,
    plan: CyclePlan,
    found: Inputs,
    decided: list[tuple[Stage, RiskDecision]],
) -> tuple[KeptBatch, ...]:
    intents = connection.execute(CANDIDATES, {"cycle_id": plan.cycle_id}).all()
    heard = connection.execute(SIGNALS, {"cycle_id": plan.cycle_id}).all()
    denied = [decision for stage, decision in decided if stage is Stage.RISK]
    return tuple(
        KeptBatch(
            given=_given(plan, row),
            included=row.included,
            evaluate=_decoded(found, row.batch, Stage.EVALUATE, EvaluateInputs),
            risk=_decoded(found, row.batch, Stage.RISK, RiskInputs),
            kept=tuple(
                load(each.payload, Signal)
                for each in heard
                if each.batch == row.batch and each.kept
            ),
            dropped=tuple(
                DroppedSignal(signal=load(each.payload, Signal), reason=each.reason)
                for each in heard
                if each.batch == row.batch and not each.kept
            ),
            candidates=tuple(
                load(each.payload, OrderIntent) for each in intents if each.batch == row.batch
            ),
            denied=tuple(each for each in denied if each.intent.symbol in texts(row.symbols)),
        )
        for row in batch_rows(connection, plan.cycle_id)
        if row.reported_at is not None and not row.failed
    )


def _given(plan: CyclePlan, row: AnyRow) -> BatchInput:
    """What the batch's steps were given of the plan."""
    symbols = frozenset(texts(row.symbols))
    snapshot = plan.snapshot
    if snapshot is not None:
        held = tuple(each for each in snapshot.positions if each.symbol in symbols)
        snapshot = msgspec.structs.replace(snapshot, positions=held)
    return BatchInput(
        ref=BatchRef(cycle_id=plan.cycle_id, batch=row.batch, symbols=texts(row.symbols)),
        epoch=plan.epoch,
        times=plan.times,
        clock=plan.clock,
        market_time=plan.market_time,
        dry_run=plan.dry_run,
        trading_state=plan.trading_state,
        may_enter=plan.may_enter,
        instruments=tuple(each for each in plan.instruments if each.symbol in symbols),
        snapshot=snapshot,
    )


def windows_of(connection: Connection, cycle_id: str, symbol: str) -> tuple[Window, ...]:
    """Where the candles are kept that this cycle judged a symbol on; the newest step's first.

    Nothing for a symbol that was not judged, or once the cycle's inputs have aged.
    """
    found = connection.execute(INPUTS, {"cycle_id": cycle_id}).all()
    judged = [row for row in found if row.step is not Stage.ALLOCATE]
    later_first = sorted(judged, key=lambda row: row.step is not Stage.RISK)
    parts = (load(zlib.decompress(row.data), _Windows).windows for row in later_first)
    return tuple(window for part in parts for window in part if window.symbol == symbol)


def prune_archive(connection: Connection, old: Select[tuple[str]]) -> None:
    """Delete the inputs of these cycles, and candles that no other cycle's inputs reach back to."""
    connection.execute(delete(step_inputs).where(step_inputs.c.cycle_id.in_(old)))
    oldest = connection.execute(select(func.min(step_inputs.c.oldest))).scalar()
    for table in (candle_blocks, candle_series):
        gone = delete(table)
        if oldest is not None:
            gone = gone.where(table.c.newest < oldest)
        connection.execute(gone)
