"""Step 3 of a batch: protective exits, sizes, per-symbol rules; the batch's one report."""

from __future__ import annotations

from engine.domain import candidates
from engine.domain.candidates import Desk, Gathered
from engine.domain.cycle import (
    BatchInput,
    BatchRef,
    BatchReport,
    OutcomeStatus,
    Stage,
    SymbolFacts,
    SymbolOutcome,
)
from engine.domain.model import Candles
from engine.pipeline.steps import StepResult, Stopwatch, load
from engine.ports import Engine
from engine.settings import decision_limits
from engine.telemetry import get_logger

log = get_logger(__name__)


def run(engine: Engine, ref: BatchRef) -> BatchRef:
    """Turn signals and positions into candidates and report the batch."""
    watch = Stopwatch()
    if not ref.claimed:
        return ref
    given = engine.ledger.cycles.continue_batch(ref, engine.worker, engine.clock.now())
    if given is None:
        return ref
    fetched, fetch_seconds = load(engine, ref, Stage.FETCH)
    evaluated, evaluate_seconds = load(engine, ref, Stage.EVALUATE)
    desk = _desk(engine, given, evaluated)
    found = candidates.gather(desk, evaluated.kept)
    seconds = {
        Stage.FETCH.value: fetch_seconds,
        Stage.EVALUATE.value: evaluate_seconds,
        Stage.RISK.value: watch.seconds(),
    }
    report = _report(ref, found, fetched, evaluated, seconds)
    first = engine.ledger.cycles.report(report, engine.clock.now())
    log.info(
        "batch_assessed",
        candidates=len(report.candidates),
        denied=len(report.denied),
        first_report=first,
        seconds=watch.seconds(),
    )
    return ref


def _desk(engine: Engine, given: BatchInput, evaluated: StepResult) -> Desk:
    """Read what the rules need, of the symbols that matter only."""
    held = [] if given.snapshot is None else [each.symbol for each in given.snapshot.positions]
    signalled = [signal.symbol for signal in evaluated.kept]
    symbols = sorted({*held, *signalled})
    facts: dict[str, SymbolFacts] = {}
    candles: dict[str, Candles] = {}
    if symbols:
        facts = engine.ledger.orders.symbol_facts(symbols, given.market_time)
        timeframe = engine.settings.trading_engine.default_timeframe
        candles = engine.cache.load(symbols, timeframe)
    return Desk(
        snapshot=given.snapshot,
        facts=facts,
        candles=candles,
        instruments={item.symbol: item for item in given.instruments},
        limits=decision_limits(engine.settings),
        market_time=given.market_time,
        trading_state=given.trading_state,
        may_enter=given.may_enter,
    )


def _report(
    ref: BatchRef,
    found: Gathered,
    fetched: StepResult,
    evaluated: StepResult,
    seconds: dict[str, float],
) -> BatchReport:
    outcomes = {outcome.symbol: outcome for outcome in fetched.outcomes + evaluated.outcomes}
    for symbol in ref.symbols:
        if symbol not in outcomes:
            outcomes[symbol] = SymbolOutcome(
                symbol=symbol, batch=ref.batch, stage=Stage.RISK, status=OutcomeStatus.OK
            )
    gone = {entry.signal for entry in found.dropped}
    return BatchReport(
        cycle_id=ref.cycle_id,
        batch=ref.batch,
        outcomes=tuple(outcomes.values()),
        signals_kept=tuple(signal for signal in evaluated.kept if signal not in gone),
        signals_dropped=(*evaluated.dropped, *found.dropped),
        candidates=tuple(found.candidates),
        denied=tuple(found.denied),
        degraded=fetched.degraded + evaluated.degraded,
        step_seconds=seconds,
    )
