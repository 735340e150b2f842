"""The barrier: every candidate of the cycle is ranked and granted budget once."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from engine import degraded_state, ownership, reconcile, seeded
from engine.domain import allocation, book, degraded
from engine.domain import risk as rules
from engine.domain.cycle import AllocationFacts, CyclePlan, Stage
from engine.domain.kept_inputs import AllocateInputs, AllocationRecord
from engine.domain.ledger_values import Allocation, NewAlert
from engine.domain.limits import Limits
from engine.domain.model import (
    Order,
    OrderIntent,
    PortfolioSnapshot,
    RiskDecision,
    TradingState,
    Verdict,
)
from engine.domain.orders import PLAIN_EXIT_ATTEMPTS
from engine.errors import ServiceError
from engine.pipeline import quotes as prices
from engine.pipeline.steps import Stopwatch, bounded
from engine.ports import Engine
from engine.telemetry import get_logger

log = get_logger(__name__)


def run(engine: Engine, cycle_id: str) -> tuple[Order, ...]:
    """Decide the cycle's orders and reserve them; the stored ones when that was done before.

    Raises Refused when the cycle is over, fenced by a newer epoch or past its deadline.
    """
    watch = Stopwatch()
    plan = engine.ledger.cycles.plan(cycle_id)
    if plan is None:
        return ()
    with bounded(engine, plan.times, Stage.ALLOCATE):
        inputs = _read(engine, plan)
    _latch_safety(engine, inputs.snapshot)
    applied_seq = inputs.snapshot.applied_seq if inputs.snapshot is not None else 0
    orders = engine.ledger.orders.allocate(
        cycle_id,
        engine.clock.now(),
        applied_seq,
        lambda facts: _decide(engine, plan, inputs, facts),
    )
    _tell_of_stuck_exits(engine, orders)
    engine.ledger.cycles.add_step_seconds(cycle_id, Stage.ALLOCATE, watch.seconds())
    log.info("cycle_allocated", orders=len(orders), seconds=watch.seconds())
    return orders


def _tell_of_stuck_exits(engine: Engine, orders: tuple[Order, ...]) -> None:
    """An exit that is tried again after three attempts in vain needs somebody's eye."""
    for order in orders:
        if order.is_exit and order.attempt >= PLAIN_EXIT_ATTEMPTS:
            alert = NewAlert(
                key=f"exit_not_filled|{order.decision_key}",
                name="exit_not_filled",
                severity="critical",
                detail=f"{order.symbol}: {order.attempt} attempts in vain, this one is wider",
                cycle_id=order.cycle_id,
            )
            engine.ledger.state.raise_alert(alert, engine.clock.now())


def _read(engine: Engine, plan: CyclePlan) -> AllocateInputs:
    """Relay fills, take the snapshot that is decided on, and one bulk of quotes."""
    veto = "" if plan.may_send else "the execution service does not answer"
    snapshot, may_enter = None, plan.may_enter
    candidates = engine.ledger.cycles.candidates(plan.cycle_id)
    if candidates and not veto:
        try:
            snapshot = reconcile.relay(engine)
        except ServiceError as error:
            reconcile.latch_contradiction(engine, error)
            may_enter = False
            snapshot = _stale_snapshot(engine)
            veto = "" if snapshot is not None else f"the account is not known: {error}"
    snapshot = ownership.with_adopted(engine, snapshot)
    may_enter = may_enter and not _is_market_bad(engine, plan, candidates)
    symbols = sorted({intent.symbol for intent in candidates})
    quotes, problems = prices.at_barrier(engine, symbols)
    return AllocateInputs(
        snapshot=snapshot,
        quotes=quotes,
        quote_problems=problems,
        may_enter=may_enter,
        veto=veto,
        now=engine.clock.now(),
    )


def _is_market_bad(engine: Engine, plan: CyclePlan, candidates: tuple[OrderIntent, ...]) -> bool:
    """Whether so many symbols had unusable candles that the rest is not trusted for entries."""
    if not candidates:
        return False
    faults = engine.ledger.cycles.faults(plan.cycle_id)
    found = degraded.distrust(plan.batches, faults, engine.limits.quality)
    if found is None:
        return False
    degraded_state.distrust_market(engine, found)
    log.warning("market_not_trusted", reason=found.reason)
    return True


def _stale_snapshot(engine: Engine) -> PortfolioSnapshot | None:
    """The last known account, if it is young enough for exits."""
    snapshot = engine.ledger.state.last_snapshot()
    oldest = timedelta(seconds=engine.settings.risk.max_stale_snapshot_s)
    if snapshot is None or engine.clock.now() - snapshot.as_of > oldest:
        return None
    return snapshot


def _latch_safety(engine: Engine, snapshot: PortfolioSnapshot | None) -> None:
    if snapshot is None:
        return
    now = engine.clock.now()
    for breach in rules.safety(snapshot, engine.limits.risk):
        if engine.ledger.state.latch(breach.cause, breach.level, breach.detail, now):
            log.error("state_latched", cause=breach.cause, detail=breach.detail)


def _decide(
    engine: Engine, plan: CyclePlan, inputs: AllocateInputs, facts: AllocationFacts
) -> Allocation:
    """The allocation, with what it was made from. Its ages count from the transaction on."""
    limits = engine.limits
    inputs = msgspec.structs.replace(inputs, now=engine.clock.now())
    kept = AllocationRecord(inputs=inputs, facts=msgspec.structs.replace(facts, candidates=()))
    record = kept if facts.candidates else None
    if inputs.snapshot is None or inputs.veto:
        return msgspec.structs.replace(decided(plan, inputs, facts, limits), record=record)
    seen = msgspec.structs.replace(
        inputs, snapshot=seeded.credited(inputs.snapshot, facts, inputs.quotes)
    )
    made = seeded.one_by_one(facts, lambda asked: decided(plan, seen, asked, limits))
    basis = book.basis_of(inputs.snapshot, facts, limits.risk)
    return msgspec.structs.replace(made, basis=basis, record=record)


def decided(
    plan: CyclePlan, inputs: AllocateInputs, facts: AllocationFacts, limits: Limits
) -> Allocation:
    """The allocation of a cycle; pure, so that it can be made again."""
    if inputs.snapshot is None or inputs.veto:
        return deny_all(facts, "service", inputs.veto or "the account is not known")
    return allocation.allocate(
        facts,
        snapshot=inputs.snapshot,
        quotes=inputs.quotes,
        quote_problems=inputs.quote_problems,
        instruments={instrument.symbol: instrument for instrument in plan.instruments},
        limits=limits,
        cycle=plan,
        market_time=plan.market_time,
        now=inputs.now,
        may_enter=inputs.may_enter and facts.trading_state is TradingState.ACTIVE,
    )


def deny_all(facts: AllocationFacts, rule: str, reason: str) -> Allocation:
    """Every candidate denied for one reason; no order."""
    decisions = tuple(
        RiskDecision(
            intent=intent,
            verdict=Verdict.DENIED,
            quantity=intent.quantity * 0,
            binding_rule=rule,
            reason=reason,
            allowances=intent.allowances,
        )
        for intent in facts.candidates
    )
    return Allocation(decisions=decisions, orders=())
