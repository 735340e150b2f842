"""The tasks of a batch: parse, call the pipeline, dump. A header member never raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from engine import failpoints
from engine.domain.cycle import BatchRef, BatchReport
from engine.errors import TradingError
from engine.pipeline import evaluate, execute, fetch, risk
from engine.ports import Engine
from engine.telemetry import bind, get_logger
from tasks.app import app, settings
from tasks.process import engine

log = get_logger(__name__)

Reference = dict[str, Any]


def _step(run: Callable[[Engine, BatchRef], BatchRef], reference: Reference) -> Reference:
    """Run one step; whatever goes wrong is the batch's report, for the barrier must be reached."""
    ref = msgspec.convert(reference, BatchRef)
    with bind(cycle_id=ref.cycle_id, batch=ref.batch):
        try:
            ref = run(engine(), ref)
        except Exception as error:  # noqa: BLE001 - failure is data: the chord's body must fire
            _report_failure(ref, error)
            ref = BatchRef(cycle_id=ref.cycle_id, batch=ref.batch, symbols=(), claimed=False)
    reached: Reference = msgspec.to_builtins(ref)
    return reached


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


@app.task(name="batch.fetch")
def fetch_candles(reference: Reference) -> Reference:
    """Candles of a batch into the cache."""
    failpoints.reach("B0", _subject(reference))
    return _step(fetch.run, reference)


@app.task(name="batch.evaluate")
def evaluate_strategies(reference: Reference) -> Reference:
    """Signals of a batch."""
    evaluated = _step(evaluate.run, reference)
    failpoints.reach("B1", _subject(reference))
    return evaluated


@app.task(name="batch.risk")
def assess_risk(reference: Reference) -> Reference:
    """Sizes and per-symbol rules of a batch; its report."""
    return _step(risk.run, reference)


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
