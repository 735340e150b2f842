"""What becomes of orders when a worker or a service goes away in the middle of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from engine import degraded_state, reconcile
from engine.domain.model import OrderStatus, Side, TradingState
from engine.ledger.schema import alerts
from engine.pipeline import allocate, execute, finish
from engine.ports import Engine
from engine.wall_clock import WallClock
from tests.deployment import Deployment, deployed
from tests.factories import make_order


class LaterClock(WallClock):
    """The wall clock, put forward."""

    def __init__(self, seconds: float) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return super().now() + self._ahead


def later(engine: Engine, seconds: float) -> Engine:
    return dataclasses.replace(engine, clock=LaterClock(seconds))


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path) as started:
        yield started


def test_an_order_whose_sender_died_lowers_the_state_as_one_without_an_answer(
    deployment: Deployment,
) -> None:
    """Nobody lived to call it UNKNOWN, and while the service is away nobody can settle it."""
    plan = deployment.open()
    assert plan is not None
    (first, *_) = deployment.decide(plan)
    now = deployment.engine.clock.now()
    deployment.ledger.orders.begin_send(first.client_order_id, now, 10.0)
    deployment.stop_service("execution")
    seen = []
    for seconds in (30.0, 70.0, 310.0):
        engine = later(deployment.engine, seconds)
        result = reconcile.run(engine, wait_s=0.1)
        seen.append(degraded_state.refresh(engine, result).effective)
    assert seen == [TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED]


def test_no_send_begins_that_could_outlast_the_task(deployment: Deployment) -> None:
    plan = deployment.open()
    assert plan is not None
    orders = deployment.decide(plan)
    ids = [order.client_order_id for order in orders]
    assert ids
    assert execute.run(deployment.engine, plan.cycle_id, ids, within_s=1.0) == 0
    statuses = {order.status for order in deployment.ledger.orders.of_cycle(plan.cycle_id)}
    assert statuses == {OrderStatus.RESERVED}
    assert execute.run(deployment.engine, plan.cycle_id, ids, within_s=60.0) == len(ids)


def test_an_order_that_is_found_filled_after_its_cycle_closed_is_relayed_shown_and_counted(
    deployment: Deployment,
) -> None:
    plan = deployment.open()
    assert plan is not None
    (first, *_) = deployment.decide(plan)
    engine, orders = deployment.engine, deployment.ledger.orders
    orders.begin_send(first.client_order_id, engine.clock.now(), 10.0)
    engine.execution.submit(first.client_order_id, first.body, 5.0)
    orders.mark_unknown(first.client_order_id, "the answer was lost", engine.clock.now())
    deployment.stop_service("execution")
    closed = finish.run(later(engine, 101.0), plan.cycle_id)
    assert (closed.orders.unknown, closed.orders.filled) == (1, 0)

    deployment.start_service("execution")
    for _ in range(3):
        result = reconcile.run(later(deployment.begin(), 101.0), wait_s=1.0)
    assert result.clean

    held = deployment.engine.portfolio.snapshot().position(first.symbol)
    assert held is not None
    assert held.quantity == first.quantity
    shown = deployment.ledger.queries.cycle(plan.cycle_id).orders
    assert (shown.unknown, shown.filled) == (0, 1)
    assert deployment.ledger.queries.rates(plan.times.started_at).orders_filled == 1
    assert deployment.breaches() == []


def test_an_exit_that_is_tried_for_the_fourth_time_raises_an_alert(
    deployment: Deployment,
) -> None:
    third = make_order(side=Side.SELL, reduce_only=True, attempt=2, decision_key="third")
    fourth = make_order(side=Side.SELL, reduce_only=True, attempt=3, decision_key="fourth")
    allocate._tell_of_stuck_exits(deployment.engine, (third, fourth))
    with deployment.ledger.reading() as connection:
        keys = connection.execute(select(alerts.c.key)).scalars().all()
    assert keys == ["exit_not_filled|fourth"]
