"""Step 3 of a batch: protective exits, sizes, per-symbol rules; the batch's one report."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.domain import exits, sizing
from engine.domain import risk as rules
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
from engine.domain.limits import Limits
from engine.domain.model import (
    Action,
    Candles,
    Instrument,
    OrderIntent,
    Position,
    RiskDecision,
    Signal,
)
from engine.pipeline.steps import StepResult, Stopwatch, load
from engine.ports import Engine
from engine.settings import decision_limits
from engine.telemetry import get_logger

log = get_logger(__name__)


@dataclass
class _Desk:
    """One batch's candidates and refusals while they are gathered."""

    given: BatchInput
    limits: Limits
    facts: dict[str, SymbolFacts]
    candles: dict[str, Candles]
    instruments: dict[str, Instrument]
    candidates: list[OrderIntent] = field(default_factory=list)
    denied: list[RiskDecision] = field(default_factory=list)
    dropped: list[DroppedSignal] = field(default_factory=list)


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
    _gather(desk, evaluated)
    seconds = {
        Stage.FETCH.value: fetch_seconds,
        Stage.EVALUATE.value: evaluate_seconds,
        Stage.RISK.value: watch.seconds(),
    }
    report = _report(ref, desk, fetched, evaluated, seconds)
    first = engine.ledger.cycles.report(report, engine.clock.now())
    log.info(
        "batch_assessed",
        candidates=len(report.candidates),
        denied=len(report.denied),
        first_report=first,
        seconds=watch.seconds(),
    )
    return ref


def _desk(engine: Engine, given: BatchInput, evaluated: StepResult) -> _Desk:
    """Read what the rules need, of the symbols that matter only."""
    held = [position.symbol for position in _positions(given)]
    signalled = [signal.symbol for signal in evaluated.kept]
    symbols = sorted({*held, *signalled})
    facts: dict[str, SymbolFacts] = {}
    candles: dict[str, Candles] = {}
    if symbols:
        facts = engine.ledger.orders.symbol_facts(symbols, given.market_time)
        timeframe = engine.settings.trading_engine.default_timeframe
        candles = engine.cache.load(symbols, timeframe)
    return _Desk(
        given=given,
        limits=decision_limits(engine.settings),
        facts=facts,
        candles=candles,
        instruments={item.symbol: item for item in given.instruments},
    )


def _positions(given: BatchInput) -> tuple[Position, ...]:
    return given.snapshot.positions if given.snapshot is not None else ()


def _gather(desk: _Desk, evaluated: StepResult) -> None:
    """Exits first: a symbol that is left is not entered in the same cycle."""
    leaving = {signal.symbol: signal for signal in evaluated.kept if signal.action is Action.SELL}
    left: set[str] = set()
    for position in _positions(desk.given):
        intent = _exit(desk, position, leaving.get(position.symbol))
        if intent is not None:
            desk.candidates.append(intent)
            left.add(position.symbol)
    for signal in evaluated.kept:
        if signal.action is not Action.BUY:
            continue
        if signal.symbol in left:
            reason = "the position is being left"
            desk.dropped.append(DroppedSignal(signal=signal, reason=reason))
            continue
        _enter(desk, signal)


def _exit(desk: _Desk, position: Position, sell: Signal | None) -> OrderIntent | None:
    """The sale that a protective exit or the strategy calls for; None keeps the position."""
    facts = desk.facts.get(position.symbol)
    instrument = desk.instruments.get(position.symbol)
    if facts is None or instrument is None or position.quantity <= 0:
        return None
    touched = _touched(desk, position, facts)
    if touched is None and sell is None:
        return None
    intent = sizing.size_exit(
        position,
        instrument,
        account=desk.limits.account,
        reason=touched.reason if touched is not None else "signal",
        facts=facts,
        candle_time=touched.candle_time if touched is not None else 0,
        detail=touched.detail if touched is not None else "",
        signal=sell if touched is None else None,
    )
    return intent if intent.quantity > 0 else None


def _touched(desk: _Desk, position: Position, facts: SymbolFacts) -> exits.ProtectiveExit | None:
    candles = desk.candles.get(position.symbol)
    if candles is None:
        return None
    return exits.protective_exit(
        position,
        facts,
        candles,
        exits=desk.limits.exits,
        timeframe_s=desk.limits.timeframe_s,
        market_time=desk.given.market_time,
    )


def _enter(desk: _Desk, signal: Signal) -> None:
    """Size a buy and put it to the per-symbol rules."""
    snapshot = desk.given.snapshot
    facts = desk.facts.get(signal.symbol)
    instrument = desk.instruments.get(signal.symbol)
    candles = desk.candles.get(signal.symbol)
    if snapshot is None or facts is None or instrument is None or candles is None:
        reason = "the account is not known" if snapshot is None else "no candles or instrument"
        desk.dropped.append(DroppedSignal(signal=signal, reason=reason))
        return
    answer = rules.assess(
        sizing.size_entry(signal, instrument, snapshot, candles, desk.limits),
        facts,
        instrument,
        snapshot,
        desk.limits,
        market_time=desk.given.market_time,
        trading_state=desk.given.trading_state,
        may_enter=desk.given.may_enter,
    )
    if isinstance(answer, RiskDecision):
        desk.denied.append(answer)
    else:
        desk.candidates.append(answer)


def _report(
    ref: BatchRef,
    desk: _Desk,
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
    gone = {entry.signal for entry in desk.dropped}
    return BatchReport(
        cycle_id=ref.cycle_id,
        batch=ref.batch,
        outcomes=tuple(outcomes.values()),
        signals_kept=tuple(signal for signal in evaluated.kept if signal not in gone),
        signals_dropped=(*evaluated.dropped, *desk.dropped),
        candidates=tuple(desk.candidates),
        denied=tuple(desk.denied),
        degraded=fetched.degraded + evaluated.degraded,
        step_seconds=seconds,
    )
