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
from engine.ports import Engine

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
    quiet = _quiet(engine, given, symbols)
    others = [symbol for symbol in symbols if symbol not in quiet]
    cached = engine.cache.load(others, engine.limits.timeframe)
    found = _ask(engine, given, symbols, cached, quiet)
    doubtful = [symbol for symbol in found.faults if symbol in cached or symbol in quiet]
    if doubtful and not found.degraded:
        again = _ask(engine, given, doubtful, {}, {})
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


def _quiet(engine: Engine, given: BatchInput, symbols: Sequence[str]) -> dict[str, int]:
    """The newest candle (open time, ms) of what need not be decided on again as it is."""
    if not engine.settings.trading_engine.only_new_candles or given.snapshot is None:
        return {}
    held = positions_of(given)
    free = [symbol for symbol in symbols if symbol not in held]
    return engine.cache.load_quiet(free, engine.limits.timeframe, engine.settings_hash)


def _ask(
    engine: Engine,
    given: BatchInput,
    symbols: Sequence[str],
    cached: Mapping[str, Candles],
    quiet: Mapping[str, int],
) -> Obtained:
    """Ask for what is newer than the cached candles and than what the quiet ones ended with."""
    limits = engine.limits
    since = {symbol: int(series.time[-1]) for symbol, series in cached.items() if len(series)}
    try:
        with bounded(engine, given.times, Stage.FETCH):
            answer = engine.market_data.candles(
                symbols, limits.timeframe, limits.candles, {**since, **quiet}
            )
    except ServiceError as error:
        reason = Degradation(service=error.service, reason=error.detail)
        return Obtained(faults=dict.fromkeys(symbols, f"no candles: {error}"), degraded=(reason,))
    known = {**cached, **_woken(engine, answer, quiet)}
    found = Obtained(faults=dict(answer.errors))
    series: dict[str, Candles] = {}
    for symbol, fresh in answer.candles.items():
        found.received += len(fresh)
        if symbol in quiet and len(fresh) == 0:
            _stay(found, symbol, _age_fault(engine, given, quiet[symbol]))
        elif symbol in quiet and symbol not in known:
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


def _woken(engine: Engine, answer: CandleAnswer, quiet: Mapping[str, int]) -> dict[str, Candles]:
    """The cached candles of quiet symbols with new ones, where these go on from them."""
    names = [symbol for symbol in quiet if len(answer.candles.get(symbol, ())) > 0]
    found = engine.cache.load(names, engine.limits.timeframe)
    return {
        symbol: series
        for symbol, series in found.items()
        if len(series) and int(series.time[-1]) >= quiet[symbol]
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
