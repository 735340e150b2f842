"""What the watchdog judges necessary, from the ledger's values alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.cycle import BatchRef, Trigger
from engine.domain.ledger_values import BatchState, OpenCycle
from engine.domain.model import Order, OrderStatus, Side
from engine.domain.timing import cycle_times
from engine.settings import Settings
from engine.watch import Fleet, RepairKind, repairs

SETTINGS = Settings()
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
TIMES = cycle_times(START, 120, barrier_s=54, send_cutoff_s=85, deadline_s=100, close_s=110)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def batch(number: int = 0, **changes: Any) -> BatchState:
    plain = BatchState(
        ref=BatchRef(cycle_id="c1", batch=number, symbols=("BTC/USD",)),
        held=False,
        tries=1,
        claimed_by="batch@one",
        claimed_at=at(1),
        reported_at=None,
    )
    return msgspec.structs.replace(plain, **changes)


def order(status: OrderStatus, updated_s: float = 20) -> Order:
    return Order(
        client_order_id=f"id-{status.value}",
        decision_key="key",
        attempt=0,
        cycle_id="c1",
        epoch=1,
        symbol="BTC/USD",
        side=Side.BUY,
        quantity=Decimal(1),
        limit_price=Decimal(1),
        reference_price=Decimal(1),
        reduce_only=False,
        strategy="sma_cross",
        body="{}",
        status=status,
        created_at=at(20),
        updated_at=at(updated_s),
        cutoff_at=TIMES.cutoff_at,
        valid_until=TIMES.deadline_at,
        market_time=START,
    )


def cycle(**changes: Any) -> OpenCycle:
    plain = OpenCycle(
        cycle_id="c1",
        key="request|r1",
        epoch=1,
        trigger=Trigger.SCHEDULE,
        times=TIMES,
        planned_at=at(0.5),
        allocated_at=None,
        batches=(batch(),),
        orders=(),
    )
    return msgspec.structs.replace(plain, **changes)


def kinds(
    cycle: OpenCycle,
    now: datetime,
    alive: set[str] | None,
    queued: int = 0,
    lost: datetime | None = None,
) -> list[RepairKind]:
    known = None if alive is None else fleet(alive, queued, lost)
    return [repair.kind for repair in repairs(cycle, now, SETTINGS, known)]


def fleet(alive: set[str], queued: int = 0, lost: datetime | None = None) -> Fleet:
    names = frozenset(alive)
    return Fleet(live_workers=names, lost_at=lost, queued_starts=queued, queued_batches=queued)


def test_a_healthy_cycle_is_left_alone() -> None:
    assert kinds(cycle(), at(5), {"batch@one"}) == []


def test_a_cycle_that_nobody_planned_is_started_again() -> None:
    unplanned = cycle(planned_at=None, batches=())
    assert kinds(unplanned, at(9.9), set()) == []
    assert kinds(unplanned, at(11), None) == []
    assert kinds(unplanned, at(11), set(), queued=1) == []
    repair = repairs(unplanned, at(11), SETTINGS, fleet(set()))[0]
    assert (repair.kind, repair.key) == (RepairKind.START, "request|r1")


def test_a_batch_that_nobody_claimed_within_ten_seconds_is_sent_again() -> None:
    unclaimed = cycle(batches=(batch(claimed_at=None, claimed_by="", tries=0),))
    assert kinds(unclaimed, at(10.4), {"batch@one"}) == []
    assert kinds(unclaimed, at(10.6), {"batch@one"}) == [RepairKind.SEND_BATCHES]


def test_a_batch_whose_message_still_waits_in_the_queue_is_late_and_not_lost() -> None:
    unclaimed = cycle(batches=(batch(claimed_at=None, claimed_by="", tries=0),))
    assert kinds(unclaimed, at(30), {"batch@one"}, queued=1) == []


def test_a_batch_whose_worker_is_gone_is_sent_again() -> None:
    assert kinds(cycle(), at(5), {"batch@two"}) == [RepairKind.SEND_BATCHES]


def test_nobody_is_taken_for_gone_while_heartbeats_cannot_be_read() -> None:
    assert kinds(cycle(), at(5), None) == []


def test_a_batch_whose_next_step_was_lost_with_another_worker_is_sent_again_soon() -> None:
    """Its message was in the hands of the one that is gone; the last step's worker lives."""
    assert kinds(cycle(), at(6.9), {"batch@one"}, lost=at(5)) == []
    assert kinds(cycle(), at(7), {"batch@one"}, lost=at(5)) == [RepairKind.SEND_BATCHES]
    assert kinds(cycle(), at(7), {"batch@one"}, lost=at(0.5)) == []


def test_a_batch_without_a_sign_of_life_is_sent_again_once_no_message_waits() -> None:
    assert kinds(cycle(), at(22), {"batch@one"}, queued=1) == []
    assert kinds(cycle(), at(20.9), {"batch@one"}) == []
    assert kinds(cycle(), at(21), {"batch@one"}) == [RepairKind.SEND_BATCHES]


def test_orders_are_sent_again_soon_after_a_worker_was_lost() -> None:
    reserved = cycle(allocated_at=at(20), orders=(order(OrderStatus.RESERVED),))
    assert kinds(reserved, at(24), set(), lost=at(22)) == [RepairKind.SEND_ORDERS]
    assert kinds(reserved, at(24), set(), lost=at(19)) == []


def test_a_batch_is_not_sent_again_once_its_tries_are_used_up() -> None:
    tired = cycle(batches=(batch(tries=SETTINGS.timing.batch_tries),))
    assert kinds(tired, at(20), {"batch@two"}) == []


def test_the_barrier_is_called_two_seconds_after_the_last_report() -> None:
    reported = cycle(batches=(batch(reported_at=at(8)), batch(1, reported_at=at(9))))
    assert kinds(reported, at(10.9), set()) == []
    assert kinds(reported, at(11), set()) == [RepairKind.ALLOCATE]


def test_the_barrier_does_not_wait_for_a_late_batch_for_ever() -> None:
    late = cycle(batches=(batch(reported_at=at(8)), batch(1)))
    assert kinds(late, TIMES.allocate_by, {"batch@one"}) == [RepairKind.ALLOCATE]


def test_orders_that_nobody_sent_are_sent_again_before_the_cut_off() -> None:
    reserved = cycle(allocated_at=at(20), orders=(order(OrderStatus.RESERVED),))
    assert kinds(reserved, at(29), set()) == []
    repair = repairs(reserved, at(31), SETTINGS, None)[0]
    assert repair.kind is RepairKind.SEND_ORDERS
    assert repair.orders == ("id-RESERVED",)


def test_a_cycle_whose_orders_are_settled_is_finished() -> None:
    settled = cycle(allocated_at=at(20), orders=(order(OrderStatus.FILLED, 21),))
    assert kinds(settled, at(22.9), set()) == []
    assert kinds(settled, at(23.1), set()) == [RepairKind.FINISH]


def test_a_cycle_with_an_order_of_unknown_fate_is_not_finished_early() -> None:
    unknown = cycle(allocated_at=at(20), orders=(order(OrderStatus.UNKNOWN, 21),))
    assert kinds(unknown, at(99), set()) == []


@given(
    planned=st.booleans(),
    allocated=st.booleans(),
    reported=st.booleans(),
    status=st.sampled_from(list(OrderStatus)),
    late=st.floats(min_value=0, max_value=1e6),
)
def test_every_cycle_past_its_deadline_is_finished(
    *, planned: bool, allocated: bool, reported: bool, status: OrderStatus, late: float
) -> None:
    overdue = cycle(
        planned_at=at(1) if planned else None,
        allocated_at=at(20) if allocated else None,
        batches=(batch(reported_at=at(5) if reported else None),),
        orders=(order(status),) if allocated else (),
    )
    now = TIMES.deadline_at + timedelta(seconds=late)
    assert kinds(overdue, now, {"batch@one"}) == [RepairKind.FINISH]
