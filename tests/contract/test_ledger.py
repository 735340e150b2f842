"""Cycles and batches: opened once, planned once, reported once, closed once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from engine.domain.cycle import (
    CycleReport,
    CycleStatus,
    Degradation,
    OutcomeStatus,
    Stage,
    SymbolCounts,
    SymbolOutcome,
)
from engine.domain.model import Verdict
from engine.errors import NotFound, Refused
from tests.factories import make_position, make_snapshot
from tests.ledger_world import World, entry, ref, verdict


def close(world: World, cycle_id: str, **changed: object) -> bool:
    so_far = world.ledger.cycles.facts(cycle_id).report
    fields = {"status": CycleStatus.COMPLETED, "finished_at": world.now, "duration_s": 0.5}
    return world.ledger.cycles.close(msgspec.structs.replace(so_far, **fields | changed))


def test_a_new_cycle_takes_the_next_epoch_above_ledger_and_floor(world: World) -> None:
    first = world.open(floor=7)
    assert (first.status, first.epoch, first.continues) == (CycleStatus.RUNNING, 8, False)
    close(world, first.cycle_id)
    assert world.open(floor=3).epoch == 9


def test_the_same_key_continues_its_own_cycle(world: World) -> None:
    first = world.open("request|x", symbols=("BTC/USD",), dry_run=True)
    again = world.open("request|x")
    assert again.continues
    assert msgspec.structs.replace(again, continues=False) == first
    assert (again.symbols, again.dry_run) == (("BTC/USD",), True)


def test_another_cycle_within_its_deadline_makes_a_new_one_skipped(world: World) -> None:
    first = world.open()
    world.now = first.times.deadline_at
    second = world.open()
    assert (second.status, second.epoch) == (CycleStatus.SKIPPED, None)
    assert first.cycle_id in second.reason
    assert world.ledger.state.read().epoch == first.epoch


def test_a_cycle_past_its_deadline_is_aborted_by_the_next(world: World) -> None:
    first = world.open()
    world.now = first.times.deadline_at + timedelta(microseconds=1)
    second = world.open()
    assert (second.status, second.epoch) == (CycleStatus.RUNNING, 2)
    aborted = world.ledger.cycles.facts(first.cycle_id).report
    assert (aborted.status, aborted.finished_at) == (CycleStatus.ABORTED, world.now)


def test_an_aborted_cycle_keeps_the_report_of_how_far_it_came(world: World) -> None:
    first = world.open()
    world.plan(first, ("BTC/USD",), ("ETH/USD",))
    world.report(first.cycle_id, 0, entry())
    world.now += timedelta(days=1)
    world.open()
    world.ledger.prune(world.now)
    (_, aborted) = world.ledger.queries.cycles(2, None).items
    assert aborted.symbols == SymbolCounts(selected=2, evaluated=1)
    assert (aborted.batches.total, aborted.batches.ok, aborted.batches.failed) == (2, 1, 1)
    assert aborted.signals.kept == 1


def test_raising_the_epoch_fences_what_the_cycle_had_before(world: World) -> None:
    cycle = world.open()
    assert world.ledger.cycles.raise_epoch(cycle.cycle_id, 40) == 41
    assert world.plan(cycle, ("BTC/USD",)).epoch == 41
    given = world.ledger.cycles.claim(ref(cycle.cycle_id, 0), "w2", world.now)
    assert given is not None
    assert given.epoch == 41
    close(world, cycle.cycle_id)
    with pytest.raises(Refused):
        world.ledger.cycles.raise_epoch(cycle.cycle_id, 50)
    with pytest.raises(NotFound):
        world.ledger.cycles.raise_epoch("nothing", 0)


def test_a_plan_is_stored_once_and_read_back_whole(world: World) -> None:
    cycle = world.open()
    outcome = SymbolOutcome(
        symbol="X/USD", batch=-1, stage=Stage.SELECT, status=OutcomeStatus.SKIPPED, reason="spread"
    )
    first = world.plan(cycle, ("BTC/USD", "ETH/USD"), ("XRP/USD",), outcomes=(outcome,))
    assert world.plan(cycle, ("OTHER/USD",)) == first
    assert world.ledger.cycles.plan(cycle.cycle_id) == first
    assert world.ledger.cycles.facts(cycle.cycle_id).outcomes == (outcome,)
    assert world.ledger.cycles.pending(cycle.cycle_id) == (0, 1)


def test_no_plan_is_stored_for_a_closed_cycle(world: World) -> None:
    cycle = world.open()
    close(world, cycle.cycle_id)
    with pytest.raises(Refused):
        world.plan(cycle, ("BTC/USD",))
    assert world.ledger.cycles.plan(cycle.cycle_id) is None


def test_a_batch_is_given_its_own_slice_and_no_other_symbol(world: World) -> None:
    cycle = world.open()
    held = make_snapshot(make_position("BTC/USD"), make_position("XRP/USD"))
    world.plan(cycle, ("BTC/USD", "ETH/USD"), ("XRP/USD",), snapshot=held)
    given = world.ledger.cycles.claim(ref(cycle.cycle_id, 0), "w1", world.now)
    assert given is not None
    assert given.ref == ref(cycle.cycle_id, 0, "BTC/USD", "ETH/USD")
    assert [i.symbol for i in given.instruments] == ["BTC/USD", "ETH/USD"]
    assert given.snapshot is not None
    assert [p.symbol for p in given.snapshot.positions] == ["BTC/USD"]
    assert given.snapshot.equity == held.equity
    assert given == world.ledger.cycles.claim(ref(cycle.cycle_id, 0), "w2", world.now)


def test_a_batch_can_be_claimed_as_often_as_there_are_tries(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",))
    batch = ref(cycle.cycle_id, 0)
    claims = [world.ledger.cycles.claim(batch, f"w{n}", world.now) for n in range(4)]
    assert [claim is not None for claim in claims] == [True, True, True, False]
    (running,) = world.ledger.cycles.running()
    state = running.batches[0]
    assert (state.tries, state.claimed_by, state.claimed_at) == (3, "w2", world.now)


def test_a_reported_batch_gives_nothing_to_do(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",))
    assert world.report(cycle.cycle_id, 0, entry())
    batch = ref(cycle.cycle_id, 0)
    assert world.ledger.cycles.claim(batch, "w", world.now) is None
    assert world.ledger.cycles.pending(cycle.cycle_id) == ()


def test_the_latest_reports_are_those_of_closed_cycles_that_ran(world: World) -> None:
    first = world.open("a")
    world.plan(first)
    assert world.open("b").status is CycleStatus.SKIPPED
    assert world.ledger.cycles.latest(2) == ()
    close(world, first.cycle_id)
    second = world.open("c")
    world.plan(second)
    close(world, second.cycle_id)
    assert [each.cycle_id for each in world.ledger.cycles.latest(2)] == [
        second.cycle_id,
        first.cycle_id,
    ]
    assert [each.cycle_id for each in world.ledger.cycles.latest(1)] == [second.cycle_id]


def test_nothing_is_claimed_or_reported_of_a_closed_cycle(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",))
    close(world, cycle.cycle_id)
    assert world.ledger.cycles.claim(ref(cycle.cycle_id, 0), "w", world.now) is None
    assert not world.report(cycle.cycle_id, 0, entry())
    assert world.ledger.cycles.candidates(cycle.cycle_id) == ()


def test_the_first_report_wins(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",), ("ETH/USD",))
    assert world.report(cycle.cycle_id, 0, entry("BTC/USD"))
    assert not world.report(cycle.cycle_id, 0, entry("ETH/USD"))
    assert [i.symbol for i in world.ledger.cycles.candidates(cycle.cycle_id)] == ["BTC/USD"]
    assert world.ledger.cycles.pending(cycle.cycle_id) == (1,)


def test_facts_hold_everything_that_the_cycle_left(world: World) -> None:
    cycle = world.open()
    degraded = Degradation(service="strategy", reason="circuit open")
    world.plan(cycle, ("BTC/USD",), ("ETH/USD",), ("XRP/USD",), select_seconds=2.0)
    denied = verdict(entry("SOL/USD"), Verdict.DENIED)
    world.report(cycle.cycle_id, 0, entry(), denied=(denied,), degraded=(degraded,))
    world.report(cycle.cycle_id, 1, failed="HTML for an answer", degraded=(degraded,))
    world.allocate(cycle)
    world.report(cycle.cycle_id, 2, entry("XRP/USD"))
    world.ledger.cycles.add_step_seconds(cycle.cycle_id, Stage.EXECUTE, 0.5)
    world.ledger.cycles.add_step_seconds(cycle.cycle_id, Stage.EXECUTE, 0.25)
    facts = world.ledger.cycles.facts(cycle.cycle_id)
    assert facts.allocated
    assert facts.batches_total == 3
    assert facts.batches_failed == {
        1: "HTML for an answer",
        2: "late: reported after the allocation",
    }
    assert (facts.signals_kept, facts.signals_dropped) == (2, 0)
    assert [d.verdict for d in facts.decisions] == [Verdict.DENIED, Verdict.APPROVED]
    assert [o.symbol for o in facts.orders] == ["BTC/USD"]
    assert facts.report.degraded == (degraded,)
    assert facts.report.step_seconds == {"select": 2.0, "execute": 0.75, "fetch": 1.5, "risk": 0.75}
    assert facts.times == cycle.times


def test_facts_name_batches_that_nobody_claimed_or_finished(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",), ("ETH/USD",))
    world.ledger.cycles.claim(ref(cycle.cycle_id, 1), "w", world.now)
    failed = world.ledger.cycles.facts(cycle.cycle_id).batches_failed
    assert failed == {0: "never claimed", 1: "not reported after 1 tries"}
    with pytest.raises(NotFound):
        world.ledger.cycles.facts("nothing")


def test_faults_are_the_outcomes_that_are_not_ok(world: World) -> None:
    cycle = world.open()
    assert world.ledger.cycles.times(cycle.cycle_id) == cycle.times
    world.plan(cycle, ("BTC/USD", "ETH/USD"), ("XRP/USD",))
    found = tuple(
        SymbolOutcome(symbol=symbol, batch=batch, stage=Stage.FETCH, status=status, reason=reason)
        for symbol, batch, status, reason in (
            ("BTC/USD", 0, OutcomeStatus.OK, ""),
            ("ETH/USD", 0, OutcomeStatus.SKIPPED, "stale: 2 candles"),
            ("XRP/USD", 1, OutcomeStatus.FAILED, "no answer"),
        )
    )
    world.report(cycle.cycle_id, 1, outcomes=found[2:])
    world.report(cycle.cycle_id, 0, outcomes=found[:2])
    assert world.ledger.cycles.faults(cycle.cycle_id) == found[1:]
    assert world.ledger.cycles.facts(cycle.cycle_id).outcomes == found
    with pytest.raises(NotFound):
        world.ledger.cycles.times("nothing")


def test_a_cycle_is_closed_once_with_its_report(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",))
    assert close(world, cycle.cycle_id, symbols=SymbolCounts(selected=1), reason="first")
    assert not close(world, cycle.cycle_id, reason="second")
    report: CycleReport = world.ledger.cycles.facts(cycle.cycle_id).report
    assert (report.status, report.reason) == (CycleStatus.COMPLETED, "first")
    assert world.ledger.cycles.running() == ()


def test_running_shows_what_the_watchdog_judges_by(world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD",), select_seconds=3.0)
    world.report(cycle.cycle_id, 0, entry())
    world.allocate(cycle)
    (running,) = world.ledger.cycles.running()
    assert running.planned_at == world.now + timedelta(seconds=3)
    assert running.allocated_at == world.now
    assert running.batches[0].reported_at == world.now
    assert [order.symbol for order in running.orders] == ["BTC/USD"]


def test_pruning_takes_outcomes_and_signals_of_old_cycles_only(world: World) -> None:
    world.reserve(entry("BTC/USD", quantity=Decimal(1)))
    old = world.ledger.cycles.running()[0].cycle_id
    world.now += timedelta(days=1)
    world.reserve(entry("ETH/USD"))
    young = world.ledger.cycles.running()[0].cycle_id
    assert world.ledger.prune(world.now - timedelta(hours=1)) == 2
    assert world.ledger.cycles.facts(old).outcomes == ()
    assert world.ledger.cycles.facts(old).orders != ()
    assert len(world.ledger.cycles.facts(young).outcomes) == 1
    assert world.ledger.prune(world.now - timedelta(hours=1)) == 0
