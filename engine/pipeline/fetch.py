"""Step 1 of a batch: candles from the market data service, judged, into the cache."""

from __future__ import annotations

from engine.domain.cycle import BatchInput, Stage
from engine.pipeline.steps import BatchWork, Stopwatch, obtain_candles, skipped
from engine.ports import Engine
from engine.telemetry import get_logger

log = get_logger(__name__)


def run(engine: Engine, given: BatchInput, work: BatchWork) -> BatchWork:
    """Fetch candles; the work goes on with the symbols that are fit to trade."""
    watch = Stopwatch()
    obtained = obtain_candles(engine, given, work.symbols)
    work = work.after(
        Stage.FETCH,
        watch,
        symbols=tuple(symbol for symbol in work.symbols if symbol in obtained.good),
        candles=obtained.good,
        outcomes=work.outcomes + skipped(given.ref.batch, Stage.FETCH, obtained.faults),
        degraded=work.degraded + obtained.degraded,
    )
    log.info(
        "batch_fetched",
        symbols=len(obtained.good),
        skipped=len(obtained.faults),
        new_candles=obtained.received,
        seconds=work.seconds[Stage.FETCH.value],
    )
    return work
