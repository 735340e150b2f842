"""Settles what is not certain: one piece of code for start, crash, Redis loss and cycle start.

Reads the execution log, relays fills to the portfolio, resolves orders whose end is not proved,
adopts orders that the ledger does not know, and compares positions. Everything is idempotent, so
that two of them at once waste work and do no harm; a lease makes that rare. It is short, since
whoever is killed with it keeps the others from settling anything until it runs out.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from engine import event_log, seeded, sending
from engine.domain.ledger_values import NewAlert
from engine.domain.model import PortfolioSnapshot, TradingState
from engine.errors import BadPayload, ServiceError, ServiceRejected
from engine.ports import Engine
from engine.telemetry import get_logger

log = get_logger(__name__)

LEASE = "reconcile"
LEASE_S = 10.0
POLL_S = 0.05


@dataclass(frozen=True)
class ReconcileResult:
    """What reconciliation found. `clean` is False while an entry must not leave."""

    clean: bool
    problems: tuple[str, ...] = ()
    execution_answered: bool = True
    portfolio_answered: bool = True
    snapshot: PortfolioSnapshot | None = None


@dataclass
class _Findings:
    problems: list[str] = field(default_factory=list)
    execution_answered: bool = True
    portfolio_answered: bool = True
    snapshot: PortfolioSnapshot | None = None

    def result(self) -> ReconcileResult:
        return ReconcileResult(
            clean=not self.problems,
            problems=tuple(self.problems),
            execution_answered=self.execution_answered,
            portfolio_answered=self.portfolio_answered,
            snapshot=self.snapshot,
        )


def run(engine: Engine, *, wait_s: float) -> ReconcileResult:
    """Reconcile once. Waits at most `wait_s` for another reconciler, then runs its own."""
    holder = _holder(engine)
    held = _take_lease(engine, holder, wait_s)
    try:
        return _reconcile(engine)
    finally:
        if held:
            engine.ledger.state.release_lease(LEASE, holder)


def run_if_free(engine: Engine) -> ReconcileResult | None:
    """Reconcile unless somebody else is at it; None then."""
    holder = _holder(engine)
    if not engine.ledger.state.take_lease(LEASE, holder, engine.clock.now(), LEASE_S):
        return None
    try:
        return _reconcile(engine)
    finally:
        engine.ledger.state.release_lease(LEASE, holder)


def relay(engine: Engine) -> PortfolioSnapshot:
    """Bring the portfolio up to the execution log and return its snapshot.

    Raises ServiceError. Used where a decision needs the account as it is now.
    """
    snapshot = engine.portfolio.snapshot()
    reach = event_log.follow(engine, snapshot.applied_seq)
    if reach.fault:
        raise BadPayload("execution", reach.fault)
    through = reach.through
    if through > snapshot.applied_seq:
        fills = engine.ledger.orders.fills(snapshot.applied_seq, through)
        engine.portfolio.apply_fills(through, fills)
        snapshot = seeded.seen_before(snapshot, engine.portfolio.snapshot())
    engine.ledger.state.save_snapshot(snapshot)
    return snapshot


def _holder(engine: Engine) -> str:
    """One name a thread: forked workers share everything but their process id."""
    return f"{engine.worker}|{os.getpid()}|{threading.get_ident()}|{id(engine)}"


def _take_lease(engine: Engine, holder: str, wait_s: float) -> bool:
    give_up_at = engine.clock.now() + timedelta(seconds=wait_s)
    while True:
        now = engine.clock.now()
        if engine.ledger.state.take_lease(LEASE, holder, now, LEASE_S):
            return True
        if now >= give_up_at:
            return False
        engine.clock.sleep(POLL_S)


def _reconcile(engine: Engine) -> ReconcileResult:
    found = _Findings()
    if not _is_our_log(engine, found):
        # Its answers prove nothing about our orders, and its fills are not this account's.
        _only_snapshot(engine, found)
    elif _relay(engine, found):
        _resolve(engine, found)
    _compare_positions(engine, found)
    if found.problems:
        log.warning("reconciliation_not_clean", problems=found.problems)
    return found.result()


def _is_our_log(engine: Engine, found: _Findings) -> bool:
    """Whether the execution service answers, with the log that the ledger follows."""
    try:
        fence = engine.execution.fence()
    except ServiceError as error:
        found.execution_answered = False
        found.problems.append(str(error))
        return False
    known = engine.ledger.orders.log_id()
    if known is None:
        engine.ledger.orders.set_log_id(fence.log_id)
    elif known != fence.log_id:
        detail = f"the execution log is {fence.log_id}, the ledger belongs to {known}"
        _latch(engine, "log_identity", TradingState.HALTED, detail)
        found.problems.append(detail)
        return False
    return True


def _relay(engine: Engine, found: _Findings) -> bool:
    """Bring ledger and portfolio up to the log; False when the log lost what it had."""
    try:
        snapshot = engine.portfolio.snapshot()
    except ServiceError as error:
        _portfolio_failed(engine, found, error)
        snapshot = None
    found.snapshot = snapshot
    try:
        reach = event_log.follow(engine, None if snapshot is None else snapshot.applied_seq)
    except ServiceError as error:
        found.execution_answered = False
        found.problems.append(str(error))
        return True
    fault = reach.fault
    if not fault and snapshot is not None and reach.through < snapshot.applied_seq:
        fault = f"the log has a hole after {reach.through}, which the portfolio applied"
    if fault:
        _latch(engine, "log_behind", TradingState.HALTED, fault)
        found.problems.append(fault)
        return False
    if snapshot is not None:
        found.snapshot = _apply(engine, snapshot, reach.through, found)
    return True


def _apply(
    engine: Engine, snapshot: PortfolioSnapshot, through: int, found: _Findings
) -> PortfolioSnapshot:
    if through <= snapshot.applied_seq:
        engine.ledger.state.save_snapshot(snapshot)
        return snapshot
    fills = engine.ledger.orders.fills(snapshot.applied_seq, through)
    try:
        engine.portfolio.apply_fills(through, fills)
        log.info("fills_relayed", count=len(fills), through_seq=through)
        snapshot = seeded.seen_before(snapshot, engine.portfolio.snapshot())
    except ServiceRejected as error:
        detail = f"the portfolio refuses fills: {error.detail}"
        _latch(engine, "fills_refused", TradingState.HALTED, detail)
        found.problems.append(detail)
    except ServiceError as error:
        _portfolio_failed(engine, found, error)
    engine.ledger.state.save_snapshot(snapshot)
    return snapshot


def _portfolio_failed(engine: Engine, found: _Findings, error: ServiceError) -> None:
    found.portfolio_answered = False
    found.problems.append(str(error))
    latch_contradiction(engine, error)


def latch_contradiction(engine: Engine, error: ServiceError) -> None:
    """An account that contradicts itself stops the trading, wherever it was read."""
    if error.service == "portfolio" and error.detail.startswith("contradiction"):
        _latch(engine, "portfolio_contradiction", TradingState.HALTED, error.detail)


def _only_snapshot(engine: Engine, found: _Findings) -> None:
    try:
        found.snapshot = engine.portfolio.snapshot()
    except ServiceError as error:
        _portfolio_failed(engine, found, error)


def _resolve(engine: Engine, found: _Findings) -> None:
    for item in engine.ledger.orders.unresolved(engine.clock.now()):
        try:
            sending.resolve(engine, item)
        except ServiceError as error:
            found.problems.append(f"order {item.order.client_order_id}: {error}")
            if not isinstance(error, ServiceRejected):
                found.execution_answered = False
                return


def _compare_positions(engine: Engine, found: _Findings) -> None:
    """The ledger's fills and the portfolio must agree, when both stand at one seq."""
    snapshot, orders = found.snapshot, engine.ledger.orders
    if snapshot is None or snapshot.applied_seq != orders.contiguous_seq():
        return
    sums = orders.position_sums()
    if snapshot.applied_seq != orders.contiguous_seq():
        return  # somebody stored further events between the two looks
    ours = {symbol: Decimal(quantity) for symbol, quantity in sums.items()}
    theirs = {
        held.symbol: held.quantity
        for held in snapshot.positions
        # Of a foreign position without any fill the ledger cannot know.
        if held.strategy is not None or held.symbol in ours
    }
    differing = sorted(
        symbol
        for symbol in ours.keys() | theirs.keys()
        if ours.get(symbol, 0) != theirs.get(symbol, 0)
    )
    if differing:
        detail = f"fills and portfolio differ in {', '.join(differing)}"
        _latch(engine, "position_mismatch", TradingState.REDUCING, detail)
        found.problems.append(detail)


def _latch(engine: Engine, cause: str, level: TradingState, detail: str) -> None:
    now = engine.clock.now()
    if engine.ledger.state.latch(cause, level, detail, now):
        log.error("state_latched", cause=cause, level=level.value, detail=detail)
        alert = NewAlert(key=cause, name=cause, severity="critical", detail=detail)
        engine.ledger.state.raise_alert(alert, now)
