"""The end of a cycle: settle, sum up, publish, close. Idempotent, and safe to call twice."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine import degraded_state, reconcile
from engine.domain import degraded
from engine.domain import report as reports
from engine.domain.cycle import CycleReport, Stage
from engine.domain.ledger_values import CycleFacts
from engine.domain.messages import MonitoringEvent
from engine.errors import ServiceError
from engine.pipeline.steps import Stopwatch, bounded
from engine.ports import Engine
from engine.telemetry import get_logger

log = get_logger(__name__)

SLOW_CYCLE_SHARE = 0.5


def run(engine: Engine, cycle_id: str) -> CycleReport:
    """Close the cycle and return its report. Raises NotFound for a cycle that never was.

    Leaves reconciliation to whoever is at it already.
    """
    watch = Stopwatch()
    closed = engine.ledger.cycles.closed(cycle_id)
    if closed is not None:
        return closed
    times = engine.ledger.cycles.times(cycle_id)
    if engine.clock.now() < times.deadline_at:
        # Past it the next cycle is near: what is open is left to the watchdog's reconciliation.
        with bounded(engine, times, Stage.FINISH):
            settled = reconcile.run_if_free(engine)
            if settled is None or not settled.clean:
                _refresh_account(engine)
    engine.ledger.cycles.add_step_seconds(cycle_id, Stage.FINISH, watch.seconds())
    facts = _explained(engine, engine.ledger.cycles.facts(cycle_id))
    report = reports.build_report(facts, finished_at=engine.clock.now())
    if not engine.ledger.cycles.close(report):
        return engine.ledger.cycles.facts(cycle_id).report
    _log(engine, report)
    publish(engine, [_event(report)])
    return report


def _explained(engine: Engine, facts: CycleFacts) -> CycleFacts:
    """What was degraded, with what followed from it and since when."""
    report = facts.report
    plan = engine.ledger.cycles.plan(report.cycle_id)
    batches = () if plan is None else plan.batches
    limits = engine.limits.quality
    distrusted = degraded.distrust(batches, facts.outcomes, limits)
    found = [*report.degraded]
    if distrusted is not None and all(entry.lowers is None for entry in found):
        found.append(distrusted)
        degraded_state.distrust_market(engine, distrusted)
    doubted = degraded.doubt(facts.orders)
    if doubted is not None and all(entry.service != doubted.service for entry in found):
        found.append(doubted)
    earlier = engine.ledger.cycles.latest(1)
    told = degraded.explained(found, earlier, report.started_at)
    return msgspec.structs.replace(facts, report=msgspec.structs.replace(report, degraded=told))


def _refresh_account(engine: Engine) -> None:
    """What the account is after the cycle's fills, for display; its loss costs nothing."""
    try:
        engine.ledger.state.save_snapshot(engine.portfolio.snapshot())
    except ServiceError as error:
        reconcile.latch_contradiction(engine, error)
        log.warning("account_not_refreshed", detail=str(error))


def publish(engine: Engine, events: Sequence[MonitoringEvent]) -> None:
    """Tell monitoring; trading never waits for it and never fails because of it."""
    try:
        engine.monitoring.publish(events)
    except ServiceError as error:
        log.warning("events_not_published", count=len(events), detail=str(error))


def _event(report: CycleReport) -> MonitoringEvent:
    return MonitoringEvent(
        event_id=f"cycle|{report.cycle_id}",
        type="cycle",
        at=report.finished_at or report.started_at,
        severity="info" if not report.degraded else "warning",
        cycle_id=report.cycle_id,
        data={
            "status": report.status.value,
            "duration_s": report.duration_s,
            "symbols": report.symbols.evaluated,
            "submitted": report.orders.submitted,
            "filled": report.orders.filled,
            "step_seconds": report.step_seconds,
        },
    )


def _log(engine: Engine, report: CycleReport) -> None:
    log.info(
        "cycle_finished",
        status=report.status.value,
        duration_s=report.duration_s,
        symbols=report.symbols.evaluated,
        signals_kept=report.signals.kept,
        orders_approved=report.orders.approved,
        orders_filled=report.orders.filled,
        orders_unknown=report.orders.unknown,
        degraded=[entry.service for entry in report.degraded],
    )
    budgets = engine.settings.timing.step_budget_s.model_dump()
    for step, seconds in report.step_seconds.items():
        if seconds > budgets[step]:
            log.warning("step_over_budget", step=step, seconds=seconds, budget=budgets[step])
    interval = engine.settings.trading_engine.cycle_interval
    if report.duration_s is not None and report.duration_s > SLOW_CYCLE_SHARE * interval:
        log.warning("cycle_slow", seconds=report.duration_s, interval=interval)
