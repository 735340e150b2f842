"""A batch from its claim to its report: the steps one after another, in one process.

What a step makes stays in memory for the next one. A batch whose process dies is claimed again and
begins anew; until it has reported, nothing follows from what it did.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from engine.domain.cycle import (
    BatchInput,
    BatchRef,
    BatchReport,
    OutcomeStatus,
    Stage,
    SymbolOutcome,
)
from engine.domain.kept_inputs import Basis
from engine.pipeline import evaluate, fetch, risk
from engine.pipeline.steps import BatchWork
from engine.ports import Engine
from engine.telemetry import get_logger

log = get_logger(__name__)

Step = Callable[[Engine, BatchInput, BatchWork], BatchWork]
Around = Callable[[Stage], AbstractContextManager[object]]

STEPS: tuple[tuple[Stage, Step], ...] = (
    (Stage.FETCH, fetch.run),
    (Stage.EVALUATE, evaluate.run),
    (Stage.RISK, risk.run),
)


def _nothing_around(_: Stage) -> AbstractContextManager[object]:
    return nullcontext()


def run(engine: Engine, ref: BatchRef, around: Around = _nothing_around) -> bool:
    """Claim the batch, take its steps and report it; whether this report is the one that counts.

    Each step is taken inside `around(step)`. Nothing happens when the batch reported before, was
    claimed too often, or its cycle is not RUNNING any more.
    """
    given = engine.ledger.cycles.claim(ref, engine.worker, engine.clock.now())
    if given is None:
        log.info("batch_not_claimed")
        return False
    work = BatchWork(symbols=given.ref.symbols)
    for step, take in STEPS:
        with around(step):
            work = take(engine, given, work)
    report = report_of(given.ref, work)
    mine = engine.settings.trading_engine
    basis = Basis(mine.default_timeframe, mine.timeframe_s, work.basis)
    is_first = engine.ledger.cycles.report(report, engine.clock.now(), basis)
    if is_first:
        _tell(report, work)
    else:
        log.info("batch_reported_before")
    return is_first


def _tell(report: BatchReport, work: BatchWork) -> None:
    """The batch in one line, for a cycle has hundreds of them."""
    statuses = [(outcome.stage, outcome.status) for outcome in report.outcomes]
    log.info(
        "batch_reported",
        symbols=len(statuses),
        unchanged=statuses.count((Stage.FETCH, OutcomeStatus.OK)),
        skipped=sum(status is OutcomeStatus.SKIPPED for _, status in statuses),
        new_candles=work.new_candles,
        signals_kept=len(work.kept),
        signals_dropped=len(work.dropped),
        candidates=len(work.candidates),
        denied=len(work.denied),
        seconds=work.seconds,
    )


def report_of(ref: BatchRef, work: BatchWork) -> BatchReport:
    """What the work came to: an outcome for each symbol of the batch, signals, candidates."""
    outcomes = {outcome.symbol: outcome for outcome in work.outcomes}
    for symbol in work.symbols:
        if symbol not in outcomes:
            outcomes[symbol] = SymbolOutcome(
                symbol=symbol, batch=ref.batch, stage=Stage.RISK, status=OutcomeStatus.OK
            )
    return BatchReport(
        cycle_id=ref.cycle_id,
        batch=ref.batch,
        outcomes=tuple(outcomes.values()),
        signals_kept=work.kept,
        signals_dropped=work.dropped,
        candidates=work.candidates,
        denied=work.denied,
        degraded=work.degraded,
        step_seconds=work.seconds,
    )
