"""`GET /status`: everything an operator asks first, from the ledger and the vital signs."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from engine.control import figures
from engine.control.degraded import degraded
from engine.control.desk import Desk
from engine.control.documents import (
    CurrentCycle,
    LatchedCause,
    PortfolioState,
    Progress,
    Quantiles,
    RecentPerformance,
    StateStory,
    Status,
)
from engine.control.lifecycle import next_cycle_at, schedule_word
from engine.control.limits import limits_used
from engine.control.operator_documents import Market
from engine.control.signs import Signs, read_signs
from engine.domain.cycle import CycleReport
from engine.domain.ledger_values import LedgerState
from engine.domain.model import PortfolioSnapshot
from engine.domain.views import CycleProgress, Rates
from engine.settings import Settings
from engine.version import VERSION

LIVE_CLOCK = timedelta(seconds=60)
SHARE = Decimal("0.000001")


def status(desk: Desk) -> Status:
    """The state of everything. Raises LedgerUnavailable; calls no service."""
    settings = desk.engine.settings
    now = desk.engine.clock.now()
    state = desk.engine.ledger.state.read()
    current, last = desk.queries.current_cycle(), desk.queries.last_cycle()
    latest = last if current is None else current.report
    snapshot = desk.engine.ledger.state.last_snapshot()
    signs = read_signs(desk)
    rates = desk.recent_rates.get(desk.queries, last.cycle_id if last else "", now)
    return Status(
        service="trading-engine",
        version=VERSION,
        account=settings.trading_engine.account,
        mode=settings.trading_engine.mode,
        simulated=is_simulated(settings, latest),
        market_time=market_time(current, last),
        market=market(desk, latest, last),
        schedule=schedule_word(running=state.schedule_running),
        trading_state=state.effective,
        state=_story(state),
        latched=tuple(
            LatchedCause(cause=latch.cause, since=latch.since, detail=latch.detail)
            for latch in state.latched
        ),
        limits=limits_used(desk, snapshot, market_time(current, last)),
        degraded=degraded(
            state, signs.services, signs.circuits, signs.checks, _reporting(current, last)
        ),
        cycle_interval=settings.trading_engine.cycle_interval,
        next_cycle_at=_next(desk, state, signs, last),
        current_cycle=None if current is None else _current(current),
        last_cycle=last,
        last_cycle_steps=() if last is None else desk.last_steps.get(desk.queries, last),
        workers=signs.workers,
        beat=signs.beat,
        queues=signs.queues,
        services=signs.services,
        portfolio=None if snapshot is None else portfolio_state(snapshot),
        performance=recent(rates),
        alerts_open=rates.alerts_open,
        flower_url=flower_url(settings),
    )


def flower_url(settings: Settings) -> str | None:
    """Where a browser on this machine finds Flower."""
    flower = settings.flower
    return f"http://{flower.host}:{flower.port}/" if flower.enabled else None


def is_simulated(settings: Settings, latest: CycleReport | None) -> bool:
    """Whether prices are replayed or made up: by the feed, or by a market time that is not now."""
    market = settings.services.market_data
    if not market.url and market.feed != "ccxt":
        return True
    if latest is None or latest.market_time is None:
        return False
    return abs(latest.market_time - latest.started_at) > LIVE_CLOCK


def market(desk: Desk, latest: CycleReport | None, last: CycleReport | None) -> Market:
    """The market's clock as the latest cycles saw it."""
    settings = desk.engine.settings
    feed = settings.services.market_data
    seen = latest if latest is not None and latest.market_time is not None else last
    simulated = is_simulated(settings, seen)
    time = None if seen is None else seen.market_time
    return Market(
        clock=None if time is None else ("replay" if simulated else "live"),
        time=time,
        feed=feed.url or feed.feed,
        simulated=simulated,
        speed=_speed(settings) if simulated else None,
    )


def _speed(settings: Settings) -> float | None:
    """Market seconds a wall second while the schedule runs; None for a clock moved by hand."""
    moved = settings.services.market_data.candles_per_cycle * settings.trading_engine.timeframe_s
    return moved / settings.trading_engine.cycle_interval if moved else None


def market_time(current: CycleProgress | None, last: CycleReport | None) -> datetime | None:
    """The market's now as the latest cycle saw it."""
    if current is not None and current.report.market_time is not None:
        return current.report.market_time
    return None if last is None else last.market_time


def portfolio_state(snapshot: PortfolioSnapshot) -> PortfolioState:
    """The account in a few figures; `drawdown` is a fraction of the peak."""
    peak = snapshot.peak_equity
    drawdown = Decimal(0) if peak <= 0 else max(1 - snapshot.equity / peak, Decimal(0))
    return PortfolioState(
        currency=snapshot.currency,
        equity=snapshot.equity,
        cash=snapshot.cash,
        positions=sum(held.quantity > 0 for held in snapshot.positions),
        day_pnl=snapshot.equity - snapshot.day_start_equity,
        drawdown=drawdown.quantize(SHARE),
        as_of=snapshot.as_of,
    )


def recent(rates: Rates) -> RecentPerformance:
    """Figures of the cycles since the rates began."""
    return RecentPerformance(
        cycles=figures.cycles_ended(rates.cycles_by_status),
        success_rate=figures.cycle_success_rate(rates.cycles_by_status),
        trade_success_rate=figures.ratio(rates.orders_filled, rates.orders_submitted),
        symbols_per_cycle=rates.symbols_per_cycle,
        cycle_seconds=Quantiles(
            p50=figures.quantile(rates.durations_s, 0.5),
            p95=figures.quantile(rates.durations_s, 0.95),
        ),
    )


def _reporting(current: CycleProgress | None, last: CycleReport | None) -> CycleReport | None:
    """The running cycle once it has a plan, else the last one."""
    if current is not None and (current.report.market_time is not None or last is None):
        return current.report
    return last


def _story(state: LedgerState) -> StateStory:
    return StateStory(
        value=state.effective,
        operator=state.operator,
        reason=state.operator_reason,
        since=state.effective_since,
        latched=state.latched,
        derived=state.derived,
    )


def _next(
    desk: Desk, state: LedgerState, signs: Signs, last: CycleReport | None
) -> datetime | None:
    if not state.schedule_running or signs.checks["redis"].status == "down":
        return None
    return next_cycle_at(desk, None if last is None else last.scheduled_at)


def _current(progress: CycleProgress) -> CurrentCycle:
    report = progress.report
    return CurrentCycle(
        cycle_id=report.cycle_id,
        epoch=report.epoch,
        trigger=report.trigger,
        scheduled_at=report.scheduled_at,
        started_at=report.started_at,
        dry_run=report.dry_run,
        config_hash=report.config_hash,
        symbols=report.symbols,
        batches=report.batches,
        signals=report.signals,
        orders=report.orders,
        progress=Progress(
            stage=progress.stage,
            batches_reported=progress.batches_reported,
            batches_total=progress.batches_total,
            orders_total=progress.orders_total,
            orders_done=progress.orders_done,
            cutoff_at=progress.cutoff_at,
            deadline_at=progress.deadline_at,
            steps=progress.steps,
        ),
    )
