"""Which causes the state of services and orders implies, and the effective state from them."""

from __future__ import annotations

from datetime import timedelta

from engine.domain.ledger_values import LedgerState
from engine.domain.model import OrderStatus, TradingState
from engine.ports import Engine
from engine.reconcile import ReconcileResult
from engine.telemetry import get_logger

log = get_logger(__name__)

DOUBTFUL = frozenset({OrderStatus.SENDING, OrderStatus.UNKNOWN})
Causes = dict[str, tuple[TradingState, str]]


def refresh(engine: Engine, result: ReconcileResult) -> LedgerState:
    """Write the causes that follow from what reconciliation saw; the state of the account."""
    causes = {**_portfolio(engine, result), **_unknown_orders(engine)}
    before = engine.ledger.state.read()
    after = engine.ledger.state.set_derived(causes, engine.clock.now())
    if after.effective is not before.effective:
        log.warning(
            "trading_state_changed",
            before=before.effective.value,
            after=after.effective.value,
            causes=[cause.cause for cause in after.latched + after.derived],
        )
    return after


def _portfolio(engine: Engine, result: ReconcileResult) -> Causes:
    """No answer: reduce on the last snapshot while it is young enough, then nothing."""
    if result.portfolio_answered:
        return {}
    last = engine.ledger.state.last_snapshot()
    oldest = timedelta(seconds=engine.settings.risk.max_stale_snapshot_s)
    if last is not None and engine.clock.now() - last.as_of <= oldest:
        detail = f"no answer; the account of {last.as_of:%H:%M:%S} serves for exits only"
        return {"portfolio": (TradingState.REDUCING, detail)}
    return {"portfolio": (TradingState.HALTED, "no answer and no recent account; no orders")}


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
