"""Step 3 of a batch: protective exits, sizes, and the rules of each symbol."""

from __future__ import annotations

from engine.domain import candidates
from engine.domain.candidates import Desk, Gathered
from engine.domain.candles import Candles
from engine.domain.cycle import BatchInput, DroppedSignal, Stage, SymbolFacts
from engine.domain.kept_inputs import RiskInputs, StepBasis
from engine.domain.limits import Limits
from engine.domain.model import Signal
from engine.pipeline.steps import BatchWork, Stopwatch
from engine.ports import Engine


def run(engine: Engine, given: BatchInput, work: BatchWork) -> BatchWork:
    """Turn signals and positions into candidates."""
    watch = Stopwatch()
    symbols = _concerned(given, work)
    facts = engine.ledger.orders.symbol_facts(symbols, given.market_time) if symbols else {}
    candles = _candles(engine, work, symbols)
    basis = StepBasis(candles, RiskInputs(facts=tuple(facts.values())))
    found = candidates.gather(desk_of(given, facts, candles, engine.limits), work.kept)
    left, dropped = signals_of(found, work.kept, work.dropped)
    return work.after(
        Stage.RISK,
        watch,
        kept=left,
        dropped=dropped,
        candidates=tuple(found.candidates),
        denied=tuple(found.denied),
        basis={**work.basis, Stage.RISK: basis},
    )


def _concerned(given: BatchInput, work: BatchWork) -> list[str]:
    """What the rules may act on: what is held, and what has a signal."""
    held = [] if given.snapshot is None else [each.symbol for each in given.snapshot.positions]
    return sorted({*held, *(signal.symbol for signal in work.kept)})


def _candles(engine: Engine, work: BatchWork, symbols: list[str]) -> dict[str, Candles]:
    """Candles of these symbols; older ones, too, of what is held and was not fetched now."""
    known = {symbol: work.candles[symbol] for symbol in symbols if symbol in work.candles}
    missing = [symbol for symbol in symbols if symbol not in known]
    if not missing:
        return known
    timeframe = engine.settings.trading_engine.default_timeframe
    return {**known, **engine.cache.load(missing, timeframe)}


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


def signals_of(
    found: Gathered, kept: tuple[Signal, ...], dropped: tuple[DroppedSignal, ...]
) -> tuple[tuple[Signal, ...], tuple[DroppedSignal, ...]]:
    """Signals that led on, and every dropped one, also those that a leaving position ruled out."""
    gone = {entry.signal for entry in found.dropped}
    return tuple(signal for signal in kept if signal not in gone), (*dropped, *found.dropped)
