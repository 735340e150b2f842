"""When the engine raises an alert, when it ends, and what monitoring is told of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.alarms import Alarms
from engine.domain.alerts import KINDS, AlertRecord
from engine.domain.cycle import CycleStatus
from engine.domain.ledger_values import NewAlert
from engine.domain.messages import MonitoringEvent
from engine.domain.model import Position, TradingState
from engine.errors import ServiceUnavailable
from engine.settings import LedgerSettings, Settings
from engine.vitals import ServiceCheck
from tests.control_fakes import NOON, Bench, account, make_bench
from tests.ledger_database import unwritable_ledger

HOLD_S, CLEAR_S = 15, 30


@dataclass
class Recorder:
    """Monitoring that keeps what it is told; fails while it is away."""

    events: list[MonitoringEvent] = field(default_factory=list)
    away: bool = False

    def publish(self, events: Sequence[MonitoringEvent]) -> None:
        self.events += events
        if self.away:
            raise ServiceUnavailable("monitoring", "no answer")

    def told(self) -> list[tuple[Any, Any]]:
        """Name and phase of each alert, in order."""
        return [(event.data["name"], event.data["phase"]) for event in self.events]


@dataclass
class Watched:
    """A bench, its alarms, and monitoring."""

    bench: Bench
    alarms: Alarms
    monitoring: Recorder

    def look(self, *, after: float = 0.0) -> None:
        """One round, so many seconds later."""
        self.bench.clock.at += timedelta(seconds=after)
        now = self.bench.clock.at
        self.bench.vitals.beat_tick = now if self.bench.vitals.beat_tick else None
        for name, check in self.bench.vitals.looks.items():
            self.bench.vitals.looks[name] = msgspec.structs.replace(check, checked_at=now)
        self.alarms.look()

    def open_names(self) -> set[str]:
        """Alerts that are open in the ledger."""
        return {alert.name for alert in self.known() if alert.resolved_at is None}

    def known(self) -> tuple[AlertRecord, ...]:
        return self.bench.ledger.queries.alerts_since(NOON - timedelta(days=1))

    def down(self, service: str) -> None:
        """The last look at a service found it down."""
        self.bench.vitals.looks = self.bench.vitals.looks | {
            service: ServiceCheck(status="down", detail="connection refused", checked_at=NOON)
        }

    def up(self, service: str) -> None:
        self.bench.vitals.looks = self.bench.vitals.looks | {
            service: ServiceCheck(status="ok", detail="", checked_at=NOON)
        }


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    quick = LedgerSettings(busy_timeout_s=0.05)
    bench = make_bench(Settings(data_dir=str(tmp_path), ledger=quick))
    monitoring = Recorder()
    yield Watched(bench, alarms_of(bench, monitoring), monitoring)
    bench.ledger.dispose()


def alarms_of(bench: Bench, monitoring: Recorder, worker: str = "upkeep") -> Alarms:
    engine = dataclasses.replace(bench.desk.engine, monitoring=monitoring, worker=worker)
    return Alarms(dataclasses.replace(bench.desk, engine=engine))


def test_where_all_is_well_nothing_is_told(watched: Watched) -> None:
    watched.look()
    watched.look(after=60)
    assert (watched.known(), watched.monitoring.events) == ((), [])


def test_what_holds_for_a_while_is_told_once_and_its_end_too(watched: Watched) -> None:
    watched.down("execution")
    watched.look()
    watched.look(after=HOLD_S - 1)
    assert watched.open_names() == set()
    watched.look(after=1)
    watched.look(after=5)
    assert watched.monitoring.told() == [("execution_down", "OPEN")]
    watched.up("execution")
    watched.look(after=5)
    watched.look(after=CLEAR_S - 6)
    assert watched.open_names() == {"execution_down"}
    watched.look(after=6)
    watched.look(after=5)
    assert watched.open_names() == set()
    assert watched.monitoring.told() == [("execution_down", "OPEN"), ("execution_down", "RESOLVED")]


def test_an_alert_says_since_when_what_follows_and_where_to_read_on(watched: Watched) -> None:
    watched.down("execution")
    watched.look()
    watched.look(after=HOLD_S)
    [event] = watched.monitoring.events
    assert (event.type, event.severity, event.at) == ("alert", "critical", NOON)
    assert event.data == {
        "about": "execution_down",
        "name": "execution_down",
        "phase": "OPEN",
        "mode": "SIMULATED",
        "account": "paper",
        "detail": "connection refused",
        "effect": "nothing is sent; open orders cannot be looked up",
        "since": NOON.isoformat(),
        "runbook": "#execution_down",
    }


def test_a_cycle_without_prices_does_not_change_what_the_prices_are(tmp_path: Path) -> None:
    """A replay behind a service of the operator's own is known by its market time alone."""
    own = {"services": {"market_data": {"url": "http://127.0.0.1:9"}}}
    bench = make_bench(Settings.model_validate({"data_dir": str(tmp_path), **own}))
    monitoring = Recorder()
    watched = Watched(bench, alarms_of(bench, monitoring), monitoring)
    replayed = bench.open_cycle("schedule|a")
    bench.plan_cycle(replayed, account(), NOON - timedelta(days=90))
    bench.close_cycle(replayed)
    watched.look()
    bench.close_cycle(bench.open_cycle("schedule|b"), CycleStatus.FAILED)
    watched.look()
    [event] = watched.monitoring.events
    assert (event.data["name"], event.data["mode"]) == ("cycle_failed", "SIMULATED")
    bench.ledger.dispose()


def test_a_ledger_that_can_be_read_alone_says_what_the_prices_are(tmp_path: Path) -> None:
    """Even if it could not be written since before the first look."""
    own = {"services": {"market_data": {"url": "http://127.0.0.1:9"}}}
    quick = {"ledger": {"busy_timeout_s": 0.05}}
    bench = make_bench(Settings.model_validate({"data_dir": str(tmp_path), **own, **quick}))
    monitoring = Recorder()
    watched = Watched(bench, alarms_of(bench, monitoring), monitoring)
    replayed = bench.open_cycle("schedule|a")
    bench.plan_cycle(replayed, account(), NOON - timedelta(days=90))
    bench.close_cycle(replayed)
    with unwritable_ledger(tmp_path):
        watched.look()
        watched.look(after=HOLD_S)
    [event] = monitoring.events
    assert (event.data["name"], event.data["mode"]) == ("ledger_down", "SIMULATED")
    bench.ledger.dispose()


def test_what_comes_and_goes_within_the_hold_is_not_told(watched: Watched) -> None:
    for _ in range(5):
        watched.down("strategy")
        watched.look(after=5)
        watched.up("strategy")
        watched.look(after=5)
    assert watched.monitoring.events == []


def test_what_returns_before_it_is_over_is_one_alert(watched: Watched) -> None:
    watched.down("strategy")
    watched.look()
    watched.look(after=HOLD_S)
    watched.up("strategy")
    watched.look(after=CLEAR_S - 5)
    watched.down("strategy")
    watched.look(after=10)
    assert watched.monitoring.told() == [("strategy_down", "OPEN")]


def test_a_restart_tells_nothing_new_and_ends_what_is_over(watched: Watched) -> None:
    watched.down("portfolio")
    watched.look()
    watched.look(after=HOLD_S)
    first = [event.event_id for event in watched.monitoring.events]
    watched.up("portfolio")
    watched.alarms = alarms_of(watched.bench, watched.monitoring)
    watched.look(after=5)
    assert [event.event_id for event in watched.monitoring.events] == first * 2, "the same id"
    watched.look(after=CLEAR_S)
    assert watched.open_names() == set()


def test_of_two_watchers_one_looks_and_the_other_when_it_is_gone(watched: Watched) -> None:
    second = alarms_of(watched.bench, watched.monitoring, worker="another")
    watched.down("portfolio")
    for after in (0, 5, 5, 5):
        watched.look(after=after)
        second.look()
    assert len(watched.monitoring.events) == 1
    watched.up("portfolio")
    for _ in range(15):
        watched.bench.clock.at += timedelta(seconds=5)
        second.look()
    assert watched.open_names() == set()
    assert {event.data["phase"] for event in watched.monitoring.events} == {"OPEN", "RESOLVED"}


def test_a_ledger_that_cannot_be_written_is_told(watched: Watched) -> None:
    with unwritable_ledger(Path(watched.bench.desk.engine.settings.data_dir)):
        watched.look()
        watched.look(after=HOLD_S)
    assert watched.monitoring.told() == [("ledger_down", "OPEN")]
    watched.look(after=5)
    assert watched.monitoring.told() == [("ledger_down", "OPEN"), ("ledger_down", "RESOLVED")]


@pytest.mark.parametrize(
    "service", ["market_data", "strategy", "portfolio", "execution", "monitoring"]
)
def test_each_service_that_is_down_is_told_by_name(watched: Watched, service: str) -> None:
    watched.down(service)
    watched.look()
    watched.look(after=HOLD_S)
    assert watched.open_names() == {f"{service}_down"}


def test_without_redis_that_alone_is_told_and_nothing_counts_as_over(watched: Watched) -> None:
    watched.down("execution")
    watched.look()
    watched.look(after=HOLD_S)
    watched.bench.redis_away()
    watched.look(after=5)
    watched.look(after=CLEAR_S + HOLD_S)
    assert watched.open_names() == {"execution_down", "redis_down"}


def test_without_a_worker_for_batches_it_is_told(watched: Watched) -> None:
    [worker] = watched.bench.vitals.live_workers
    only_upkeep = msgspec.structs.replace(worker, queues=("upkeep",))
    watched.bench.vitals.live_workers = (only_upkeep,)
    watched.look()
    watched.look(after=HOLD_S)
    assert watched.open_names() == {"workers_down"}


def test_a_beat_that_stands_is_told_while_the_schedule_runs(watched: Watched) -> None:
    watched.bench.vitals.beat_tick = None
    watched.look()
    watched.look(after=HOLD_S)
    assert watched.open_names() == set()
    watched.bench.ledger.state.set_schedule(running=True, actor="test", now=NOON)
    watched.look()
    watched.look(after=HOLD_S)
    assert watched.open_names() == {"beat_down"}


def test_missed_cycles_are_told(watched: Watched) -> None:
    watched.bench.ledger.state.set_schedule(running=True, actor="test", now=NOON)
    watched.look(after=290)
    watched.look(after=HOLD_S)
    assert watched.open_names() == set()
    watched.look(after=HOLD_S)
    assert watched.open_names() == {"cycles_missed"}


def test_a_failed_cycle_is_told_at_once_and_over_after_a_good_one(watched: Watched) -> None:
    failed = watched.bench.open_cycle("schedule|a")
    watched.bench.close_cycle(failed, CycleStatus.FAILED)
    watched.look()
    [alert] = watched.known()
    assert (alert.name, alert.cycle_id) == ("cycle_failed", failed)
    watched.bench.close_cycle(watched.bench.open_cycle("schedule|b"))
    watched.look(after=5)
    watched.look(after=CLEAR_S)
    assert watched.open_names() == set()


def test_slow_cycles_are_told(watched: Watched) -> None:
    watched.bench.close_cycle(watched.bench.open_cycle(), seconds=61)
    watched.look()
    watched.look(after=HOLD_S)
    assert watched.open_names() == {"cycle_slow"}


@pytest.mark.parametrize(
    ("state", "name"), [(TradingState.HALTED, "halted"), (TradingState.REDUCING, "reducing")]
)
def test_what_the_operator_lowered_is_told_at_once_with_the_reason(
    watched: Watched, state: TradingState, name: str
) -> None:
    watched.bench.ledger.state.set_operator(state, "prices look wrong", "ops", NOON)
    watched.look()
    [alert] = watched.known()
    assert (alert.name, alert.detail) == (name, "by the operator: prices look wrong")


def test_a_latched_cause_is_told_once_and_over_when_it_is_released(watched: Watched) -> None:
    """Not told again as a halt: the cause says more."""
    watched.bench.ledger.state.latch("drawdown", TradingState.HALTED, "16 % below", NOON)
    watched.look()
    watched.look(after=60)
    assert watched.open_names() == {"drawdown"}
    watched.bench.ledger.state.clear_latches("ops", NOON)
    watched.look(after=5)
    assert watched.monitoring.told() == [("drawdown", "OPEN"), ("drawdown", "RESOLVED")]


def test_a_latched_cause_that_was_told_by_order_is_not_told_as_a_whole(watched: Watched) -> None:
    alert = NewAlert(key="foreign_order|x", name="foreign_order", severity="critical", detail="x")
    watched.bench.ledger.state.raise_alert(alert, NOON)
    watched.bench.ledger.state.latch("foreign_order", TradingState.REDUCING, "x", NOON)
    watched.look()
    watched.look(after=60)
    assert [alert.key for alert in watched.known()] == ["foreign_order|x"]
    watched.bench.ledger.state.clear_latches("ops", NOON)
    watched.look(after=5)
    assert watched.open_names() == set()


def test_a_state_lowered_by_a_cause_of_its_own_is_told(watched: Watched) -> None:
    causes = {"market_data": (TradingState.REDUCING, "12 of 40 symbols are bad")}
    watched.bench.ledger.state.set_derived(causes, NOON)
    watched.look()
    [alert] = watched.known()
    assert (alert.name, alert.detail) == ("reducing", "market_data: 12 of 40 symbols are bad")


def test_what_lowered_the_state_and_is_told_anyhow_is_not_told_twice(watched: Watched) -> None:
    causes = {"portfolio": (TradingState.REDUCING, "no answer")}
    watched.bench.ledger.state.set_derived(causes, NOON)
    watched.look()
    watched.look(after=60)
    assert watched.open_names() == set()


@pytest.mark.parametrize("name", ["exit_not_filled", "foreign_position"])
def test_an_alert_about_a_position_is_over_when_it_is_gone(watched: Watched, name: str) -> None:
    held = Position(
        symbol="BTC/USD",
        quantity=Decimal(1),
        average_price=Decimal(1),
        market_price=Decimal(1),
        strategy=None,
        opened_at=NOON,
        version=1,
    )
    states = watched.bench.ledger.state
    states.save_snapshot(msgspec.structs.replace(account(), positions=(held,)))
    alert = NewAlert(key=f"{name}|1", name=name, severity="critical", detail="BTC/USD: 3 attempts")
    states.raise_alert(alert, NOON)
    watched.look(after=60)
    assert watched.open_names() == {name}
    states.save_snapshot(account())
    watched.look(after=5)
    assert watched.open_names() == set()


def test_a_disabled_strategy_is_told_until_it_is_enabled(watched: Watched) -> None:
    key = "strategy_disabled|macd|BTC/USD|20000"
    alert = NewAlert(key=key, name="strategy_disabled", severity="warning", detail="macd on BTC")
    watched.bench.ledger.state.raise_alert(alert, NOON)
    watched.look()
    assert watched.open_names() == set(), "it is not disabled in fact"


def test_what_monitoring_did_not_take_is_not_told_again(watched: Watched) -> None:
    """Whoever publishes keeps it and sends it later."""
    watched.monitoring.away = True
    watched.down("monitoring")
    watched.look()
    watched.look(after=HOLD_S)
    watched.look(after=5)
    assert watched.monitoring.told() == [("monitoring_down", "OPEN")]


def test_the_ledgers_own_silence_is_told_without_it(watched: Watched) -> None:
    watched.bench.break_ledger()
    watched.look()
    assert watched.monitoring.events == []
    watched.look(after=HOLD_S)
    watched.look(after=5)
    assert watched.monitoring.told() == [("ledger_down", "OPEN")]
    watched.bench.breakable.away = False
    watched.look(after=5)
    assert watched.monitoring.told() == [("ledger_down", "OPEN"), ("ledger_down", "RESOLVED")]


def test_each_alert_has_a_severity_that_monitoring_takes() -> None:
    assert {kind.severity for kind in KINDS.values()} == {"critical", "warning"}
