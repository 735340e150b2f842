"""Step 1 of a batch: candles from the cache and, where newer, from market data; judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.domain import quality
from engine.domain.candles import Candles
from engine.domain.cycle import BatchInput, Degradation, OutcomeStatus, Stage, SymbolOutcome
from engine.domain.messages import CandleAnswer
from engine.errors import ServiceError
from engine.pipeline.steps import (
    BatchWork,
    Stopwatch,
    bounded,
    positions_of,
    skipped,
)
from engine.ports import Engine, SeriesEnd

NEEDED_CANDLES = 2
NO_NEW_CANDLE = "no new candle"


@dataclass
class Obtained:
    """What became of each symbol: good candles, nothing new of a quiet one, or a fault.

    `changed` are the good ones that the cache does not have like this.
    """

    good: dict[str, Candles] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    unchanged: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    degraded: tuple[Degradation, ...] = ()
    received: int = 0


@dataclass(frozen=True)
class Cached:
    """What the cache told before market data was asked.

    `newest` are open times (ms) of where series end; `series` those of them that were read;
    `quiet` need not be decided on again as they are.
    """

    series: Mapping[str, Candles] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    quiet: frozenset[str] = frozenset()


def run(engine: Engine, given: BatchInput, work: BatchWork) -> BatchWork:
    """Fetch candles; the work goes on with the symbols that are fit to be decided on.

    Without a new candle nothing is decided anew of a symbol that is not held and that nobody had
    anything to say of (`trading_engine.only_new_candles`).
    """
    watch = Stopwatch()
    obtained = _obtain(engine, given, work.symbols)
    outcomes = _unchanged(given, obtained) + skipped(given.ref.batch, Stage.FETCH, obtained.faults)
    return work.after(
        Stage.FETCH,
        watch,
        symbols=tuple(symbol for symbol in work.symbols if symbol in obtained.good),
        candles=obtained.good,
        changed=obtained.changed,
        new_candles=obtained.received,
        outcomes=work.outcomes + outcomes,
        degraded=work.degraded + obtained.degraded,
    )


def _unchanged(given: BatchInput, obtained: Obtained) -> tuple[SymbolOutcome, ...]:
    return tuple(
        SymbolOutcome(
            symbol=symbol,
            batch=given.ref.batch,
            stage=Stage.FETCH,
            status=OutcomeStatus.OK,
            reason=NO_NEW_CANDLE,
        )
        for symbol in obtained.unchanged
    )


def _obtain(engine: Engine, given: BatchInput, symbols: Sequence[str]) -> Obtained:
    """Cached candles, extended by what is newer than the cache, and judged.

    A series that joins badly with its cached part is asked for once more as a whole.
    """
    cached = _cached(engine, given, symbols)
    found = _ask(engine, given, symbols, cached)
    doubtful = [symbol for symbol in found.faults if symbol in cached.newest]
    if doubtful and not found.degraded:
        again = _ask(engine, given, doubtful, Cached())
        left = {name: why for name, why in found.faults.items() if name not in doubtful}
        found = Obtained(
            good=found.good | again.good,
            changed=found.changed | again.changed,
            unchanged=found.unchanged,
            faults=left | again.faults,
            degraded=again.degraded,
            received=found.received + again.received,
        )
    return found


def _cached(engine: Engine, given: BatchInput, symbols: Sequence[str]) -> Cached:
    """Where each cached series ends; the series itself of those that only it tells of."""
    ends: dict[str, SeriesEnd] = {}
    if engine.settings.trading_engine.only_new_candles and given.snapshot is not None:
        ends = engine.cache.load_ends(symbols, engine.limits.timeframe, engine.settings_hash)
    held = positions_of(given)
    others = [symbol for symbol in symbols if symbol not in ends]
    series = engine.cache.load(others, engine.limits.timeframe)
    newest = {symbol: int(each.time[-1]) for symbol, each in series.items() if len(each)}
    return Cached(
        series=series,
        newest=newest | {symbol: end.newest for symbol, end in ends.items()},
        quiet=frozenset(name for name, end in ends.items() if end.is_quiet and name not in held),
    )


def _ask(engine: Engine, given: BatchInput, symbols: Sequence[str], cached: Cached) -> Obtained:
    """Ask for what is newer than what is cached, and join it with that."""
    limits = engine.limits
    try:
        with bounded(engine, given.times, Stage.FETCH):
            answer = engine.market_data.candles(
                symbols, limits.timeframe, limits.candles, cached.newest
            )
    except ServiceError as error:
        reason = Degradation(service=error.service, reason=error.detail)
        return Obtained(faults=dict.fromkeys(symbols, f"no candles: {error}"), degraded=(reason,))
    known = {**cached.series, **_wanted(engine, answer, cached)}
    found = Obtained(faults=dict(answer.errors))
    series: dict[str, Candles] = {}
    for symbol, fresh in answer.candles.items():
        found.received += len(fresh)
        if symbol in cached.quiet and len(fresh) == 0:
            _stay(found, symbol, _age_fault(engine, given, cached.newest[symbol]))
        elif symbol in cached.newest and symbol not in known:
            found.faults[symbol] = "gapped: its cached candles end before the new ones begin"
        else:
            series[symbol] = quality.merge(known.get(symbol), fresh, limits.candles)
    faults = _faults(engine, given, series)
    found.faults |= faults
    found.good = {symbol: rows for symbol, rows in series.items() if symbol not in faults}
    found.changed = frozenset(symbol for symbol in found.good if len(answer.candles[symbol]))
    return found


def _stay(found: Obtained, symbol: str, fault: str | None) -> None:
    if fault is None:
        found.unchanged.append(symbol)
    else:
        found.faults[symbol] = fault


def _wanted(engine: Engine, answer: CandleAnswer, cached: Cached) -> dict[str, Candles]:
    """The series of what is not quiet or has new candles, where these go on from them."""
    names = [
        symbol
        for symbol, fresh in answer.candles.items()
        if symbol in cached.newest
        and symbol not in cached.series
        and (len(fresh) or symbol not in cached.quiet)
    ]
    found = engine.cache.load(names, engine.limits.timeframe)
    return {
        symbol: series
        for symbol, series in found.items()
        if len(series) and int(series.time[-1]) >= cached.newest[symbol]
    }


def _age_fault(engine: Engine, given: BatchInput, newest: int) -> str | None:
    limits, now = engine.limits, given.market_time
    return quality.judge_age(
        newest, timeframe_s=limits.timeframe_s, market_time=now, limits=limits.quality
    )


def _faults(engine: Engine, given: BatchInput, series: Mapping[str, Candles]) -> dict[str, str]:
    limits = engine.limits
    return quality.judge_all(
        series,
        timeframe_s=limits.timeframe_s,
        market_time=given.market_time,
        limits=limits.quality,
        need=NEEDED_CANDLES,
    )
