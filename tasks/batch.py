"""The tasks of a batch: parse, call the pipeline. A header member never raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from celery import Task

from engine import failpoints
from engine.domain.cycle import BatchRef, BatchReport, Stage
from engine.errors import TradingError
from engine.pipeline import batch, execute
from engine.telemetry import bind, get_logger
from tasks.app import app, settings
from tasks.process import engine
from tasks.step_events import StepEvents, telling

log = get_logger(__name__)

Reference = dict[str, Any]


def _subject(reference: Reference) -> str:
    return f"{reference.get('cycle_id')}/{reference.get('batch')}"


def _report_failure(ref: BatchRef, error: Exception) -> None:
    log.error("batch_failed", exc_info=not isinstance(error, TradingError), detail=str(error))
    reason = str(error) if isinstance(error, TradingError) else type(error).__name__
    report = BatchReport(cycle_id=ref.cycle_id, batch=ref.batch, outcomes=(), failed=reason)
    try:
        here = engine()
        here.ledger.cycles.report(report, here.clock.now())
    except TradingError as unavailable:
        log.error("batch_not_reported", detail=str(unavailable))  # noqa: TRY400 - no trace needed


@app.task(name="batch.run", bind=True)
def run_batch(self: Task, reference: Reference) -> bool:
    """Fetch, evaluate and assess a batch; whether its report is the one that counts."""
    failpoints.reach("B0", _subject(reference))
    ref = msgspec.convert(reference, BatchRef)
    with bind(cycle_id=ref.cycle_id, batch=ref.batch), telling(self) as told:
        try:
            return batch.run(engine(), ref, _around(told, _subject(reference)))
        except Exception as error:  # noqa: BLE001 - failure is data: the chord's body must fire
            _report_failure(ref, error)
            return False


def _around(told: StepEvents, subject: str) -> batch.Around:
    """What the outside sees of a step: Flower its name and time, a fault test its end."""

    @contextmanager
    def around(step: Stage) -> Iterator[None]:
        with told.step(f"batch.{step.value}"):
            yield
        if step is Stage.EVALUATE:
            failpoints.reach("B1", subject)

    return around


@app.task(name="batch.execute")
def execute_orders(cycle_id: str, client_order_ids: list[str]) -> int:
    """Send the orders named; how many times the execution service was asked."""
    with bind(cycle_id=cycle_id):
        try:
            limit_s = settings.celery.soft_time_limit_s
            asked = execute.run(engine(), cycle_id, client_order_ids, limit_s)
        except TradingError as error:
            log.error("orders_not_executed", detail=str(error))  # noqa: TRY400 - no trace needed
            return 0
        failpoints.reach("B7")
        return asked
