"""What the batch's steps share: their timing, what they hand on, and how candles are obtained."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from engine.call_deadline import calls_within
from engine.domain import quality
from engine.domain.cycle import (
    BatchInput,
    CycleTimes,
    Degradation,
    DroppedSignal,
    OutcomeStatus,
    Stage,
    SymbolOutcome,
)
from engine.domain.kept_inputs import StepInputs, Window
from engine.domain.model import Candles, OrderIntent, RiskDecision, Signal
from engine.domain.timing import calls_until
from engine.errors import ServiceError
from engine.ports import Engine

NEEDED_CANDLES = 2


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

    `symbols` are still to be decided on, `candles` the good ones; `inputs` is what a step's
    results follow from, kept with the report so that they can be found again.
    """

    symbols: tuple[str, ...]
    candles: dict[str, Candles] = field(default_factory=dict)
    outcomes: tuple[SymbolOutcome, ...] = ()
    degraded: tuple[Degradation, ...] = ()
    kept: tuple[Signal, ...] = ()
    dropped: tuple[DroppedSignal, ...] = ()
    candidates: tuple[OrderIntent, ...] = ()
    denied: tuple[RiskDecision, ...] = ()
    inputs: dict[Stage, StepInputs] = field(default_factory=dict)
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


@dataclass(frozen=True)
class ObtainedCandles:
    """Good candles, the fault of each symbol without, and what was degraded on the way."""

    good: dict[str, Candles]
    faults: dict[str, str]
    degraded: tuple[Degradation, ...] = ()
    asked: int = 0
    received: int = 0


def kept(engine: Engine, candles: dict[str, Candles]) -> tuple[Window, ...]:
    """Where the ledger keeps these candles, so that what they lead to can be decided again."""
    mine = engine.settings.trading_engine
    return engine.ledger.archive.keep(mine.default_timeframe, mine.timeframe_s, candles)


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


def obtain_candles(engine: Engine, given: BatchInput, symbols: Sequence[str]) -> ObtainedCandles:
    """Cached candles, extended by what is newer than the cache, judged, and cached again.

    A series that joins badly with its cached part is asked for once more as a whole.
    """
    timeframe = engine.settings.trading_engine.default_timeframe
    cached = engine.cache.load(symbols, timeframe)
    first = _ask(engine, given, symbols, cached)
    doubtful = [symbol for symbol in first.faults if symbol in cached]
    if doubtful and not first.degraded:
        again = _ask(engine, given, doubtful, {})
        faults = {**first.faults, **again.faults}
        first = ObtainedCandles(
            good={**first.good, **again.good},
            faults={symbol: why for symbol, why in faults.items() if symbol not in again.good},
            degraded=again.degraded,
            asked=first.asked + again.asked,
            received=first.received + again.received,
        )
    engine.cache.save(first.good, timeframe)
    return first


def _ask(
    engine: Engine, given: BatchInput, symbols: Sequence[str], cached: dict[str, Candles]
) -> ObtainedCandles:
    limits = engine.limits
    since = {symbol: int(series.time[-1]) for symbol, series in cached.items() if len(series)}
    try:
        with bounded(engine, given.times, Stage.FETCH):
            answer = engine.market_data.candles(symbols, limits.timeframe, limits.candles, since)
    except ServiceError as error:
        reason = Degradation(service=error.service, reason=error.detail)
        faults = dict.fromkeys(symbols, f"no candles: {error}")
        return ObtainedCandles({}, faults, (reason,), asked=len(symbols))
    good: dict[str, Candles] = {}
    faults = dict(answer.errors)
    for symbol, fresh in answer.candles.items():
        series = quality.merge(cached.get(symbol), fresh, limits.candles)
        fault = quality.judge(
            series,
            timeframe_s=limits.timeframe_s,
            market_time=given.market_time,
            limits=limits.quality,
            need=NEEDED_CANDLES,
        )
        if fault is None:
            good[symbol] = series
        else:
            faults[symbol] = fault
    received = sum(len(series) for series in answer.candles.values())
    return ObtainedCandles(good, faults, (), asked=len(symbols), received=received)
