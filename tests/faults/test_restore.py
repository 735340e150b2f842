"""A ledger restored from an old copy, or lost: the gap is closed from the execution service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from engine import reconcile
from engine.domain.cycle import Attempt, CyclePlan
from engine.domain.model import Order, OrderStatus, TradingState
from engine.ledger.fact_rows import _attempts
from engine.pipeline import execute, finish
from tests.deployment import Deployment, deployed


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """One cycle was traded."""
    with deployed(tmp_path) as started:
        report = started.cycle()
        assert report.orders.filled >= 3
        yield started


def decided(deployment: Deployment) -> tuple[CyclePlan, tuple[Order, ...]]:
    """A cycle up to its reserved orders; the market moves on until there are some."""
    for _ in range(20):
        plan = deployment.open()
        assert plan is not None
        orders = deployment.decide(plan)
        if orders:
            return plan, orders
        finish.run(deployment.engine, plan.cycle_id)
    raise AssertionError("no cycle with an order")


def send_all(deployment: Deployment, plan: CyclePlan, orders: tuple[Order, ...]) -> None:
    execute.run(deployment.engine, plan.cycle_id, [order.client_order_id for order in orders])
    finish.run(deployment.engine, plan.cycle_id)


def latched(deployment: Deployment) -> set[str]:
    return {cause.cause for cause in deployment.ledger.state.read().latched}


def positions(deployment: Deployment) -> dict[str, str]:
    held = deployment.engine.portfolio.snapshot().positions
    return {position.symbol: str(position.quantity) for position in held}


def test_an_undisturbed_deployment_audits_clean_over_http_and_from_its_files(
    deployment: Deployment,
) -> None:
    assert deployment.breaches() == []
    assert deployment.breaches(from_files=True) == []


def test_a_copy_from_before_the_last_cycles_catches_up(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Orders that the copy does not know are adopted, each once, and nothing is sent again."""
    copy = tmp_path / "yesterday"
    deployment.save_ledger(copy)
    plan, orders = decided(deployment)
    send_all(deployment, plan, orders)
    traded, held = deployment.venue_orders(), positions(deployment)
    deployment.replace_ledger(copy)

    result = deployment.reconcile()

    assert result.clean
    assert deployment.venue_orders() == traded
    assert positions(deployment) == held
    assert all(deployment.ledger.orders.order(order.client_order_id) for order in orders)
    assert latched(deployment) == {"foreign_order"}
    assert deployment.breaches() == []
    assert deployment.breaches(from_files=True) == []


def test_an_order_that_was_only_reserved_in_the_copy_takes_the_end_that_the_log_tells(
    deployment: Deployment, tmp_path: Path
) -> None:
    copy = tmp_path / "yesterday"
    plan, orders = decided(deployment)
    deployment.save_ledger(copy)
    send_all(deployment, plan, orders)
    traded = deployment.venue_orders()
    deployment.replace_ledger(copy)

    assert deployment.reconcile().clean
    statuses = {one.status for one in deployment.ledger.orders.of_cycle(plan.cycle_id)}
    assert statuses <= {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED}
    assert latched(deployment) == set()
    finish.run(deployment.engine, plan.cycle_id)
    assert deployment.venue_orders() == traded
    assert deployment.breaches() == []


def test_a_lost_ledger_is_made_again_from_the_log(deployment: Deployment) -> None:
    traded, held = deployment.venue_orders(), positions(deployment)
    fence = deployment.engine.execution.fence().epoch
    deployment.replace_ledger(None)

    assert deployment.reconcile().clean
    assert {order for order in traded if deployment.ledger.orders.order(order)} == traded
    assert latched(deployment) == {"foreign_order"}
    assert deployment.ledger.state.read().effective is TradingState.REDUCING
    report = deployment.cycle()
    assert report.epoch is not None
    assert report.epoch > fence
    assert deployment.venue_orders() >= traded
    assert positions(deployment).keys() <= held.keys()
    assert deployment.breaches() == []
    assert deployment.breaches(from_files=True) == []


def test_a_decision_that_a_lost_ledger_had_made_is_not_made_again(
    deployment: Deployment,
) -> None:
    """The same closed candle is judged again: its order's id says that it was acted on."""
    plan, orders = decided(deployment)
    entries = [order for order in orders if not order.reduce_only]
    send_all(deployment, plan, orders)
    traded = deployment.venue_orders()
    deployment.replace_ledger(None)
    assert deployment.reconcile().clean
    known = attempts(deployment, entries)
    for order in entries:
        attempt = known[order.decision_key]
        assert attempt.count == order.attempt + 1
        assert attempt.last_terminal
        assert attempt.last_filled is (order.client_order_id in traded)


def attempts(deployment: Deployment, orders: list[Order]) -> dict[str, Attempt]:
    with deployment.ledger.reading() as connection:
        return _attempts(connection, {order.decision_key for order in orders})


def test_a_lost_reservation_that_was_sent_is_adopted_with_the_terms_that_were_accepted(
    deployment: Deployment, tmp_path: Path
) -> None:
    """The restored ledger decides the same again with another body: 409, look up, adopt."""
    plan, orders = decided(deployment)
    (first, *_) = orders
    other = json.loads(first.body) | {"quantity": str(first.quantity / 2)}
    url = deployment.settings.services.execution.base_url
    answer = requests.post(f"{url}/orders", data=json.dumps(other), timeout=5)
    assert answer.status_code == 201, answer.text
    send_all(deployment, plan, orders)

    known = deployment.ledger.orders.order(first.client_order_id)
    assert known is not None
    assert known.status is OrderStatus.FILLED
    assert known.quantity == known.filled_quantity == first.quantity / 2
    assert latched(deployment) == {"foreign_order"}
    assert deployment.reconcile().clean
    assert deployment.breaches() == []
    assert deployment.breaches(from_files=True) == []


def foreign_order(deployment: Deployment, quantity: str = "1") -> str:
    """An order that somebody else sends past the engine."""
    symbol = deployment.engine.portfolio.snapshot().positions[0].symbol
    quote = deployment.engine.market_data.quotes([symbol]).quotes[symbol]
    body = {
        "client_order_id": "somebody-elses",
        "account": "paper",
        "epoch": deployment.engine.execution.fence().epoch,
        "symbol": symbol,
        "side": "buy",
        "type": "market",
        "time_in_force": "IOC",
        "quantity": quantity,
        "reference_price": str(quote.ask),
        "reduce_only": False,
        "strategy": "",
        "valid_until": (datetime.now(UTC) + timedelta(minutes=1)).isoformat(),
    }
    url = deployment.settings.services.execution.base_url
    answer = requests.post(f"{url}/orders", data=json.dumps(body), timeout=5)
    assert answer.status_code == 201, answer.text
    return "somebody-elses"


def test_a_foreign_order_that_the_barrier_reads_first_is_adopted(deployment: Deployment) -> None:
    """Whoever relays events adopts: once they are applied nobody reads them again."""
    plan = deployment.open()
    assert plan is not None
    identity = foreign_order(deployment)
    orders = deployment.decide(plan)
    if not orders:
        reconcile.relay(deployment.engine)
    assert deployment.ledger.orders.order(identity) is not None
    assert "foreign_order" in latched(deployment)
    assert deployment.reconcile().clean
    assert deployment.breaches() == []


def test_a_service_with_another_log_is_asked_for_nothing(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Its void would prove nothing, and its fills are not this account's."""
    plan, orders = decided(deployment)
    deployment.stop_service("execution")
    for file in tmp_path.glob("execution.sqlite*"):
        file.rename(file.with_name(file.name.replace("execution", "kept")))
    deployment.start_service("execution")

    result = deployment.reconcile()

    assert not result.clean
    assert latched(deployment) == {"log_identity"}
    assert deployment.ledger.state.read().effective is TradingState.HALTED
    statuses = {one.status for one in deployment.ledger.orders.of_cycle(plan.cycle_id)}
    assert statuses == {OrderStatus.RESERVED}
    assert orders
    assert any(line.startswith("I6") for line in deployment.breaches())


def test_a_service_restored_from_an_old_copy_halts_the_engine(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Its head lies below what was read before: later events would come under known numbers."""
    deployment.stop_service("execution")
    old = {file.name: file.read_bytes() for file in tmp_path.glob("execution.sqlite*")}
    deployment.start_service("execution")
    plan, orders = decided(deployment)
    send_all(deployment, plan, orders)
    deployment.stop_service("execution")
    for file in tmp_path.glob("execution.sqlite*"):
        file.unlink()
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)
    deployment.start_service("execution")

    result = deployment.reconcile()

    assert not result.clean
    assert latched(deployment) == {"log_behind"}
    assert deployment.ledger.state.read().effective is TradingState.HALTED
    assert any(line.startswith("I5") for line in deployment.breaches())
