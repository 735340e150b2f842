"""What the batch's steps share: their timing, and what they hand on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from engine.call_deadline import calls_within
from engine.domain.candles import Candles
from engine.domain.cycle import (
    BatchInput,
    CycleTimes,
    Degradation,
    DroppedSignal,
    OutcomeStatus,
    Stage,
    SymbolOutcome,
)
from engine.domain.kept_inputs import StepBasis
from engine.domain.model import OrderIntent, Position, RiskDecision, Signal
from engine.domain.timing import calls_until
from engine.ports import Engine


class Stopwatch:
    """Seconds since it was made; a duration, so that the monotonic clock serves."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds so far, to the tenth of a millisecond."""
        return round(time.perf_counter() - self._started, 4)


@dataclass(frozen=True)
class BatchWork:
    """What the steps of a batch hand on in memory; each gives a fuller one.

    `symbols` are still to be decided on, `candles` the good ones, `changed` those of them that the
    cache does not have like this, `new_candles` how many candles came; `basis` is what each step's
    results follow from, kept with the report so that they can be decided again.
    """

    symbols: tuple[str, ...]
    candles: dict[str, Candles] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    new_candles: int = 0
    outcomes: tuple[SymbolOutcome, ...] = ()
    degraded: tuple[Degradation, ...] = ()
    kept: tuple[Signal, ...] = ()
    dropped: tuple[DroppedSignal, ...] = ()
    candidates: tuple[OrderIntent, ...] = ()
    denied: tuple[RiskDecision, ...] = ()
    basis: dict[Stage, StepBasis] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def after(self, step: Stage, watch: Stopwatch, **changes: Any) -> BatchWork:
        """This work with what a step made of it, and how long that took."""
        return replace(self, seconds={**self.seconds, step.value: watch.seconds()}, **changes)


@contextmanager
def bounded(engine: Engine, times: CycleTimes, step: Stage) -> Iterator[None]:
    """Let the step's calls end early enough for what comes after it in the cycle."""
    left_s = (calls_until(times, step) - engine.clock.now()).total_seconds()
    with calls_within(left_s):
        yield


def positions_of(given: BatchInput) -> dict[str, Position]:
    """What is held of the batch's symbols, as far as it is known."""
    if given.snapshot is None:
        return {}
    return {held.symbol: held for held in given.snapshot.positions}


def skipped(batch: int, stage: Stage, reasons: dict[str, str]) -> tuple[SymbolOutcome, ...]:
    """A SKIPPED outcome for each symbol with its reason."""
    return tuple(
        SymbolOutcome(
            symbol=symbol,
            batch=batch,
            stage=stage,
            status=OutcomeStatus.SKIPPED,
            reason=reason,
        )
        for symbol, reason in sorted(reasons.items())
    )
