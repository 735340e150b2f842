"""The audit finds nothing in a ledger that was only used, and names whatever was tampered with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import text

from engine.audit.ledger_book import known_orders, read_ledger
from engine.domain.book import basis_of
from engine.domain.cycle import AllocationFacts
from engine.domain.ledger_values import Allocation, OpenedCycle
from engine.domain.model import OrderStatus
from engine.ledger.audit import audit
from tests.factories import (
    default_limits,
    make_allocation_facts,
    make_exit,
    make_order,
    make_position,
    make_snapshot,
)
from tests.ledger_world import World, answer, entry, fill_event, grant_all, order_event


@pytest.fixture
def busy(world: World) -> World:
    """A ledger in which everything happened that is allowed to happen."""
    world.trade(entry())
    world.trade(make_exit())
    (unknown,) = world.reserve(entry(candle_time=2))
    world.send(unknown)
    world.ledger.orders.mark_unknown(unknown.client_order_id, "timeout", world.now)
    world.send(unknown)
    world.now += timedelta(seconds=30)
    world.send(unknown)
    world.store(
        fill_event(world.next_seq(), unknown, "0.5"),
        order_event(world.next_seq(), unknown, OrderStatus.CANCELED, "0.5"),
    )
    (voided,) = world.reserve(entry("ETH/USD"))
    world.ledger.orders.record(answer(voided, OrderStatus.VOIDED), "void", world.now)
    world.reserve(entry("ETH/USD"))
    return world


def tamper(world: World, statement: str) -> None:
    with world.ledger._connections.write() as connection:
        connection.execute(text(statement))


def found(world: World) -> set[str]:
    return {finding.invariant for finding in audit(world.ledger, world.now)}


def test_a_ledger_that_was_only_used_is_clean(busy: World) -> None:
    assert audit(busy.ledger, busy.now) == ()


@pytest.mark.parametrize(
    ("invariant", "statement"),
    [
        ("I1", "update orders set has_fill = true where status = 'VOIDED'"),
        ("I2", "update events set seq = 99 where seq = 1"),
        ("I2", "delete from fills where seq = 1"),
        ("I4", "update fills set quantity = '1.5' where seq = 1"),
        ("I4", "update fills set price = '100.01' where seq = 1"),
        ("I4", "update fills set price = '99.99' where seq = 3"),
        ("I4", "update fills set fee = '0.21' where seq = 1"),
        ("I6", "update events set client_order_id = 'x' where seq = 2"),
        ("I8", "update orders set filled_quantity = '0.4' where status = 'CANCELED'"),
        ("I8", "update orders set status = 'EXPIRED' where status = 'CANCELED'"),
        ("I8", "update orders set has_fill = true where status = 'VOIDED'"),
        ("I8", "update holdings set quantity = '7' where symbol = 'BTC/USD'"),
        ("I10", "update cycles set epoch = 1 where epoch = 3"),
        ("I10", "update transitions set to_status = 'PARTIAL' where to_status = 'FILLED'"),
        ("I10", "update orders set status = 'ACCEPTED' where status = 'RESERVED'"),
        ("I11", "update orders set body = replace(body, '100', '101') where side = 'sell'"),
        ("I11", "update orders set quantity = '2' where side = 'sell'"),
    ],
)
def test_what_was_tampered_with_is_named(busy: World, invariant: str, statement: str) -> None:
    tamper(busy, statement)
    assert invariant in found(busy)


def test_orders_and_cycles_open_for_too_long_are_named(busy: World) -> None:
    busy.now += timedelta(seconds=130)
    assert found(busy) == set()
    busy.now += timedelta(seconds=1)
    findings = [f for f in audit(busy.ledger, busy.now) if f.invariant == "I7"]
    assert len(findings) == 2
    assert audit(busy.ledger) == ()


def test_the_audit_reads_all_that_its_checks_compare(busy: World) -> None:
    book = read_ledger(busy.ledger, busy.now)
    assert book.findings == ()
    assert set(book.orders) == known_orders(busy.ledger)
    assert set(book.events) == set(range(1, book.cursor + 1))
    assert [step.number for step in book.steps] == sorted(step.number for step in book.steps)
    assert {fill.seq for fill in book.fills} <= set(book.events)
    assert book.decided == ()


def test_what_a_cycle_was_decided_on_comes_back_as_it_was_stored(world: World) -> None:
    facts = make_allocation_facts(open_orders=(make_order(),))
    basis = basis_of(make_snapshot(make_position()), facts, default_limits().risk)

    def decide(cycle: OpenedCycle) -> Callable[[AllocationFacts], Allocation]:
        grant = grant_all(cycle, world.now)
        return lambda known: msgspec.structs.replace(grant(known), basis=basis)

    cycle = world.open()
    world.plan(cycle, ("BTC/USD",))
    world.report(cycle.cycle_id, 0, entry())
    world.ledger.orders.allocate(cycle.cycle_id, world.now, 0, decide(cycle))
    (decided,) = read_ledger(world.ledger, None).decided
    assert decided.basis == basis
    assert decided.cycle_id == cycle.cycle_id
    world.ledger.prune(world.now + timedelta(seconds=1))
    assert read_ledger(world.ledger, None).decided == ()
