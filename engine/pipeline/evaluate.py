"""Step 2 of a batch: candles to the strategy engine, signals back, the weak ones dropped."""

from __future__ import annotations

from collections.abc import Sequence

from engine.domain.candles import Candles
from engine.domain.cycle import BatchInput, Degradation, Stage
from engine.domain.kept_inputs import DecisionSettings, EvaluateInputs, StepBasis
from engine.domain.messages import EvaluateAnswer
from engine.domain.model import Action, Signal
from engine.domain.signals import NOT_NEWEST, FilteredSignals, filter_signals
from engine.errors import ServiceError
from engine.pipeline.steps import (
    BatchWork,
    Stopwatch,
    bounded,
    positions_of,
    skipped,
)
from engine.ports import Engine
from engine.telemetry import get_logger

log = get_logger(__name__)


def run(engine: Engine, given: BatchInput, work: BatchWork) -> BatchWork:
    """Evaluate every strategy on every symbol of the work that has candles."""
    watch = Stopwatch()
    if not work.symbols:
        return work
    try:
        with bounded(engine, given.times, Stage.EVALUATE):
            answer = _ask(engine, given, work.candles)
    except ServiceError as error:
        _cache(engine, work)
        return _unanswered(given, work, error, watch)
    _cache(engine, work, _quiet(engine, given, work, answer))
    found = filtered(engine.decided, given, answer.signals, work.candles)
    for dropped in found.dropped:
        log.debug("signal_dropped", symbol=dropped.signal.symbol, reason=dropped.reason)
    return work.after(
        Stage.EVALUATE,
        watch,
        outcomes=work.outcomes + skipped(given.ref.batch, Stage.EVALUATE, answer.errors),
        degraded=work.degraded + _outdated(found),
        kept=found.kept,
        dropped=found.dropped,
        basis={Stage.EVALUATE: StepBasis(work.candles, EvaluateInputs())},
    )


def _unanswered(
    given: BatchInput,
    work: BatchWork,
    error: ServiceError,
    watch: Stopwatch,
) -> BatchWork:
    """Without signals the batch goes on: protective exits need none."""
    reasons = dict.fromkeys(work.symbols, f"no signals: {error}")
    work = work.after(
        Stage.EVALUATE,
        watch,
        outcomes=work.outcomes + skipped(given.ref.batch, Stage.EVALUATE, reasons),
        degraded=(*work.degraded, Degradation(service=error.service, reason=error.detail)),
        basis={Stage.EVALUATE: StepBasis(work.candles, EvaluateInputs(answered=False))},
    )
    seconds = work.seconds[Stage.EVALUATE.value]
    log.warning("batch_not_evaluated", reason=str(error), seconds=seconds)
    return work


def _outdated(found: FilteredSignals) -> tuple[Degradation, ...]:
    """Signals about older candles are no answer to what was asked."""
    count = sum(dropped.reason.startswith(NOT_NEWEST) for dropped in found.dropped)
    if count == 0:
        return ()
    return (Degradation(service="strategy", reason=f"{count} signals about older candles"),)


def _quiet(
    engine: Engine, given: BatchInput, work: BatchWork, answer: EvaluateAnswer
) -> frozenset[str]:
    """What nobody had anything to say of is not asked about again before its next candle."""
    if not engine.settings.trading_engine.only_new_candles:
        return frozenset()
    said = {signal.symbol for signal in answer.signals if signal.action is not Action.HOLD}
    return frozenset(work.candles) - {*said, *answer.errors, *positions_of(given)}


def _cache(engine: Engine, work: BatchWork, quiet: frozenset[str] = frozenset()) -> None:
    """Candles that the cache has not, and what is quiet, in one go."""
    news = work.changed | quiet
    worth = {name: series for name, series in work.candles.items() if name in news}
    engine.cache.save(worth, engine.limits.timeframe, quiet, engine.settings_hash)


def _ask(engine: Engine, given: BatchInput, candles: dict[str, Candles]) -> EvaluateAnswer:
    choices, timeframe = engine.decided.strategies, engine.limits.timeframe
    positions = list(positions_of(given).values())
    input_id = f"{given.ref.cycle_id}/{given.ref.batch}"
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
