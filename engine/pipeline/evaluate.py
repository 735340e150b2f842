"""Step 2 of a batch: candles to the strategy engine, signals back, the weak ones dropped."""

from __future__ import annotations

from engine.domain import signals
from engine.domain.cycle import BatchInput, BatchRef, Degradation, Stage
from engine.domain.messages import EvaluateAnswer, StrategyChoice
from engine.domain.model import Candles, Position
from engine.errors import ServiceError
from engine.pipeline.steps import (
    StepResult,
    Stopwatch,
    obtain_candles,
    save,
    skipped,
)
from engine.ports import Engine
from engine.settings import decision_limits
from engine.telemetry import get_logger

log = get_logger(__name__)


def run(engine: Engine, ref: BatchRef) -> BatchRef:
    """Evaluate every strategy on every symbol of the reference, which goes on unchanged."""
    watch = Stopwatch()
    if not ref.claimed or not ref.symbols:
        return ref
    given = engine.ledger.cycles.continue_batch(ref, engine.worker, engine.clock.now())
    if given is None:
        return ref
    candles, lost = _candles(engine, given, ref)
    positions = _positions(given)
    try:
        answer = _ask(engine, ref, candles, list(positions.values()))
    except ServiceError as error:
        reason = Degradation(service=error.service, reason=error.detail)
        why = dict.fromkeys(candles, f"no signals: {error}")
        outcomes = skipped(ref, Stage.EVALUATE, {**lost, **why})
        save(engine, ref, Stage.EVALUATE, StepResult(outcomes=outcomes, degraded=(reason,)), watch)
        log.warning("batch_not_evaluated", reason=str(error), seconds=watch.seconds())
        return ref
    filtered = _filter(engine, given, answer, candles, positions)
    result = StepResult(
        outcomes=skipped(ref, Stage.EVALUATE, {**lost, **answer.errors}),
        kept=filtered.kept,
        dropped=filtered.dropped,
    )
    save(engine, ref, Stage.EVALUATE, result, watch)
    for dropped in filtered.dropped:
        log.debug("signal_dropped", symbol=dropped.signal.symbol, reason=dropped.reason)
    log.info(
        "batch_evaluated",
        symbols=len(candles),
        kept=len(filtered.kept),
        dropped=len(filtered.dropped),
        seconds=watch.seconds(),
    )
    return ref


def _candles(
    engine: Engine, given: BatchInput, ref: BatchRef
) -> tuple[dict[str, Candles], dict[str, str]]:
    """The cached candles; what the cache lost since the fetch is obtained again."""
    cached = engine.cache.load(ref.symbols, engine.settings.trading_engine.default_timeframe)
    missing = [symbol for symbol in ref.symbols if symbol not in cached]
    if not missing:
        return cached, {}
    obtained = obtain_candles(engine, given, missing)
    return {**cached, **obtained.good}, obtained.faults


def _positions(given: BatchInput) -> dict[str, Position]:
    if given.snapshot is None:
        return {}
    return {held.symbol: held for held in given.snapshot.positions}


def _ask(
    engine: Engine, ref: BatchRef, candles: dict[str, Candles], positions: list[Position]
) -> EvaluateAnswer:
    choices = [
        StrategyChoice(id=entry.id, name=entry.name, parameters=dict(entry.parameters))
        for entry in engine.settings.services.strategy.strategies
    ]
    timeframe = engine.settings.trading_engine.default_timeframe
    input_id = f"{ref.cycle_id}/{ref.batch}"
    return engine.strategy.evaluate(timeframe, choices, candles, positions, input_id)


def _filter(
    engine: Engine,
    given: BatchInput,
    answer: EvaluateAnswer,
    candles: dict[str, Candles],
    positions: dict[str, Position],
) -> signals.FilteredSignals:
    limits = decision_limits(engine.settings)
    return signals.filter_signals(
        answer.signals,
        strategies=[entry.id for entry in engine.settings.services.strategy.strategies],
        min_confidence=limits.min_confidence,
        ttl_s=limits.risk.signal_ttl_s,
        timeframe_s=limits.timeframe_s,
        market_time=given.market_time,
        newest={symbol: int(series.time[-1]) for symbol, series in candles.items()},
        positions=positions,
    )
