"""Step 2 of a batch: candles to the strategy engine, signals back, the weak ones dropped."""

from __future__ import annotations

from collections.abc import Sequence

from engine.domain.cycle import BatchInput, BatchRef, Degradation, Stage
from engine.domain.kept_inputs import DecisionSettings, EvaluateInputs
from engine.domain.messages import EvaluateAnswer
from engine.domain.model import Candles, Position, Signal
from engine.domain.signals import NOT_NEWEST, FilteredSignals, filter_signals
from engine.errors import ServiceError
from engine.pipeline.steps import (
    StepResult,
    Stopwatch,
    bounded,
    kept,
    obtain_candles,
    save,
    skipped,
)
from engine.ports import Engine
from engine.settings import decision_settings
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
    windows = kept(engine, candles)
    try:
        with bounded(engine, given.times, Stage.EVALUATE):
            answer = _ask(engine, ref, candles, list(positions_of(given).values()))
    except ServiceError as error:
        reason = Degradation(service=error.service, reason=error.detail)
        why = dict.fromkeys(candles, f"no signals: {error}")
        result = StepResult(
            outcomes=skipped(ref, Stage.EVALUATE, {**lost, **why}), degraded=(reason,)
        )
        unanswered = EvaluateInputs(windows=windows, answered=False)
        save(engine, ref, Stage.EVALUATE, result, watch, inputs=unanswered)
        log.warning("batch_not_evaluated", reason=str(error), seconds=watch.seconds())
        return ref
    found = filtered(decision_settings(engine.settings), given, answer.signals, candles)
    result = StepResult(
        outcomes=skipped(ref, Stage.EVALUATE, {**lost, **answer.errors}),
        kept=found.kept,
        dropped=found.dropped,
        degraded=_outdated(found),
    )
    save(engine, ref, Stage.EVALUATE, result, watch, inputs=EvaluateInputs(windows=windows))
    _tell(candles, found, watch)
    return ref


def _outdated(found: FilteredSignals) -> tuple[Degradation, ...]:
    """Signals about older candles are no answer to what was asked."""
    count = sum(dropped.reason.startswith(NOT_NEWEST) for dropped in found.dropped)
    if count == 0:
        return ()
    return (Degradation(service="strategy", reason=f"{count} signals about older candles"),)


def _tell(candles: dict[str, Candles], found: FilteredSignals, watch: Stopwatch) -> None:
    for dropped in found.dropped:
        log.debug("signal_dropped", symbol=dropped.signal.symbol, reason=dropped.reason)
    log.info(
        "batch_evaluated",
        symbols=len(candles),
        kept=len(found.kept),
        dropped=len(found.dropped),
        seconds=watch.seconds(),
    )


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


def positions_of(given: BatchInput) -> dict[str, Position]:
    """What is held of the batch's symbols, as far as it is known."""
    if given.snapshot is None:
        return {}
    return {held.symbol: held for held in given.snapshot.positions}


def _ask(
    engine: Engine, ref: BatchRef, candles: dict[str, Candles], positions: list[Position]
) -> EvaluateAnswer:
    choices = decision_settings(engine.settings).strategies
    timeframe = engine.settings.trading_engine.default_timeframe
    input_id = f"{ref.cycle_id}/{ref.batch}"
    return engine.strategy.evaluate(timeframe, choices, candles, positions, input_id)


def filtered(
    decided: DecisionSettings,
    given: BatchInput,
    found: Sequence[Signal],
    candles: dict[str, Candles],
) -> FilteredSignals:
    """The signals about a batch that may be acted on; pure, so that it can be asked again."""
    limits = decided.limits
    return filter_signals(
        found,
        strategies=[entry.id for entry in decided.strategies],
        min_confidence=limits.min_confidence,
        ttl_s=limits.risk.signal_ttl_s,
        timeframe_s=limits.timeframe_s,
        market_time=given.market_time,
        newest={symbol: int(series.time[-1]) for symbol, series in candles.items()},
        positions=positions_of(given),
    )
