"""When several processes ask for the same thing at once, exactly one of them gets it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.synchronize import Barrier, Event
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text

from engine.domain.cycle import CycleStatus
from engine.domain.model import Order, OrderStatus
from engine.errors import LedgerUnavailable
from engine.ledger.audit import audit
from engine.ledger.connections import Connections, ledger_url
from engine.ledger.ledger import SqlLedger, open_ledger
from engine.ledger.schema import account
from engine.settings import LedgerSettings, Settings
from tests.ledger_world import LEASE_S, World, answer, entry, fill_event, ref, sqlite_settings

RACERS = 4
Racer = Callable[[World], Any]


@contextmanager
def _postgresql() -> Iterator[Settings]:
    url = os.environ.get("TEST_POSTGRES_URL", "")
    if not url:
        pytest.skip("TEST_POSTGRES_URL names no PostgreSQL database")
    engine = create_engine(ledger_url(url))
    with engine.begin() as connection:
        connection.execute(text("drop schema public cascade"))
        connection.execute(text("create schema public"))
    engine.dispose()
    yield Settings(ledger=LedgerSettings(url=url))


@pytest.fixture(params=[sqlite_settings, _postgresql], ids=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with request.param() as settings:
        opened = open_ledger(settings)
        yield World(opened)
        assert audit(opened) == ()
        opened.dispose()


def _run(world: World, racer: Racer, barrier: Barrier, results: Any) -> None:
    world.ledger.ping()
    barrier.wait(30)
    results.put(racer(world))


def race(world: World, *racers: Racer) -> list[Any]:
    """Let forked processes start at one barrier; what each of them got."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(len(racers)), context.Queue()
    children = [
        context.Process(target=_run, args=(world, racer, barrier, results)) for racer in racers
    ]
    for child in children:
        child.start()
    got = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join(30)
    return got


def test_one_of_many_openers_gets_the_cycle(world: World) -> None:
    def opener(number: int) -> Racer:
        return lambda w: w.open(f"request|{number}")

    opened = race(world, *(opener(n) for n in range(RACERS)))
    statuses = sorted(cycle.status for cycle in opened)
    assert statuses == [CycleStatus.RUNNING] + [CycleStatus.SKIPPED] * (RACERS - 1)
    assert [cycle.epoch for cycle in opened if cycle.epoch is not None] == [1]


def test_one_key_opened_many_times_is_one_cycle(world: World) -> None:
    opened = race(world, *[lambda w: w.open("schedule|x")] * RACERS)
    assert len({cycle.cycle_id for cycle in opened}) == 1
    assert sorted(cycle.continues for cycle in opened) == [False] + [True] * (RACERS - 1)


def test_one_of_many_reporters_wins(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",))

    def reporter(number: int) -> Racer:
        return lambda w: w.report(cycle.cycle_id, 0, entry(candle_time=number))

    assert sorted(race(world, *(reporter(n) for n in range(3)))) == [False, False, True]
    assert len(world.ledger.cycles.candidates(cycle.cycle_id)) == 1


def test_a_batch_is_claimed_as_often_as_there_are_tries_and_no_more(world: World) -> None:
    cycle = world.open()
    batch = world.plan(cycle, ("BTC/USD",)).batches[0]

    def claimer(w: World) -> bool:
        given = w.ledger.cycles.claim(ref(cycle.cycle_id, batch.number), "w", w.now)
        return given is not None

    assert sorted(race(world, *[claimer] * 4)) == [False, True, True, True]


def test_one_of_many_allocators_decides_and_all_get_its_orders(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",), ("ETH/USD",))
    world.report(cycle.cycle_id, 0, entry("BTC/USD"))
    world.report(cycle.cycle_id, 1, entry("ETH/USD"))
    results: list[tuple[Order, ...]] = race(world, *[lambda w: w.allocate(cycle)] * RACERS)
    assert all(orders == results[0] for orders in results)
    assert len(results[0]) == 2
    assert len(world.ledger.cycles.facts(cycle.cycle_id).decisions) == 2


def test_one_of_many_senders_may_send(world: World) -> None:
    (order,) = world.reserve(entry())

    def sender(w: World) -> bool:
        now = w.now + timedelta(seconds=1)
        return w.ledger.orders.begin_send(order.client_order_id, now, LEASE_S).order is not None

    assert sorted(race(world, *[sender] * RACERS)) == [False] * (RACERS - 1) + [True]


def test_events_stored_by_many_are_counted_once(world: World) -> None:
    (order,) = world.reserve(entry())
    world.send(order)
    fills = [fill_event(seq, order, "0.1") for seq in range(1, 11)]
    filled = answer(order, OrderStatus.FILLED, "1")

    def reader(start: int) -> Racer:
        return lambda w: w.store(*fills[start:])

    def recorder(w: World) -> bool:
        return w.ledger.orders.record(filled, "submit", w.now)

    race(world, reader(0), reader(3), reader(0), recorder)
    stored = world.ledger.orders.order(order.client_order_id)
    assert stored is not None
    assert (stored.status, stored.filled_quantity) == (OrderStatus.FILLED, order.quantity)
    assert world.ledger.orders.position_sums() == {"BTC/USD": "1"}
    assert world.ledger.orders.contiguous_seq() == 10


def test_one_of_many_takers_gets_a_lease(world: World) -> None:
    def taker(name: str) -> Racer:
        return lambda w: w.ledger.state.take_lease("reconcile", name, w.now, 10)

    got = race(world, *(taker(str(n)) for n in range(RACERS)))
    assert sorted(got) == [False] * (RACERS - 1) + [True]


def _hold(url: str, timeout_s: float, holding: Event) -> None:
    connections = Connections(ledger_url(url), timeout_s)
    with connections.write() as connection:
        connection.execute(select(account).with_for_update())
        holding.set()
        signal.pause()


def test_a_frozen_process_does_not_keep_its_locks_on_postgresql() -> None:
    """As a host that is cut off in the middle of a transaction."""
    timeout_s = 1.0
    with _postgresql() as settings:
        url = settings.ledger.url
        limited = Settings(ledger=LedgerSettings(url=url, busy_timeout_s=timeout_s))
        ledger = open_ledger(limited)
        context = multiprocessing.get_context("spawn")
        holding = context.Event()
        child = context.Process(target=_hold, args=(url, timeout_s, holding), daemon=True)
        child.start()
        try:
            assert holding.wait(30)
            assert child.pid is not None
            os.kill(child.pid, signal.SIGSTOP)
            assert not _opens(ledger)
            give_up_at = time.monotonic() + 20
            while not _opens(ledger):
                assert time.monotonic() < give_up_at, "the lock is still held"
        finally:
            child.kill()
            child.join(10)
            ledger.dispose()


def _opens(ledger: SqlLedger) -> bool:
    try:
        return World(ledger).open("request|after") is not None
    except LedgerUnavailable:
        return False
