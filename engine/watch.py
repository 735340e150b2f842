"""What the watchdog must do now: judged from the ledger alone, carried out by the caller.

A chord is an optimisation; the ledger decides what is complete, and the watchdog finishes the rest.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from engine.domain.cycle import BatchRef
from engine.domain.ledger_values import BatchState, OpenCycle
from engine.domain.model import OrderStatus, Value
from engine.settings import Settings


class RepairKind(StrEnum):
    """What is to be done about a cycle."""

    START = "start"
    SEND_BATCHES = "send_batches"
    ALLOCATE = "allocate"
    SEND_ORDERS = "send_orders"
    FINISH = "finish"


class Repair(Value, frozen=True, kw_only=True):
    """One thing to do; `key` for START, `batches` for SEND_BATCHES, `orders` for SEND_ORDERS."""

    kind: RepairKind
    cycle_id: str
    why: str
    key: str = ""
    batches: tuple[BatchRef, ...] = ()
    orders: tuple[str, ...] = ()


class Fleet(Value, frozen=True, kw_only=True):
    """What is known of the workers: who lives, when one was last missed, and what waits."""

    live_workers: frozenset[str]
    lost_at: datetime | None
    queued_starts: int
    queued_batches: int


def repairs(
    cycle: OpenCycle, now: datetime, settings: Settings, fleet: Fleet | None
) -> tuple[Repair, ...]:
    """What a RUNNING cycle needs. `fleet` None: nobody knows, since Redis does not answer."""
    if now >= cycle.times.deadline_at:
        return (_finish(cycle, "past its deadline"),)
    if cycle.planned_at is None:
        return _before_plan(cycle, now, settings, fleet)
    if cycle.allocated_at is None:
        return _before_allocation(cycle, now, settings, fleet)
    return _after_allocation(cycle, now, settings, fleet)


def _before_plan(
    cycle: OpenCycle, now: datetime, settings: Settings, fleet: Fleet | None
) -> tuple[Repair, ...]:
    """Whoever opened it is gone: its message comes back only after the visibility timeout."""
    if fleet is None or fleet.queued_starts > 0:
        return ()
    if now < _patient_until(cycle.times.started_at, settings, fleet):
        return ()
    return (
        Repair(
            kind=RepairKind.START,
            cycle_id=cycle.cycle_id,
            why="nobody planned it",
            key=cycle.key,
        ),
    )


def _before_allocation(
    cycle: OpenCycle, now: datetime, settings: Settings, fleet: Fleet | None
) -> tuple[Repair, ...]:
    grace = timedelta(seconds=settings.timing.barrier_grace_s)
    waiting = [batch for batch in cycle.batches if batch.reported_at is None]
    planned_at = cycle.planned_at or cycle.times.started_at
    if not waiting:
        reported = [batch.reported_at for batch in cycle.batches if batch.reported_at is not None]
        if now >= max(reported, default=planned_at) + grace:
            return (_allocate(cycle, "every batch has reported"),)
        return ()
    if now >= cycle.times.allocate_by:
        return (_allocate(cycle, f"{len(waiting)} batches are late"),)
    lost = tuple(
        batch.ref
        for batch in waiting
        if batch.tries < settings.timing.batch_tries
        and _is_lost(batch, planned_at, now, settings, fleet)
    )
    if not lost:
        return ()
    return (
        Repair(
            kind=RepairKind.SEND_BATCHES,
            cycle_id=cycle.cycle_id,
            why="nobody works on them",
            batches=lost,
        ),
    )


def _is_lost(
    batch: BatchState, planned_at: datetime, now: datetime, settings: Settings, fleet: Fleet | None
) -> bool:
    """No message and no worker will report it any more.

    `claimed_at` is when the latest of its steps began. While messages wait, it may be late only.
    """
    limit = timedelta(seconds=settings.celery.time_limit_s)
    if batch.claimed_at is None:
        is_held, since = False, planned_at
    else:
        is_held, since = now < batch.claimed_at + limit, batch.claimed_at
        if not is_held:
            return True
    if fleet is None:
        return False
    if is_held and batch.claimed_by not in fleet.live_workers:
        return now >= since + timedelta(seconds=settings.workers.heartbeat_ttl_s)
    patience = _patient_until(since, settings, fleet, times=2 if is_held else 1)
    return fleet.queued_batches == 0 and now >= patience


def _patient_until(
    since: datetime, settings: Settings, fleet: Fleet | None, times: int = 1
) -> datetime:
    """Until when what was sent at `since` may be on its way: shorter once a worker was lost."""
    timing = settings.timing
    patience = since + timedelta(seconds=times * timing.claim_s)
    if fleet is None or fleet.lost_at is None or fleet.lost_at < since:
        return patience
    return min(patience, fleet.lost_at + timedelta(seconds=timing.barrier_grace_s))


def _after_allocation(
    cycle: OpenCycle, now: datetime, settings: Settings, fleet: Fleet | None
) -> tuple[Repair, ...]:
    allocated_at = cycle.allocated_at or cycle.times.started_at
    reserved = tuple(
        order.client_order_id for order in cycle.orders if order.status is OrderStatus.RESERVED
    )
    if reserved and now < cycle.times.cutoff_at:
        if now < _patient_until(allocated_at, settings, fleet):
            return ()
        return (
            Repair(
                kind=RepairKind.SEND_ORDERS,
                cycle_id=cycle.cycle_id,
                why="nobody sent them",
                orders=reserved,
            ),
        )
    working = {OrderStatus.SENDING, OrderStatus.UNKNOWN, OrderStatus.RESERVED}
    if any(order.status in working for order in cycle.orders):
        return ()
    moved = [order.updated_at for order in cycle.orders]
    grace = timedelta(seconds=settings.timing.barrier_grace_s)
    if now >= max(moved, default=allocated_at) + grace:
        return (_finish(cycle, "all its orders are settled"),)
    return ()


def _allocate(cycle: OpenCycle, why: str) -> Repair:
    return Repair(kind=RepairKind.ALLOCATE, cycle_id=cycle.cycle_id, why=why)


def _finish(cycle: OpenCycle, why: str) -> Repair:
    return Repair(kind=RepairKind.FINISH, cycle_id=cycle.cycle_id, why=why)
