"""The five services behind doors that can go wrong, an engine, and its API: one cycle looked at.

The account holds three positions whose stops are touched, and three other symbols have buy
signals: a healthy cycle sends three exits and three entries.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from api import create_api
from engine.bootstrap import build_breakers, build_vitals
from engine.config_source import load_settings
from engine.control.desk import Circuit, Desk
from engine.domain.cycle import CycleReport
from engine.domain.model import OrderStatus
from engine.ledger.queries_equity import AccountQueries
from engine.settings import Settings
from tests import deployment
from tests.control_fakes import FakeDispatcher, FakeReconcile, FakeSchedule, SteppingClock
from tests.degraded.faulty_front import Front
from tests.faulty_server import Asked
from tests.integration.stack import free_ports
from tests.ledger_database import copy_ledger

SERVICES = ("market_data", "strategy", "portfolio", "execution", "monitoring")
TRADES = 3
STRATEGY = '''
from engine.domain.model import Action
from services.strategy import Opinion, Parameters, Strategy

class Turns(Parameters, frozen=True, kw_only=True):
    """No parameters."""

def judge(candles, holding, parameters):
    return None if holding else Opinion(action=Action.BUY, confidence=0.9, reason="always")

STRATEGY = Strategy(
    name="turns", version="1", parameters=Turns, min_candles=lambda _: 2, judge=judge,
    adds_to_holdings=True,
)
'''
CONFIG: Mapping[str, str] = {
    "SERVICES__MARKET_DATA__SYMBOLS": "6",
    "SERVICES__STRATEGY__STRATEGIES": '[{"id": "turns", "name": "turns"}]',
    "SERVICES__STRATEGY__DEFAULT_STOP_ATR": "0",
    "TRADING_ENGINE__CANDLES": "40",
    "EXITS__STOP": "0.0001",
    "SIZING__METHOD": "fraction",
    "RISK__MAX_PORTFOLIO_RISK": "1",
    "LOG__LEVEL": "error",
}
QUICK = {
    f"SERVICES__{name.upper()}__{setting}": value
    for name in SERVICES
    for setting, value in (("TIMEOUT_S", "4"), ("RETRIES", "0"), ("MAX_ANSWER_BYTES", "2000000"))
}


@dataclass(frozen=True)
class Seen:
    """What one cycle came to. `lacking` maps each degraded service to what `/status` says of it."""

    steps: frozenset[str]
    entries: int
    exits: int
    state: str
    lacking: dict[str, str]
    latched: list[str]
    report: CycleReport


class Guarded(deployment.Deployment):
    """A deployment whose engine reaches every service through a front."""

    def __init__(self, folder: Path, redis_url: str, environ: Mapping[str, str]) -> None:
        strategies = folder / "strategies"
        strategies.mkdir(exist_ok=True)
        (strategies / "turns.py").write_text(STRATEGY)
        own = {
            **CONFIG,
            **environ,
            "SERVICES__STRATEGY__FOLDER": str(strategies),
            "REDIS__URL": redis_url,
        }
        self.fronts: dict[str, Front] = {}
        super().__init__(folder, own)

    def begin(self) -> Any:
        """The engine over the fronts."""
        if "monitoring" not in self._servers:
            self.start_service("monitoring")
        for name in SERVICES:
            if name not in self.fronts:
                target = self.settings.services.named(name).port
                self.fronts[name] = Front(target, self._kept_port(name)).__enter__()
        urls = {f"SERVICES__{name.upper()}__URL": front.url for name, front in self.fronts.items()}
        self.engine = deployment.build_engine(self.guarded(urls), worker="test")
        return self.engine

    def _kept_port(self, name: str) -> int:
        """The market data front keeps its port: the ledger belongs to the feed's address."""
        kept = self.folder / "market_port"
        if name != "market_data":
            return 0
        if not kept.exists():
            kept.write_text(str(free_ports(1)[0]))
        return int(kept.read_text())

    def guarded(self, more: Mapping[str, str]) -> Settings:
        """The settings of the engine: no retries, and the doors' addresses."""
        return load_settings({**QUICK, **self.environ, **more})

    def freshen(self) -> None:
        """What was last known of prices and account is of this moment."""
        ledger, cache, now = self.engine.ledger, self.engine.cache, datetime.now(UTC)
        last = ledger.state.last_snapshot()
        assert last is not None
        ledger.state.save_snapshot(msgspec.structs.replace(last, as_of=now))
        known = cache.load_quotes([each.symbol for each in last.positions])
        cache.save_quotes(
            {name: msgspec.structs.replace(quote, as_of=now) for name, quote in known.items()}
        )

    def spoil(self, service: str, fault: str, only: str = "") -> None:
        """Let a service go wrong from now on."""
        front = self.fronts[service]
        if fault == "refused":
            front.refuse()
        else:
            front.fault, front.only = fault, only

    def status(self) -> dict[str, Any]:
        """`GET /status` of an API process of its own."""
        engine = self.engine
        breakers = build_breakers(engine.settings)

        def circuits(now: Any) -> dict[str, Circuit]:
            states = {name: breaker.state(now) for name, breaker in breakers.items()}
            return {
                name: Circuit(state=known.state.value, since=known.since)
                for name, known in states.items()
            }

        desk = Desk(
            engine=engine,
            queries=self.ledger.queries,
            operator=self.ledger.operator,
            account=AccountQueries(self.ledger),
            dispatcher=FakeDispatcher(),
            schedule=FakeSchedule(SteppingClock()),
            vitals=build_vitals(engine.settings),
            circuits=circuits,
            reconcile=FakeReconcile(),
        )
        answer = create_api(desk).test_client().get("/status")
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json
        return found

    def look(self) -> Seen:
        """One cycle, and what it came to."""
        before = len(self.fronts["execution"].reached)
        report = self.cycle()
        sent = sent_bodies(self.fronts["execution"].reached[before:])
        status = self.status()
        return Seen(
            steps=_steps(report),
            entries=sum(not body["reduce_only"] for body in sent),
            exits=sum(body["reduce_only"] for body in sent),
            state=status["trading_state"],
            lacking={
                each["service"]: each["effect"]
                for each in status["degraded"]
                if each["service"] in SERVICES
            },
            latched=[each["cause"] for each in status["latched"]],
            report=report,
        )

    def touch_stops(self) -> None:
        """Mark what is held below its stop, as the market did."""
        held = self.engine.portfolio.snapshot().positions
        prices = {each.symbol: str(each.average_price * Decimal("0.99")) for each in held}
        self.engine.portfolio.post_marks(prices, max(each.opened_at for each in held))
        self.reconcile()

    def were_unknown(self) -> int:
        """Orders whose fate was unknown for a while."""
        with self.ledger.reading() as connection:
            rows = connection.exec_driver_sql(
                f"select count(distinct client_order_id) from transitions"  # noqa: S608
                f" where to_status = '{OrderStatus.UNKNOWN.value}'"
            )
            return int(rows.scalar_one())

    def close(self) -> None:
        """End everything, the fronts included."""
        for front in self.fronts.values():
            front.__exit__()
        super().close()


def sent_bodies(reached: Sequence[Asked]) -> list[dict[str, Any]]:
    """The orders among the requests, as they were sent."""
    sent = [each for each in reached if (each.method, each.path) == ("POST", "/orders")]
    return [json.loads(each.body) for each in sent]


def _steps(report: CycleReport) -> frozenset[str]:
    """Which steps had something to work on: candles, signals, candidates, orders."""
    skipped = report.symbols.skipped
    bad = sum(count for word, count in report.skips.items() if word != "no signals")
    did = {
        "fetch": report.symbols.selected > bad,
        "evaluate": report.signals.received > 0,
        "risk": report.orders.candidates > 0,
        "execute": report.orders.submitted > 0,
        "finish": report.finished_at is not None and skipped >= 0,
    }
    return frozenset(step for step, done in did.items() if done)


Made = Callable[..., AbstractContextManager[Guarded]]
"""Makes a world from the prepared files, with settings of its own."""


def prepare(folder: Path, redis_url: str) -> None:
    """An account with three positions whose stops are touched, as files."""
    world = Guarded(folder, redis_url, {"RISK__MAX_OPEN_POSITIONS": str(TRADES)})
    try:
        report = world.cycle()
        assert report.orders.filled == TRADES, report
        world.touch_stops()
    finally:
        world.close()


@contextmanager
def guarded(base: Path, folder: Path, redis_url: str, **environ: str) -> Iterator[Guarded]:
    """A deployment that goes on from the prepared files."""
    shutil.copytree(base, folder, dirs_exist_ok=True)
    copy_ledger(base, folder)
    world = Guarded(folder, redis_url, {"RISK__MAX_OPEN_POSITIONS": str(2 * TRADES), **environ})
    try:
        world.freshen()
        yield world
    finally:
        world.close()
