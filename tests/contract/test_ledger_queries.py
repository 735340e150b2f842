"""What the API reads: pages, one cycle or order whole, rates, stored answers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import select

from engine.domain.cycle import CycleStatus, OrderCounts, Stage, SymbolCounts
from engine.domain.model import OrderStatus, VenueOrder, Verdict
from engine.domain.views import AuditEntry, StoredAnswer
from engine.errors import NotFound, Refused
from engine.ledger.schema import audit_log
from tests.factories import NOW, make_exit
from tests.ledger_world import World, answer, entry, verdict


def close_running(world: World, **changed: object) -> str:
    (running,) = world.ledger.cycles.running()
    so_far = world.ledger.cycles.facts(running.cycle_id).report
    fields = {"status": CycleStatus.COMPLETED, "finished_at": world.now, "duration_s": 0.5}
    world.ledger.cycles.close(msgspec.structs.replace(so_far, **fields | changed))
    return running.cycle_id


def test_cycles_are_paged_newest_first_without_loss(world: World) -> None:
    opened = []
    for _ in range(5):
        opened.append(world.open().cycle_id)
        close_running(world)
    seen: list[str] = []
    before: str | None = None
    while True:
        page = world.ledger.queries.cycles(2, before)
        seen += [report.cycle_id for report in page.items]
        before = page.next_before
        if before is None:
            break
    assert seen == opened[::-1]


def test_a_cursor_that_no_page_gave_is_refused(world: World) -> None:
    for cursor in ("x", "-1", "", "9" * 30, "١"):
        with pytest.raises(Refused):
            world.ledger.queries.cycles(2, cursor)
        with pytest.raises(Refused):
            world.ledger.queries.orders(2, cursor, None, None)


def test_a_running_cycle_reports_what_there_is_so_far(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",), ("ETH/USD",))
    progress = world.ledger.queries.current_cycle()
    assert progress is not None
    assert (progress.stage, progress.batches_reported, progress.batches_total) == (
        Stage.FETCH,
        0,
        2,
    )
    world.report(cycle.cycle_id, 0, entry(), denied=(verdict(entry("ETH/USD"), Verdict.DENIED),))
    (order,) = world.allocate(cycle)
    world.send(order)
    world.ledger.orders.record(answer(order, OrderStatus.FILLED, "1"), "submit", world.now)
    progress = world.ledger.queries.current_cycle()
    assert progress is not None
    report = progress.report
    assert (report.status, report.finished_at) == (CycleStatus.RUNNING, None)
    assert report.symbols == SymbolCounts(selected=2, evaluated=1)
    assert (report.batches.total, report.batches.ok, report.batches.failed) == (2, 1, 0)
    assert (report.signals.received, report.signals.kept) == (1, 1)
    assert report.orders == OrderCounts(candidates=2, approved=1, denied=1, submitted=1, filled=1)
    assert (progress.stage, progress.orders_total, progress.orders_done) == (Stage.EXECUTE, 1, 1)
    assert progress.deadline_at == cycle.times.deadline_at


def test_a_cycle_before_its_plan_is_selecting(world: World) -> None:
    world.open()
    progress = world.ledger.queries.current_cycle()
    assert progress is not None
    assert (progress.stage, progress.batches_total) == (Stage.SELECT, 0)


def test_there_is_no_current_cycle_once_it_is_closed(world: World) -> None:
    world.open()
    close_running(world)
    assert world.ledger.queries.current_cycle() is None


def test_the_last_cycle_is_the_latest_that_ran(world: World) -> None:
    assert world.ledger.queries.last_cycle() is None
    running = world.open()
    skipped = world.open()
    last = world.ledger.queries.last_cycle()
    assert last is not None
    assert (last.cycle_id, last.status) == (skipped.cycle_id, CycleStatus.SKIPPED)
    close_running(world)
    world.open()
    world.open()
    last = world.ledger.queries.last_cycle()
    assert last is not None
    assert last.cycle_id == running.cycle_id


def test_a_cycle_whole_shows_batches_signals_decisions_and_orders(world: World) -> None:
    (order,) = world.reserve(entry())
    detail = world.ledger.queries.cycle(order.cycle_id)
    assert detail.order_ids == (order.client_order_id,)
    assert [batch.symbols for batch in detail.batch_list] == [("BTC/USD",)]
    assert [(s.signal.symbol, s.kept) for s in detail.signal_list] == [("BTC/USD", True)]
    assert [d.verdict for d in detail.decisions] == [Verdict.APPROVED]
    assert [o.symbol for o in detail.outcomes] == ["BTC/USD"]
    with pytest.raises(NotFound):
        world.ledger.queries.cycle("nothing")


def test_orders_say_why_and_can_be_asked_by_state_and_symbol(world: World) -> None:
    world.trade(entry())
    world.trade(entry("ETH/USD"))
    world.reserve(make_exit("ETH/USD", reason="stop at 95 was touched"))
    queries = world.ledger.queries
    rows = queries.orders(9, None, None, None).items
    assert [(row.symbol, row.why) for row in rows] == [
        ("ETH/USD", "stop at 95 was touched"),
        ("ETH/USD", "sma_cross 0.80, sized by max_position_size_pct"),
        ("BTC/USD", "sma_cross 0.80, sized by max_position_size_pct"),
    ]
    filled = queries.orders(9, None, OrderStatus.FILLED, "ETH/USD").items
    assert [(row.symbol, row.status) for row in filled] == [("ETH/USD", OrderStatus.FILLED)]
    first = queries.orders(2, None, None, None)
    assert first.items == rows[:2]
    rest = queries.orders(2, first.next_before, None, None)
    assert (rest.items, rest.next_before) == (rows[2:], None)


def test_an_order_whole_tells_its_story(world: World) -> None:
    order = world.trade(entry())
    story = world.ledger.queries.order(order.client_order_id)
    assert story.order == order
    assert story.signal is not None
    assert story.signal.strategy == "sma_cross"
    assert story.decision is not None
    assert story.decision.binding_rule == "max_position_size_pct"
    steps = [(step.from_status, step.to_status, step.cause) for step in story.transitions]
    assert steps == [
        (None, OrderStatus.RESERVED, "allocate"),
        (OrderStatus.RESERVED, OrderStatus.SENDING, "send"),
        (OrderStatus.SENDING, OrderStatus.FILLED, "event"),
    ]
    assert [fill.quantity for fill in story.fills] == [Decimal(1)]
    with pytest.raises(NotFound):
        world.ledger.queries.order("nothing")


def test_an_adopted_order_has_a_story_without_signal_and_decision(world: World) -> None:
    strange = VenueOrder(
        client_order_id="s",
        order_id="v",
        state=OrderStatus.CANCELED,
        filled_quantity=Decimal(0),
        average_price=None,
        fees=Decimal(0),
        seq=1,
    )
    world.ledger.orders.adopt(strange, world.now)
    story = world.ledger.queries.order("s")
    assert (story.signal, story.decision, story.why) == (None, None, "adopted")


def test_rates_count_what_happened_since(world: World) -> None:
    world.trade(entry())
    close_running(world, symbols=SymbolCounts(selected=10))
    middle = world.now
    world.reserve(entry("A/USD"), entry("B/USD"))
    orders = world.ledger.orders.of_cycle(world.ledger.cycles.running()[0].cycle_id)
    world.send(orders[0])
    close_running(world, symbols=SymbolCounts(selected=20), duration_s=2.0)
    rates = world.ledger.queries.rates(middle - timedelta(days=1))
    assert rates.cycles_by_status == {"COMPLETED": 2}
    assert rates.durations_s == (2.0, 0.5)
    assert rates.symbols_per_cycle == 15
    assert (rates.orders_submitted, rates.orders_filled) == (2, 1)
    assert world.ledger.queries.orders_by_status() == {"FILLED": 1, "SENDING": 1, "RESERVED": 1}
    assert rates.step_seconds == {"fetch": 0.5, "risk": 0.25, "select": 0.0}
    recent = world.ledger.queries.rates(middle + timedelta(minutes=1))
    assert recent.durations_s == (2.0,)
    assert world.ledger.queries.rates(NOW + timedelta(days=9)).symbols_per_cycle is None


def test_decisions_of_closed_cycles_are_counted_on_from_the_last_reading(world: World) -> None:
    world.trade(entry())
    close_running(world)
    queries = world.ledger.queries
    first = queries.decisions_after(0)
    assert first.counts == {("APPROVED", "max_position_size_pct"): 1}
    world.reserve(entry("A/USD"))
    assert queries.decisions_after(first.number).counts == {}
    close_running(world)
    second = queries.decisions_after(first.number)
    assert second.counts == first.counts
    assert queries.decisions_after(second.number).counts == {}


def test_an_answer_is_kept_for_a_day_with_the_hash_of_its_body(world: World) -> None:
    queries = world.ledger.queries
    assert queries.idempotent("k", "h", NOW) is None
    queries.store_idempotent("k", "h", 202, "{}", NOW)
    queries.store_idempotent("k", "other", 500, "x", NOW)
    late = NOW + timedelta(hours=24) - timedelta(seconds=1)
    assert queries.idempotent("k", "h", late) == StoredAnswer(status=202, body="{}")
    mismatch = queries.idempotent("k", "other", late)
    assert mismatch is not None
    assert mismatch.mismatch
    assert queries.idempotent("k", "h", NOW + timedelta(hours=24)) is None
    queries.store_idempotent("k", "new", 200, "y", NOW + timedelta(hours=24))
    renewed = queries.idempotent("k", "new", NOW + timedelta(hours=25))
    assert renewed == StoredAnswer(status=200, body="y")


def test_who_asked_for_what_is_written_down(world: World) -> None:
    asked = AuditEntry(
        request_id="r", actor="me", method="POST", route="/halt", status=200, detail="why"
    )
    world.ledger.queries.audit_append(asked, NOW)
    world.ledger.queries.audit_append(asked, NOW)
    with world.ledger.reading() as connection:
        rows = connection.execute(select(audit_log)).all()
    assert [(row.at, row.route, row.detail) for row in rows] == [(NOW, "/halt", "why")] * 2
