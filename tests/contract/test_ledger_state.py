"""Trading state with its causes, schedule, leases, alerts, and what belongs to a ledger once."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from engine.domain.ledger_values import NewAlert
from engine.domain.model import TradingState
from engine.ledger.ledger import SqlLedger, open_ledger
from engine.ledger.schema import state_changes
from engine.settings import Settings
from tests.factories import NOW, make_position, make_snapshot
from tests.ledger_world import World

ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED
LATER = NOW + timedelta(minutes=1)
ALERT = NewAlert(key="k", name="n", severity="warning", detail="d")


def test_a_new_ledger_is_active_stopped_and_new(ledger: SqlLedger) -> None:
    state = ledger.state.read()
    assert (state.effective, state.operator, state.epoch) == (ACTIVE, ACTIVE, 0)
    assert (state.schedule_running, state.schedule_set_at, state.is_new) == (False, None, True)
    assert (state.latched, state.derived) == ((), ())


def test_a_ledger_with_a_cycle_is_not_new(world: World) -> None:
    world.open()
    assert not world.ledger.state.read().is_new


def test_the_lowest_of_operator_latched_and_derived_is_effective(ledger: SqlLedger) -> None:
    state = ledger.state
    state.set_operator(REDUCING, "careful", "me", NOW)
    assert state.read().effective is REDUCING
    state.set_derived({"execution": (HALTED, "down")}, NOW)
    assert state.read().effective is HALTED
    state.set_derived({}, NOW)
    assert state.read().effective is REDUCING
    state.set_operator(ACTIVE, "fine", "me", NOW)
    assert state.latch("daily_loss_soft", REDUCING, "4 %", NOW)
    assert state.read().effective is REDUCING
    state.clear_latches("me", NOW)
    assert state.read().effective is ACTIVE


def test_the_effective_state_tells_since_when_it_holds(ledger: SqlLedger) -> None:
    ledger.state.set_operator(REDUCING, "first", "me", NOW)
    ledger.state.set_operator(REDUCING, "second", "me", LATER)
    state = ledger.state.read()
    assert (state.effective_since, state.operator_reason) == (NOW, "second")


def test_a_cause_is_latched_once_and_only_goes_lower(ledger: SqlLedger) -> None:
    assert ledger.state.latch("drawdown", REDUCING, "first", NOW)
    assert not ledger.state.latch("drawdown", REDUCING, "again", LATER)
    assert not ledger.state.latch("drawdown", ACTIVE, "higher", LATER)
    assert ledger.state.latch("drawdown", HALTED, "worse", LATER)
    (latch,) = ledger.state.read().latched
    assert (latch.level, latch.detail, latch.since) == (HALTED, "worse", NOW)


def test_an_operators_raise_does_not_release_a_latch(ledger: SqlLedger) -> None:
    ledger.state.latch("drawdown", HALTED, "16 %", NOW)
    assert ledger.state.set_operator(ACTIVE, "go", "me", NOW).effective is HALTED


def test_a_derived_cause_that_persists_keeps_its_since(ledger: SqlLedger) -> None:
    ledger.state.set_derived({"portfolio": (REDUCING, "10 s")}, NOW)
    state = ledger.state.set_derived({"portfolio": (REDUCING, "70 s"), "x": (HALTED, "")}, LATER)
    known = {cause.cause: (cause.since, cause.detail) for cause in state.derived}
    assert known == {"portfolio": (NOW, "70 s"), "x": (LATER, "")}
    assert ledger.state.set_derived({}, LATER).derived == ()


def test_a_new_derived_cause_may_have_begun_earlier(ledger: SqlLedger) -> None:
    causes = {"portfolio_returned": (REDUCING, "answers again")}
    state = ledger.state.set_derived(causes, LATER, {"portfolio_returned": NOW})
    assert [cause.since for cause in state.derived] == [NOW]
    again = ledger.state.set_derived(causes, LATER, {"portfolio_returned": LATER})
    assert [cause.since for cause in again.derived] == [NOW]


def test_every_change_of_state_leaves_a_row_of_history(ledger: SqlLedger) -> None:
    state = ledger.state
    state.set_operator(REDUCING, "careful", "me", NOW)
    state.latch("drawdown", HALTED, "16 %", NOW)
    state.set_derived({"x": (HALTED, "1")}, NOW)
    state.set_derived({"x": (HALTED, "2")}, NOW)
    state.clear_latches("me", NOW)
    state.clear_latches("me", NOW)
    with ledger.reading() as connection:
        rows = connection.execute(select(state_changes).order_by(state_changes.c.number)).all()
    assert [(row.actor, row.effective) for row in rows] == [
        ("me", REDUCING),
        ("engine", HALTED),
        ("engine", HALTED),
        ("me", HALTED),
    ]


def test_the_schedule_is_set_once(ledger: SqlLedger) -> None:
    assert ledger.state.set_schedule(running=True, actor="me", now=NOW)
    assert not ledger.state.set_schedule(running=True, actor="me", now=LATER)
    state = ledger.state.read()
    assert (state.schedule_running, state.schedule_set_at) == (True, NOW)
    assert ledger.state.set_schedule(running=False, actor="me", now=LATER)


def test_stopping_what_never_ran_is_remembered_without_being_a_change(ledger: SqlLedger) -> None:
    assert not ledger.state.set_schedule(running=False, actor="me", now=NOW)
    assert ledger.state.read().schedule_set_at == NOW


def test_a_ledger_is_bound_to_the_first_feed(ledger: SqlLedger) -> None:
    assert ledger.state.bind_feed("simulated|7") == "simulated|7"
    assert ledger.state.bind_feed("files|x") == "simulated|7"


def test_the_secret_is_made_once(ledger: SqlLedger, ledger_settings: Settings) -> None:
    secret = ledger.state.secret()
    other = open_ledger(ledger_settings)
    assert (len(secret), other.state.secret()) == (32, secret)
    other.dispose()


def test_the_last_snapshot_is_kept_whole(ledger: SqlLedger) -> None:
    assert ledger.state.last_snapshot() is None
    ledger.state.save_snapshot(make_snapshot())
    newer = make_snapshot(make_position("BTC/USD"))
    ledger.state.save_snapshot(newer)
    assert ledger.state.last_snapshot() == newer


def test_a_lease_is_held_until_it_runs_out_or_is_given_back(ledger: SqlLedger) -> None:
    take, give = ledger.state.take_lease, ledger.state.release_lease
    assert take("reconcile", "a", NOW, 10)
    assert not take("reconcile", "b", NOW + timedelta(seconds=9), 10)
    assert take("reconcile", "a", NOW + timedelta(seconds=9), 10)
    assert not take("reconcile", "b", NOW + timedelta(seconds=18), 10)
    assert take("reconcile", "b", NOW + timedelta(seconds=19), 10)
    give("reconcile", "a")
    assert not take("reconcile", "a", NOW + timedelta(seconds=19), 10)
    give("reconcile", "b")
    assert take("reconcile", "a", NOW + timedelta(seconds=19), 10)
    assert take("other", "b", NOW, 10)


def test_an_alert_is_open_once(ledger: SqlLedger) -> None:
    assert ledger.state.raise_alert(ALERT, NOW)
    assert not ledger.state.raise_alert(ALERT, NOW)
    assert ledger.state.resolve_alert("k", NOW)
    assert not ledger.state.resolve_alert("k", NOW)
    assert ledger.state.raise_alert(ALERT, LATER)


def test_everything_survives_a_new_start(ledger: SqlLedger, ledger_settings: Settings) -> None:
    ledger.state.set_operator(HALTED, "stop", "me", NOW)
    ledger.dispose()
    again = open_ledger(ledger_settings)
    assert again.state.read() == ledger.state.read()
    again.dispose()
