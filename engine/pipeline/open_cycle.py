"""The opening of a cycle: epoch, fence, reconciliation, market, marks, selection, batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from engine import degraded_state, failpoints, ownership, reconcile
from engine.call_deadline import calls_within
from engine.domain import batching
from engine.domain import risk as rules
from engine.domain.cycle import (
    CyclePlan,
    CycleRequest,
    CycleStatus,
    CycleTimes,
    Degradation,
    Stage,
    Trigger,
)
from engine.domain.ledger_values import LedgerState, OpenedCycle
from engine.domain.model import Instrument, PortfolioSnapshot
from engine.domain.quality import QUOTE_CLOCK_TOLERANCE_S
from engine.domain.timing import call_timeout_s, cycle_times
from engine.errors import ServiceError, ServiceRejected
from engine.identity import feed_identity
from engine.pipeline import market
from engine.pipeline.steps import Stopwatch, bounded
from engine.ports import Engine
from engine.telemetry import bind, get_logger

log = get_logger(__name__)

RECONCILE_WAIT_S = 10.0
FIRST_LOOK_S = 5.0


def times_from(engine: Engine, started_at: datetime) -> CycleTimes:
    """The bounds of a cycle that starts at `started_at`, by the configuration."""
    timing = engine.settings.timing
    return cycle_times(
        started_at,
        engine.settings.trading_engine.cycle_interval,
        barrier_s=timing.barrier_s,
        send_cutoff_s=timing.send_cutoff_s,
        deadline_s=timing.deadline_s,
        close_s=timing.close_s,
    )


def run(engine: Engine, request: CycleRequest) -> CyclePlan | None:
    """Open the cycle that is asked for, or go on with it; None when there is nothing to do.

    A redelivered request finds its own plan again. Nothing is wanted of a stopped schedule.
    """
    if request.trigger is Trigger.SCHEDULE and not engine.ledger.state.read().schedule_running:
        log.info("cycle_not_wanted", request=request.key, reason="the schedule is stopped")
        return None
    with calls_within(_patience_s(engine)):
        floor, degraded = _fence_epoch(engine)
    times = times_from(engine, engine.clock.now())
    settings_hash = engine.settings_hash
    engine.ledger.archive.keep_settings(settings_hash, engine.decided)
    opened = engine.ledger.cycles.open(request, times, floor, settings_hash)
    with bind(cycle_id=opened.cycle_id):
        if opened.status is not CycleStatus.RUNNING:
            log.warning("cycle_not_run", status=opened.status.value, reason=opened.reason)
            return None
        known = engine.ledger.cycles.plan(opened.cycle_id)
        if known is not None:
            return known
        failpoints.reach("C1", opened.cycle_id)
        return _plan(engine, opened, degraded)


def _patience_s(engine: Engine) -> float:
    """Seconds before the cycle's own time begins to run."""
    interval = engine.settings.trading_engine.cycle_interval
    return call_timeout_s(FIRST_LOOK_S, interval)


def _fence_epoch(engine: Engine) -> tuple[int, list[Degradation]]:
    try:
        return engine.execution.fence().epoch, []
    except ServiceError as error:
        return 0, [Degradation(service="execution", reason=error.detail)]


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """What was found out while a cycle opened: all that its plan is made of."""

    opened: OpenedCycle
    epoch: int
    may_send: bool
    may_enter: bool
    seen: market.Market
    snapshot: PortfolioSnapshot | None
    state: LedgerState
    degraded: tuple[Degradation, ...]


def _plan(engine: Engine, opened: OpenedCycle, degraded: list[Degradation]) -> CyclePlan | None:
    watch = Stopwatch()
    if not _belongs(engine, opened):
        return None
    with bounded(engine, opened.times, Stage.SELECT):
        opening = _look_around(engine, opened, degraded)
    plan = engine.ledger.cycles.set_plan(_assemble(engine, opening, watch))
    log.info(
        "cycle_opened",
        epoch=plan.epoch,
        symbols=len(plan.instruments),
        batches=len(plan.batches),
        trading_state=plan.trading_state.value,
        degraded=[entry.service for entry in plan.degraded],
        seconds=watch.seconds(),
    )
    return plan


def _look_around(engine: Engine, opened: OpenedCycle, degraded: list[Degradation]) -> _Opening:
    """Fence, reconcile, read the market, mark the account, write the trading state."""
    epoch, may_send = opened.epoch or 0, not degraded
    if may_send:
        epoch, may_send = _raise_fence(engine, opened.cycle_id, epoch, degraded)
    wait_s = min(RECONCILE_WAIT_S, engine.settings.trading_engine.cycle_interval / 4)
    result = reconcile.run(engine, wait_s=wait_s)
    if not result.portfolio_answered:
        degraded.append(Degradation(service="portfolio", reason="no answer"))
    if not result.execution_answered and may_send:
        degraded.append(Degradation(service="execution", reason="no answer"))
        may_send = False
    if may_send and result.portfolio_answered and not result.clean:
        degraded.append(Degradation(service="execution", reason="; ".join(result.problems)))
    seen = market.read(engine, opened.cycle_id)
    last = result.snapshot or engine.ledger.state.last_snapshot()
    marked, unmarked = market.mark(engine, last, seen)
    snapshot = ownership.with_adopted(engine, marked)
    ownership.tell_of_foreign(engine, snapshot, opened.cycle_id)
    return _Opening(
        opened=opened,
        epoch=epoch,
        may_send=may_send,
        may_enter=result.clean and seen.may_enter and not unmarked,
        seen=seen,
        snapshot=snapshot,
        state=_state(engine, opened, result, snapshot, (*degraded, *seen.degraded)),
        degraded=(*degraded, *seen.degraded, *unmarked, *_out_of_time(engine, result)),
    )


def _out_of_time(engine: Engine, result: reconcile.ReconcileResult) -> list[Degradation]:
    """An account that no entry may use, though it was given just now."""
    if result.snapshot is None:
        return []
    age_s = (engine.clock.now() - result.snapshot.as_of).total_seconds()
    most_s = engine.settings.risk.max_snapshot_age_s
    if -QUOTE_CLOCK_TOLERANCE_S <= age_s <= most_s:
        return []
    reason = f"its account is {age_s:.0f} s old, at most {most_s:g} s for entries"
    return [Degradation(service="portfolio", reason=reason)]


def _assemble(engine: Engine, opening: _Opening, watch: Stopwatch) -> CyclePlan:
    limits = engine.limits
    chosen = batching.select(
        opening.seen.instruments,
        held=_held(opening.snapshot),
        requested=opening.opened.symbols,
        currency=limits.account_currency,
        limits=limits.selection,
    )
    names = [instrument.symbol for instrument in chosen.selected]
    batches = batching.make_batches(names, chosen.held, limits.batch_size)
    worked_on = {symbol for batch in batches for symbol in batch.symbols}
    return CyclePlan(
        cycle_id=opening.opened.cycle_id,
        epoch=opening.epoch,
        times=opening.opened.times,
        clock=opening.seen.clock,
        market_time=opening.seen.market_time,
        dry_run=opening.opened.dry_run,
        trading_state=opening.state.effective,
        may_enter=opening.may_enter,
        may_send=opening.may_send,
        instruments=_instruments(engine, opening.seen.instruments, worked_on),
        batches=batches,
        snapshot=opening.snapshot,
        outcomes=chosen.outcomes,
        degraded=opening.degraded,
        select_seconds=watch.seconds(),
    )


def _instruments(
    engine: Engine, listed: Sequence[Instrument], symbols: set[str]
) -> tuple[Instrument, ...]:
    """Of these symbols; what is held and not listed now is as it was listed last."""
    known = {item.symbol: item for item in listed}
    if not symbols <= known.keys():
        last = engine.cache.load_symbols()
        known = {item.symbol: item for item in (last.symbols if last is not None else ())} | known
    return tuple(known[symbol] for symbol in sorted(symbols & known.keys()))


def _held(snapshot: PortfolioSnapshot | None) -> tuple[str, ...]:
    if snapshot is None:
        return ()
    return tuple(held.symbol for held in snapshot.positions if held.quantity > 0)


def _belongs(engine: Engine, opened: OpenedCycle) -> bool:
    """A ledger belongs to one market data feed; another would corrupt its history."""
    wanted = feed_identity(engine.settings)
    bound = engine.ledger.state.bind_feed(wanted)
    if bound == wanted:
        return True
    reason = (
        f"data_dir {engine.settings.data_dir} belongs to the feed {bound}, not {wanted}: "
        "set data_dir to a new folder"
    )
    log.error("cycle_failed", reason=reason)
    fail(engine, opened, reason)
    return False


def fail(engine: Engine, opened: OpenedCycle, reason: str) -> None:
    """Close an opened cycle as FAILED with its reason."""
    so_far = engine.ledger.cycles.facts(opened.cycle_id).report
    now = engine.clock.now()
    report = msgspec.structs.replace(
        so_far,
        status=CycleStatus.FAILED,
        finished_at=now,
        duration_s=(now - so_far.started_at).total_seconds(),
        reason=reason,
    )
    engine.ledger.cycles.close(report)


def _raise_fence(
    engine: Engine, cycle_id: str, epoch: int, degraded: list[Degradation]
) -> tuple[int, bool]:
    """No order of an older epoch is accepted once this is acknowledged."""
    try:
        try:
            engine.execution.set_fence(epoch)
        except ServiceRejected:
            floor = engine.execution.fence().epoch
            epoch = engine.ledger.cycles.raise_epoch(cycle_id, floor)
            engine.execution.set_fence(epoch)
    except ServiceError as error:
        degraded.append(Degradation(service="execution", reason=error.detail))
        return epoch, False
    return epoch, True


def _state(
    engine: Engine,
    opened: OpenedCycle,
    result: reconcile.ReconcileResult,
    snapshot: PortfolioSnapshot | None,
    lacking: Sequence[Degradation],
) -> LedgerState:
    """Latch what the account's losses demand, then write the effective state."""
    now = engine.clock.now()
    if snapshot is not None:
        for breach in rules.safety(snapshot, engine.limits.risk):
            if engine.ledger.state.latch(breach.cause, breach.level, breach.detail, now):
                log.error("state_latched", cause=breach.cause, detail=breach.detail)
    begun = opened.times.started_at
    return degraded_state.refresh(engine, result, since=begun, seen=lacking)
