"""Step 1 of a batch: candles from the market data service, judged, into the cache."""

from __future__ import annotations

from engine.domain.cycle import BatchRef, Stage
from engine.pipeline.steps import StepResult, Stopwatch, obtain_candles, save, skipped
from engine.ports import Engine
from engine.telemetry import get_logger

log = get_logger(__name__)


def run(engine: Engine, ref: BatchRef) -> BatchRef:
    """Fetch the batch's candles; the reference goes on with the symbols that are fit to trade.

    A batch that reported before, or was claimed too often, goes on unclaimed.
    """
    watch = Stopwatch()
    given = engine.ledger.cycles.claim(ref, engine.worker, engine.clock.now())
    if given is None:
        log.info("batch_not_claimed")
        return BatchRef(cycle_id=ref.cycle_id, batch=ref.batch, symbols=(), claimed=False)
    candles = obtain_candles(engine, given, ref.symbols)
    result = StepResult(
        outcomes=skipped(ref, Stage.FETCH, candles.faults), degraded=candles.degraded
    )
    save(engine, ref, Stage.FETCH, result, watch)
    log.info(
        "batch_fetched",
        symbols=len(candles.good),
        skipped=len(candles.faults),
        new_candles=candles.received,
        seconds=watch.seconds(),
    )
    good = tuple(symbol for symbol in ref.symbols if symbol in candles.good)
    return BatchRef(cycle_id=ref.cycle_id, batch=ref.batch, symbols=good)
