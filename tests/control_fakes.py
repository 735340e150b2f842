"""Hand-written fakes behind the ports that the controls use, and a desk of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import msgspec
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from api import create_api
from engine.control.desk import Circuit, Desk
from engine.domain.cycle import CyclePlan, CycleRequest, CycleStatus, SymbolCounts, Trigger
from engine.domain.messages import Fence, HaltAnswer, SymbolList
from engine.domain.model import MarketClock, PortfolioSnapshot, TradingState
from engine.errors import LedgerUnavailable, ServiceUnavailable
from engine.ledger.ledger import SqlLedger, open_ledger
from engine.ledger.queries_equity import AccountQueries
from engine.ledger.schema import audit_log
from engine.pipeline.open_cycle import times_from
from engine.ports import Engine
from engine.reconcile import ReconcileResult
from engine.service_settings import SERVICES
from engine.settings import Settings
from engine.vitals import CallRates, ProcessVitals, ServiceCheck, WorkerVitals
from web import KeyRing

NOON = datetime(2025, 11, 22, 12, 0, tzinfo=UTC)


class SteppingClock:
    """Time that moves only when told."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Switchable:
    """A service that can be taken away, or made to hang until released."""

    away: bool = False
    hangs: threading.Event | None = None

    def _answer(self, name: str) -> None:
        if self.hangs is not None:
            self.hangs.wait(20)
        if self.away:
            raise ServiceUnavailable(name, "no answer")


@dataclass
class FakeMarketData(Switchable):
    """The market data service."""

    def symbols(self) -> SymbolList:
        self._answer("market_data")
        return SymbolList(as_of=NOON, clock=MarketClock.REPLAY, symbols=())


@dataclass
class FakePortfolio(Switchable):
    """The portfolio service."""

    def snapshot(self) -> PortfolioSnapshot:
        self._answer("portfolio")
        return account()


@dataclass
class FakeExecution(Switchable):
    """The execution service and its kill switch."""

    halted: bool = False
    open_orders: tuple[str, ...] = ()
    calls: list[str] = field(default_factory=list)
    on_resume: Callable[[], None] | None = None

    def fence(self) -> Fence:
        self._answer("execution")
        return Fence(epoch=1, log_id="log", halted=self.halted)

    def halt(self, reason: str, *, cancel_open: bool) -> HaltAnswer:
        self._answer("execution")
        self.halted = True
        self.calls.append(f"halt {reason}")
        return HaltAnswer(halted=True, cancelled=self.open_orders if cancel_open else ())

    def resume(self, reason: str) -> None:
        self._answer("execution")
        self.halted = False
        self.calls.append(f"resume {reason}")
        if self.on_resume is not None:
            self.on_resume()


@dataclass
class FakeDispatcher:
    """Redis as the dispatcher sees it."""

    away: bool = False
    sent: list[CycleRequest] = field(default_factory=list)

    def start_cycle(self, request: CycleRequest) -> None:
        if self.away:
            raise ServiceUnavailable("redis", "connection refused")
        self.sent.append(request)


@dataclass
class FakeSchedule:
    """The beat entry."""

    clock: SteppingClock
    away: bool = False
    due_at: datetime | None = None

    def save(self, interval_s: float) -> None:
        self._reach()
        self.due_at = self.clock.now() + timedelta(seconds=interval_s)

    def remove(self) -> None:
        self._reach()
        self.due_at = None

    def next_run_at(self) -> datetime | None:
        self._reach()
        return self.due_at

    def _reach(self) -> None:
        if self.away:
            raise ServiceUnavailable("redis", "connection refused")


@dataclass
class FakeReconcile:
    """Reconciliation with a result made up beforehand."""

    problems: tuple[str, ...] = ()
    during: Callable[[], None] | None = None

    def __call__(self, engine: object, *, wait_s: float) -> ReconcileResult:
        if self.during is not None:
            self.during()
        return ReconcileResult(clean=not self.problems, problems=self.problems)


def account(equity: str = "100000", applied_seq: int = 0) -> PortfolioSnapshot:
    """An account that holds nothing."""
    return PortfolioSnapshot(
        account="paper",
        currency="USD",
        cash=Decimal(equity),
        equity=Decimal(equity),
        peak_equity=Decimal(100000),
        day_start_equity=Decimal(100000),
        realized_pnl=Decimal(0),
        positions=(),
        applied_seq=applied_seq,
        as_of=NOON,
    )


@dataclass
class FakeVitals:
    """What heartbeats would say."""

    clock: SteppingClock
    redis: bool = True
    live_workers: tuple[WorkerVitals, ...] = ()
    beat_tick: datetime | None = None
    looks: dict[str, ServiceCheck] = field(default_factory=dict)

    def ping(self) -> float | None:
        return 0.2 if self.redis else None

    def workers(self) -> tuple[WorkerVitals, ...]:
        return self.live_workers if self.redis else ()

    def processes(self) -> tuple[ProcessVitals, ...]:
        return (PROCESS,) if self.redis else ()

    def last_beat_tick(self) -> datetime | None:
        return self.beat_tick if self.redis else None

    def checks(self) -> dict[str, ServiceCheck]:
        return self.looks if self.redis else {}

    def call_rates(self) -> dict[str, CallRates]:
        rates = CallRates(calls=10, failures=1, error_rate=0.1, latency_ms=4.5)
        return dict.fromkeys(SERVICES, rates) if self.redis else {}

    def queue_depths(self, names: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(names, 0) if self.redis else {}


PROCESS = ProcessVitals(name="api", pid=11, cpu_percent=3.0, memory_mb=80.0)


def worker(at: datetime = NOON) -> WorkerVitals:
    """A worker that has just sent a heartbeat."""
    process = ProcessVitals(name="batch-1", pid=12, cpu_percent=50.0, memory_mb=120.0)
    return WorkerVitals(
        name="batch@host",
        queues=("cycle", "batch", "execute"),
        processes=(process,),
        last_seen_at=at,
        active=1,
        cpu_percent=50.0,
        memory_mb=120.0,
    )


class BreakableLedger:
    """The real ledger until it is taken away: then nothing answers."""

    def __init__(self, real: SqlLedger) -> None:
        self._real = real
        self.away = False

    def __getattr__(self, name: str) -> Any:
        return _Breakable(self, getattr(self._real, name))

    def ping(self) -> None:
        self.reach()
        self._real.ping()

    def reach(self) -> None:
        if self.away:
            raise LedgerUnavailable("ledger: disk I/O error")


class _Breakable:
    def __init__(self, ledger: BreakableLedger, part: Any) -> None:
        self._ledger = ledger
        self._part = part

    def __getattr__(self, name: str) -> Any:
        self._ledger.reach()
        return getattr(self._part, name)


@dataclass(repr=False)
class Bench:
    """The app with everything around it, and shorthands to ask it."""

    ledger: SqlLedger
    breakable: BreakableLedger
    clock: SteppingClock
    market_data: FakeMarketData
    portfolio: FakePortfolio
    execution: FakeExecution
    dispatcher: FakeDispatcher
    schedule: FakeSchedule
    vitals: FakeVitals
    reconcile: FakeReconcile
    open_circuits: dict[str, str]
    desk: Desk
    app: Flask

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.app.test_client().get(path, **options)

    def post(self, path: str, body: object = None, **options: Any) -> TestResponse:
        return self.app.test_client().post(path, json=body, **options)

    def redis_away(self) -> None:
        self.dispatcher.away = self.schedule.away = True
        self.vitals.redis = False

    def redis_back(self) -> None:
        self.dispatcher.away = self.schedule.away = False
        self.vitals.redis = True

    def break_ledger(self) -> None:
        self.breakable.away = True

    def audit_rows(self) -> list[dict[str, Any]]:
        with self.ledger.reading() as connection:
            rows = connection.execute(select(audit_log).order_by(audit_log.c.number)).mappings()
            return [dict(row) for row in rows]

    def open_cycle(self, key: str = "schedule|a") -> str:
        """A RUNNING cycle, opened as a worker would."""
        now = self.clock.now()
        request = CycleRequest(key=key, trigger=Trigger.SCHEDULE, scheduled_at=now)
        times = times_from(self.desk.engine, now)
        return self.ledger.cycles.open(request, times, 0, "hash").cycle_id

    def plan_cycle(self, cycle_id: str, snapshot: PortfolioSnapshot, at: datetime) -> None:
        """Give a RUNNING cycle a plan without batches, at market time `at`."""
        self.ledger.cycles.set_plan(
            CyclePlan(
                cycle_id=cycle_id,
                epoch=1,
                times=times_from(self.desk.engine, self.clock.now()),
                clock=MarketClock.REPLAY,
                market_time=at,
                dry_run=False,
                trading_state=TradingState.ACTIVE,
                may_enter=True,
                may_send=True,
                instruments=(),
                batches=(),
                snapshot=snapshot,
            )
        )
        self.ledger.state.save_snapshot(snapshot)

    def close_cycle(
        self, cycle_id: str, status: CycleStatus = CycleStatus.COMPLETED, seconds: float = 2.5
    ) -> None:
        """Close a RUNNING cycle with this status after so many seconds."""
        report = self.ledger.cycles.facts(cycle_id).report
        self.ledger.cycles.close(
            msgspec.structs.replace(
                report,
                status=status,
                finished_at=report.started_at + timedelta(seconds=seconds),
                duration_s=seconds,
                symbols=SymbolCounts(selected=50, evaluated=50),
            )
        )


def make_bench(settings: Settings, keys: KeyRing | None = None) -> Bench:
    """A bench over a new ledger in the settings' data_dir."""
    clock = SteppingClock()
    ledger = open_ledger(settings)
    breakable = BreakableLedger(ledger)
    market_data, portfolio, execution = FakeMarketData(), FakePortfolio(), FakeExecution()
    vitals = FakeVitals(clock, live_workers=(worker(),), beat_tick=NOON)
    look = ServiceCheck(status="ok", detail="", checked_at=NOON, latency_ms=3.0, last_ok_at=NOON)
    vitals.looks = dict.fromkeys(SERVICES, look)
    dispatcher, schedule, reconcile = FakeDispatcher(), FakeSchedule(clock), FakeReconcile()
    engine = Engine(
        settings=settings,
        clock=clock,
        market_data=cast("Any", market_data),
        strategy=cast("Any", None),
        portfolio=cast("Any", portfolio),
        execution=cast("Any", execution),
        monitoring=cast("Any", None),
        ledger=cast("Any", breakable),
        cache=cast("Any", None),
        worker="api",
    )
    circuits: dict[str, str] = {}
    desk = Desk(
        engine=engine,
        queries=breakable.queries,
        operator=breakable.operator,
        account=AccountQueries(ledger),
        dispatcher=dispatcher,
        schedule=schedule,
        vitals=vitals,
        circuits=lambda now: {
            name: Circuit(state=circuits.get(name, "closed"), since=now) for name in SERVICES
        },
        reconcile=reconcile,
    )
    return Bench(
        ledger=ledger,
        breakable=breakable,
        clock=clock,
        market_data=market_data,
        portfolio=portfolio,
        execution=execution,
        dispatcher=dispatcher,
        schedule=schedule,
        vitals=vitals,
        reconcile=reconcile,
        open_circuits=circuits,
        desk=desk,
        app=create_api(desk, keys),
    )
