"""Which causes the state of services and orders implies, and the effective state from them.

A cause ends by itself: that of unsettled orders once they are settled, that of a service after two
whole cycles in which the service answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from engine.domain import degraded
from engine.domain.cycle import CycleReport, Degradation
from engine.domain.ledger_values import DerivedCause, LedgerState
from engine.domain.model import OrderStatus, TradingState
from engine.ports import Engine
from engine.reconcile import ReconcileResult
from engine.telemetry import get_logger

log = get_logger(__name__)

DOUBTFUL = frozenset({OrderStatus.SENDING, OrderStatus.UNKNOWN})
MARKET, PORTFOLIO = "market_data", "portfolio"
PORTFOLIO_RETURNED = PORTFOLIO + degraded.RETURNED
Causes = dict[str, tuple[TradingState, str]]


def refresh(
    engine: Engine,
    result: ReconcileResult,
    *,
    since: datetime | None = None,
    seen: Sequence[Degradation] = (),
) -> LedgerState:
    """Write the causes that follow from what reconciliation saw; the state of the account.

    At the opening of a cycle `since` is its start, from which on the portfolio answered if it
    does, and `seen` what the opening found degraded.
    """
    now = engine.clock.now()
    newest = engine.ledger.cycles.latest(degraded.GOOD_CYCLES)
    before = engine.ledger.state.read()
    known = {cause.cause: cause for cause in before.derived}
    causes = {
        **_portfolio(engine, result, known, newest),
        **_market(known, newest, seen),
        **_unknown_orders(engine),
    }
    begin = now if since is None else since
    return _write(engine, before, causes, begins={PORTFOLIO_RETURNED: begin, MARKET: begin})


def distrust_market(engine: Engine, found: Degradation) -> None:
    """Lower the state at once for a market that the barrier does not trust."""
    if found.lowers is None:
        return
    before = engine.ledger.state.read()
    causes = {cause.cause: (cause.level, cause.detail) for cause in before.derived}
    _write(engine, before, {**causes, MARKET: (found.lowers, found.reason)})


def _write(
    engine: Engine, before: LedgerState, causes: Causes, begins: dict[str, datetime] | None = None
) -> LedgerState:
    after = engine.ledger.state.set_derived(causes, engine.clock.now(), begins)
    if after.effective is not before.effective:
        log.warning(
            "trading_state_changed",
            before=before.effective.value,
            after=after.effective.value,
            causes=[cause.cause for cause in after.latched + after.derived],
        )
    return after


def _portfolio(
    engine: Engine,
    result: ReconcileResult,
    known: dict[str, DerivedCause],
    newest: Sequence[CycleReport],
) -> Causes:
    """No answer: reduce on the last snapshot while it is young enough, then nothing.

    Once it answers again the account is known, so that exits go on at once.
    """
    if not result.portfolio_answered:
        return _portfolio_away(engine)
    returned = known.get(PORTFOLIO_RETURNED)
    if returned is not None and degraded.has_recovered(PORTFOLIO, returned.since, newest):
        return {}
    if returned is None and PORTFOLIO not in known:
        return {}
    detail = "answers again; no entries until two cycles went well"
    return {PORTFOLIO_RETURNED: (TradingState.REDUCING, detail)}


def _portfolio_away(engine: Engine) -> Causes:
    last = engine.ledger.state.last_snapshot()
    oldest = timedelta(seconds=engine.settings.risk.max_stale_snapshot_s)
    if last is not None and engine.clock.now() - last.as_of <= oldest:
        detail = f"no answer; the account of {last.as_of:%H:%M:%S} serves for exits only"
        return {PORTFOLIO: (TradingState.REDUCING, detail)}
    return {PORTFOLIO: (TradingState.HALTED, "no answer and no recent account; no orders")}


def _market(
    known: dict[str, DerivedCause], newest: Sequence[CycleReport], seen: Sequence[Degradation]
) -> Causes:
    """A market that was away or bad is entered again after two cycles without a complaint."""
    told = [*seen, *(entry for report in newest[:1] for entry in report.degraded)]
    bad = [entry for entry in told if entry.service == MARKET and entry.lowers is not None]
    if bad and bad[0].lowers is not None:
        return {MARKET: (bad[0].lowers, bad[0].reason)}
    cause = known.get(MARKET)
    if cause is None or degraded.has_recovered(MARKET, cause.since, newest):
        return {}
    return {MARKET: (cause.level, cause.detail)}


def _unknown_orders(engine: Engine) -> Causes:
    """An order whose fate stays unknown lowers the state, the longer the lower.

    Of unknown fate is one that was sent without an answer, whether somebody lived to say so or not.
    """
    timing = engine.settings.timing
    now = engine.clock.now()
    ages = [
        (now - item.order.created_at).total_seconds()
        for item in engine.ledger.orders.unresolved(now)
        if item.order.status in DOUBTFUL
    ]
    oldest = max(ages, default=0.0)
    detail = f"{len(ages)} orders of unknown fate, the oldest for {oldest:.0f} s"
    if oldest >= timing.unknown_halted_s:
        return {"unknown_orders": (TradingState.HALTED, detail)}
    if oldest >= timing.unknown_reducing_s:
        return {"unknown_orders": (TradingState.REDUCING, detail)}
    return {}
