"""A cycle that ran, decided again from what was kept of it, by the functions that decided then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from engine.domain import candidates
from engine.domain.candles import Candles
from engine.domain.cycle import DroppedSignal
from engine.domain.kept_inputs import DecisionSettings, KeptBatch, KeptCycle, Window
from engine.domain.model import Order, OrderIntent, RiskDecision, Signal
from engine.errors import NotFound
from engine.pipeline import allocate, evaluate, risk
from engine.pipeline.steps import positions_of
from replay.judging import holding_of
from services.strategy.evaluation import Asked, Subject, judge_symbol
from services.strategy.registry import Registry

Reader = Callable[[Window], Candles]


@dataclass(frozen=True)
class Decided:
    """What a cycle decided, in the order in which it was decided."""

    kept: tuple[Signal, ...]
    dropped: tuple[DroppedSignal, ...]
    candidates: tuple[OrderIntent, ...]
    denied: tuple[RiskDecision, ...]
    decisions: tuple[RiskDecision, ...]
    orders: tuple[Order, ...]


@dataclass(frozen=True)
class _Batch:
    """What one batch decided."""

    kept: tuple[Signal, ...]
    dropped: tuple[DroppedSignal, ...]
    candidates: tuple[OrderIntent, ...]
    denied: tuple[RiskDecision, ...]


def decided_then(cycle: KeptCycle) -> Decided:
    """What the ledger says was decided. Of an order what was frozen: its fate came later."""
    return _together(
        [_Batch(b.kept, b.dropped, b.candidates, b.denied) for b in cycle.batches],
        cycle.decisions,
        cycle.orders,
    )


def strategies_of(settings: DecisionSettings, registry: Registry) -> list[Asked] | None:
    """The strategies that judged, or None where one of them is not known here."""
    asked = []
    for choice in settings.strategies:
        strategy = registry.strategies.get(choice.name)
        if strategy is None:
            return None
        parameters = strategy.parse(dict(choice.parameters))
        asked.append(Asked(choice.id, strategy, parameters, strategy.needs(parameters)))
    return asked


def decided_again(cycle: KeptCycle, read: Reader, asked: Sequence[Asked] | None) -> Decided:
    """What the same inputs lead to now. Raises NotFound for an input that is not kept.

    `asked` are the strategies; None: their signals are taken as they came.
    """
    batches = [_batch(cycle.settings, batch, read, asked) for batch in cycle.batches]
    record = cycle.allocation
    taking_part = tuple(
        intent
        for batch, again in zip(cycle.batches, batches, strict=True)
        if batch.included
        for intent in again.candidates
    )
    if record is None:
        if taking_part:
            raise NotFound("the inputs of the allocation are not kept")
        return _together(batches, (), ())
    facts = msgspec.structs.replace(record.facts, candidates=taking_part)
    made = allocate.decided(cycle.plan, record.inputs, facts, cycle.settings.limits)
    return _together(batches, made.decisions, () if cycle.plan.dry_run else made.orders)


def _together(
    batches: list[_Batch], decisions: tuple[RiskDecision, ...], orders: tuple[Order, ...]
) -> Decided:
    return Decided(
        kept=tuple(each for batch in batches for each in batch.kept),
        dropped=tuple(each for batch in batches for each in batch.dropped),
        candidates=tuple(each for batch in batches for each in batch.candidates),
        denied=tuple(each for batch in batches for each in batch.denied),
        decisions=decisions,
        orders=orders,
    )


def _batch(
    settings: DecisionSettings, batch: KeptBatch, read: Reader, asked: Sequence[Asked] | None
) -> _Batch:
    """Evaluate and risk of one batch."""
    kept: tuple[Signal, ...] = ()
    dropped: tuple[DroppedSignal, ...] = ()
    if batch.evaluate is not None and batch.evaluate.answered:
        series = {window.symbol: read(window) for window in batch.evaluate.windows}
        signals = _signals(settings, batch, series, asked)
        found = evaluate.filtered(settings, batch.given, signals, series)
        kept, dropped = found.kept, found.dropped
    if batch.risk is None:
        raise NotFound(f"the inputs of batch {batch.given.ref.batch} are not kept")
    desk = risk.desk_of(
        batch.given,
        {each.symbol: each for each in batch.risk.facts},
        {window.symbol: read(window) for window in batch.risk.windows},
        settings.limits,
    )
    gathered = candidates.gather(desk, kept)
    left, gone = risk.signals_of(gathered, kept, dropped)
    return _Batch(left, gone, tuple(gathered.candidates), tuple(gathered.denied))


def _signals(
    settings: DecisionSettings,
    batch: KeptBatch,
    series: Mapping[str, Candles],
    asked: Sequence[Asked] | None,
) -> list[Signal]:
    """What the strategies say of the candles, or what they said then."""
    if asked is None:
        return [*batch.kept, *(entry.signal for entry in batch.dropped)]
    held = positions_of(batch.given)
    found: list[Signal] = []
    for symbol, candles in series.items():
        holding = holding_of(held.get(symbol))
        subject = Subject(symbol, candles, holding, settings.default_stop_atr)
        about, _ = judge_symbol(asked, subject)
        found += about
    return found
