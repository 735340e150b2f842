"""Step 3 of a batch: protective exits, sizes, per-symbol rules; the batch's one report."""

from __future__ import annotations

from engine.domain import candidates
from engine.domain.candidates import Desk, Gathered
from engine.domain.cycle import (
    BatchInput,
    BatchRef,
    BatchReport,
    DroppedSignal,
    OutcomeStatus,
    Stage,
    SymbolFacts,
    SymbolOutcome,
)
from engine.domain.kept_inputs import RiskInputs
from engine.domain.limits import Limits
from engine.domain.model import Candles, Signal
from engine.pipeline.steps import StepResult, Stopwatch, kept, load
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
    facts, candles = _read(engine, given, evaluated)
    inputs = RiskInputs(facts=tuple(facts.values()), windows=kept(engine, candles))
    desk = desk_of(given, facts, candles, decision_limits(engine.settings))
    found = candidates.gather(desk, evaluated.kept)
    seconds = {
        Stage.FETCH.value: fetch_seconds,
        Stage.EVALUATE.value: evaluate_seconds,
        Stage.RISK.value: watch.seconds(),
    }
    report = _report(ref, found, fetched, evaluated, seconds)
    first = engine.ledger.cycles.report(report, engine.clock.now(), inputs)
    log.info(
        "batch_assessed",
        candidates=len(report.candidates),
        denied=len(report.denied),
        first_report=first,
        seconds=watch.seconds(),
    )
    return ref


def _read(
    engine: Engine, given: BatchInput, evaluated: StepResult
) -> tuple[dict[str, SymbolFacts], dict[str, Candles]]:
    """Read what the rules need, of the symbols that matter only."""
    held = [] if given.snapshot is None else [each.symbol for each in given.snapshot.positions]
    signalled = [signal.symbol for signal in evaluated.kept]
    symbols = sorted({*held, *signalled})
    if not symbols:
        return {}, {}
    facts = engine.ledger.orders.symbol_facts(symbols, given.market_time)
    timeframe = engine.settings.trading_engine.default_timeframe
    return facts, engine.cache.load(symbols, timeframe)


def desk_of(
    given: BatchInput,
    facts: dict[str, SymbolFacts],
    candles: dict[str, Candles],
    limits: Limits,
) -> Desk:
    """What a batch's candidates are judged on."""
    return Desk(
        snapshot=given.snapshot,
        facts=facts,
        candles=candles,
        instruments={item.symbol: item for item in given.instruments},
        limits=limits,
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
    left, dropped = signals_of(found, evaluated.kept, evaluated.dropped)
    return BatchReport(
        cycle_id=ref.cycle_id,
        batch=ref.batch,
        outcomes=tuple(outcomes.values()),
        signals_kept=left,
        signals_dropped=dropped,
        candidates=tuple(found.candidates),
        denied=tuple(found.denied),
        degraded=fetched.degraded + evaluated.degraded,
        step_seconds=seconds,
    )


def signals_of(
    found: Gathered, kept: tuple[Signal, ...], dropped: tuple[DroppedSignal, ...]
) -> tuple[tuple[Signal, ...], tuple[DroppedSignal, ...]]:
    """Signals that led on, and every dropped one, also those that a leaving position ruled out."""
    gone = {entry.signal for entry in found.dropped}
    return tuple(signal for signal in kept if signal not in gone), (*dropped, *found.dropped)
