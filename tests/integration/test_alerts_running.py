"""Each alert of the engine, caused in a running product and seen where people look for it.

The services run as ever, each behind a relay that can fail; the processes of the engine are
stopped and let go on. Seen means: in the ledger over the API, at the webhook with its runbook,
and by the Prometheus rule of the same name over what the engine shows at that moment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from engine.domain.alerts import KINDS
from tests.integration.stack import ROOT, SERVICES, Stack, free_ports, wait_for
from tests.ledger_database import unwritable_ledger
from tests.promtool import RULES, TOOL, fired, series_of
from tests.relay import Relay, relayed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FROZEN_S = 6  # of the 10 s of an interval
PATIENCE_S = 90.0
Json = dict[str, Any]
# The ledger's own silence is not in it, and what monitoring cannot be told is told later.
NOT_IN_THE_LEDGER = {"ledger_down"}
# A lock that another holds lets the metrics read on; without Redis nobody knows of services.
NOT_IN_METRICS = {"ledger_down"}


class Hook:
    """A webhook's other end: the lines that were posted."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                hook.lines.append(json.loads(self.rfile.read(length))["text"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class World:
    """A running engine, the relays before its services, and the webhook."""

    stack: Stack
    folder: Path
    relays: dict[str, Relay]
    hook: Hook
    services: list[subprocess.Popen[bytes]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    def start_services(self, **changes: str) -> None:
        """The five of them in one process, anew."""
        self.stop_services()
        command = [sys.executable, "-m", "services", *self.relays]
        environ = {**self.environ, **changes}
        with (self.folder / "services.txt").open("ab") as log:
            started = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
        self.services = [started]
        wait_for(self._services_answer, 30, "the services answer")

    def stop_services(self) -> None:
        """None of them answers any more."""
        for process in self.services:
            process.terminate()
            process.wait(20)
        self.services = []

    def _services_answer(self) -> bool:
        try:
            return all(
                requests.get(f"{r.upstream}/health", timeout=2) for r in self.relays.values()
            )
        except requests.RequestException:
            return False

    def open_alerts(self) -> dict[str, Json]:
        """By name, as the API tells."""
        items = self.stack.get("/alerts?state=open&limit=500")["items"]
        return {alert["name"]: alert for alert in items}

    def told(self, name: str, word: str, since: int) -> str | None:
        """The line about an alert that came to the webhook after the first `since`."""
        start = f"[SIMULATED] {word} {name} | "
        return next((line for line in self.hook.lines[since:] if line.startswith(start)), None)

    def wait_for_no_cycle(self) -> None:
        """Until the open one is closed."""
        wait_for(lambda: self.stack.get("/status")["current_cycle"] is None, 60, "no open cycle")

    def cycle(self) -> Json:
        """One cycle, however long others take."""
        self.wait_for_no_cycle()
        answer = self.stack.post("/cycle?wait=60")
        assert answer.status_code in {200, 202}, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def settle(self) -> None:
        """All relays pass on, the schedule stands, nothing is latched or lowered."""
        for relay in self.relays.values():
            relay.heal()
        wait_for(self._is_well, PATIENCE_S, "all is well again")
        wait_for(self._is_active, PATIENCE_S, "it may trade again")

    def _is_well(self) -> bool:
        checks = requests.get(f"{self.stack.url}/health", timeout=10).json()["checks"]
        bad = {name for name, check in checks.items() if check["status"] != "ok"}
        return bad <= {"orchestrator", "performance"}

    def _is_active(self) -> bool:
        self.stack.post("/resume", {"state": "ACTIVE", "reason": "the fault is over"})
        return bool(self.stack.get("/status")["state"]["operator"] == "ACTIVE")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("alerts")
    with ExitStack() as stack:
        hook = Hook()
        stack.callback(hook.close)
        ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        relays = {
            name.lower(): stack.enter_context(relayed(f"http://127.0.0.1:{port}"))
            for name, port in ports.items()
        }
        engine = Stack(
            folder,
            TRADING_ENGINE__CYCLE_INTERVAL="10",
            ALERTS__LOOK_S="0.5",
            ALERTS__HOLD_S="1",
            ALERTS__CLEAR_S="1",
            ALERTS__UNKNOWN_S="1",
            ALERTS__RUNBOOK="https://wiki.example/operations",
            TIMING__CHECK_S="1",
            TIMING__RECONCILE_S="1",
            LEDGER__BUSY_TIMEOUT_S="0.5",
            RISK__MAX_REPEATS_PER_DAY="1",
            **{f"SERVICES__{name.upper()}__URL": relay.url for name, relay in relays.items()},
        )
        world = World(engine, folder, relays, hook)
        world.environ = {
            **{key: value for key, value in os.environ.items() if "__" not in key},
            **{f"SERVICES__{name}__PORT": str(port) for name, port in ports.items()},
            "DATA_DIR": str(folder / "services"),
            "SERVICES__MONITORING__WEBHOOKS": f"[{{url: '{hook.url}'}}]",
            "LOG__FORMAT": "json",
        }
        stack.callback(world.stop_services)
        world.start_services()
        stack.callback(lambda: engine.process is not None and engine.stop())
        engine.start()
        first = world.cycle()
        assert first["orders"]["filled"] >= 3, first
        yield world


@contextmanager
def alerted(world: World, name: str, folder: Path) -> Iterator[None]:
    """Inside, the fault is caused: the alert, which is not open before, comes."""
    wait_for(lambda: name not in world.open_alerts(), PATIENCE_S, f"{name} is not open before")
    since = len(world.hook.lines)
    word = KINDS[name].severity.upper()
    yield
    if name not in NOT_IN_THE_LEDGER:
        alert = wait_for(lambda: world.open_alerts().get(name), PATIENCE_S, f"{name} is open")
        assert alert["severity"] == KINDS[name].severity
    if TOOL is not None and name not in NOT_IN_METRICS:
        wait_for(lambda: name in rules_that_fire(world, name, folder), PATIENCE_S, f"rule {name}")
    if name != "monitoring_down":
        line = wait_for(lambda: world.told(name, word, since), PATIENCE_S, f"{name} is told")
        assert f"| runbook https://wiki.example/operations#{name}" in line


def ended(world: World, name: str, since: int) -> bool:
    """Whether the end was told with how long it took. Raises AssertionError when none is told."""
    line = wait_for(lambda: world.told(name, "RESOLVED", since), PATIENCE_S, f"{name} ends")
    return " | after " in line


def rules_that_fire(world: World, name: str, folder: Path) -> set[str]:
    """The rules that fire over what the engine shows now, if it stays so for long enough."""
    headers = {"Accept": "text/plain"}
    text = requests.get(f"{world.stack.url}/metrics", headers=headers, timeout=20).text
    return fired(series_of(text, time.time()), RULES[name].get("for", "0s"), folder)


def test_cycles_that_take_more_than_half_their_interval(world: World, tmp_path: Path) -> None:
    """The first, while few cycles make the median; it stays above for the rest of this file."""
    with alerted(world, "cycle_slow", tmp_path):
        for _ in range(10):
            world.stack.post("/cycle")
            with world.stack.frozen("worker"):
                time.sleep(FROZEN_S)  # the fault itself
            world.wait_for_no_cycle()
            if "cycle_slow" in world.open_alerts():
                break
    world.settle()
    assert "cycle_slow" in world.open_alerts()


@pytest.mark.parametrize("service", ["market_data", "strategy", "portfolio", "execution"])
def test_a_service_that_does_not_answer(world: World, tmp_path: Path, service: str) -> None:
    since = len(world.hook.lines)
    with alerted(world, f"{service}_down", tmp_path):
        world.relays[service].away = True
    world.settle()
    assert ended(world, f"{service}_down", since)


def test_monitoring_that_does_not_answer_is_told_once_it_does(world: World, tmp_path: Path) -> None:
    since = len(world.hook.lines)
    with alerted(world, "monitoring_down", tmp_path):
        world.relays["monitoring"].away = True
    world.settle()
    wait_for(lambda: world.told("monitoring_down", "WARNING", since), PATIENCE_S, "told late")
    assert ended(world, "monitoring_down", since)


@pytest.mark.parametrize(("part", "name"), [("redis", "redis_down"), ("worker", "workers_down")])
def test_a_part_that_stands_still(world: World, tmp_path: Path, part: str, name: str) -> None:
    since = len(world.hook.lines)
    with world.stack.frozen(part), alerted(world, name, tmp_path):
        pass
    world.settle()
    assert ended(world, name, since)


def test_an_upkeep_worker_that_stands_still_is_seen_by_prometheus(
    world: World, tmp_path: Path
) -> None:
    if TOOL is None:
        pytest.skip("there is no promtool on PATH")
    with world.stack.frozen("upkeep"):
        assert wait_for(
            lambda: "upkeep_down" in rules_that_fire(world, "upkeep_down", tmp_path), 30, "seen"
        )
    world.settle()


def test_a_beat_that_stands_still_and_the_cycles_that_are_missed(
    world: World, tmp_path: Path
) -> None:
    since = len(world.hook.lines)
    assert world.stack.post("/start").status_code == 200
    with (
        world.stack.frozen("beat"),
        alerted(world, "cycles_missed", tmp_path),
        alerted(world, "beat_down", tmp_path),
    ):
        pass
    assert ended(world, "cycles_missed", since)
    world.stack.post("/stop")
    world.settle()
    assert ended(world, "beat_down", since)


def test_a_ledger_that_cannot_be_written(world: World, tmp_path: Path) -> None:
    since = len(world.hook.lines)
    with unwritable_ledger(world.folder / "data"), alerted(world, "ledger_down", tmp_path):
        pass
    world.settle()
    assert ended(world, "ledger_down", since)


@pytest.mark.parametrize(("path", "name"), [("/reduce", "reducing"), ("/halt", "halted")])
def test_a_state_that_somebody_lowered(world: World, tmp_path: Path, path: str, name: str) -> None:
    since = len(world.hook.lines)
    with alerted(world, name, tmp_path):
        world.stack.post(path, {"reason": "a drill"})
    assert "by the operator: a drill" in str(world.told(name, KINDS[name].severity.upper(), since))
    world.settle()
    assert ended(world, name, since)


def test_a_cycle_that_nobody_finished_in_time(world: World, tmp_path: Path) -> None:
    world.cycle()
    since = len(world.hook.lines)
    with alerted(world, "cycle_failed", tmp_path), world.stack.frozen("worker"):
        world.stack.post("/cycle")
        world.wait_for_no_cycle()
    world.settle()
    world.cycle()
    assert ended(world, "cycle_failed", since)


def orders_made(world: World) -> int:
    """Runs a cycle that decides on an order; how many. The market moves on until it does."""
    for _ in range(20):
        report = world.cycle()
        if report.get("orders", {}).get("approved"):
            return int(report["orders"]["approved"])
    raise AssertionError("no cycle with an order")


def test_orders_of_unknown_fate(world: World, tmp_path: Path) -> None:
    """The service stops answering while orders are on the wire."""
    since = len(world.hook.lines)
    world.relays["execution"].delay("POST", "/orders", 20)

    def on_the_wire() -> bool:
        items = world.stack.get("/orders?state=SENDING")["items"]
        return bool(items) or world.stack.get("/status")["current_cycle"] is None

    with alerted(world, "orders_unknown", tmp_path):
        for _ in range(20):
            world.wait_for_no_cycle()
            world.stack.post("/cycle")
            wait_for(on_the_wire, PATIENCE_S, "orders are sent, or the cycle is over")
            if world.stack.get("/orders?state=SENDING")["items"]:
                world.relays["execution"].away = True
                break
    world.settle()
    assert ended(world, "orders_unknown", since)


def shifted(**factors: str) -> Callable[[Json], Json]:
    """An account whose figures are those times a factor of the equity."""

    def alter(account: Json) -> Json:
        equity = Decimal(account["equity"])
        changed = {name: str(equity * Decimal(factor)) for name, factor in factors.items()}
        return account | changed

    return alter


def without_a_position(account: Json) -> Json:
    """The same, but one position was never there."""
    gone, *kept = account["positions"]
    value = Decimal(gone["quantity"]) * Decimal(gone["market_price"])
    return account | {"positions": kept, "equity": str(Decimal(account["equity"]) - value)}


def with_a_position(account: Json) -> Json:
    """The same, and something that no strategy opened."""
    foreign = account["positions"][0] | {
        "symbol": "ZZZ/USD",
        "strategy": None,
        "quantity": "1",
        "market_price": "1",
        "average_price": "1",
    }
    positions = [*account["positions"], foreign]
    return account | {"positions": positions, "equity": str(Decimal(account["equity"]) + 1)}


@pytest.mark.parametrize(
    ("name", "alter"),
    [
        ("daily_loss_soft", shifted(day_start_equity="1.04", peak_equity="1.04")),
        ("daily_loss_hard", shifted(day_start_equity="1.06", peak_equity="1.06")),
        ("drawdown", shifted(peak_equity="1.2")),
        ("portfolio_contradiction", shifted(equity="1.01")),
        ("position_mismatch", without_a_position),
        ("foreign_position", with_a_position),
    ],
)
def test_an_account_that_must_not_be_traded_on(
    world: World, tmp_path: Path, name: str, alter: Callable[[Json], Json]
) -> None:
    since = len(world.hook.lines)
    world.relays["portfolio"].alter("GET", "/portfolio", alter)
    with alerted(world, name, tmp_path):
        world.cycle()
    world.settle()
    world.cycle()
    assert ended(world, name, since)


@pytest.mark.parametrize(
    ("name", "path", "alter"),
    [
        ("log_identity", "/fence", lambda fence: fence | {"log_id": "another"}),
        ("log_behind", "/events", lambda page: page | {"head": 1, "events": []}),
    ],
)
def test_an_execution_log_that_is_not_the_known_one(
    world: World, tmp_path: Path, name: str, path: str, alter: Callable[[Json], Json]
) -> None:
    since = len(world.hook.lines)
    world.relays["execution"].alter("GET", path, alter)
    with alerted(world, name, tmp_path):
        pass
    world.settle()
    assert ended(world, name, since)


def test_a_portfolio_that_refuses_fills(world: World, tmp_path: Path) -> None:
    since = len(world.hook.lines)
    problem = {"type": "/problems/gap", "title": "Gap", "status": 409, "detail": "a gap"}
    world.relays["portfolio"].refuse("POST", "/fills", 409, problem)
    with alerted(world, "fills_refused", tmp_path):
        orders_made(world)
    world.settle()
    assert ended(world, "fills_refused", since)


def test_an_execution_service_that_contradicts_itself(world: World, tmp_path: Path) -> None:
    since = len(world.hook.lines)
    world.relays["execution"].alter(
        "POST",
        "/orders",
        lambda order: order | {"state": "REJECTED", "filled_quantity": "0", "average_price": None},
    )
    with alerted(world, "contradiction", tmp_path):
        orders_made(world)
    world.settle()
    assert ended(world, "contradiction", since)


def test_an_order_that_somebody_else_sent(world: World, tmp_path: Path) -> None:
    since = len(world.hook.lines)
    execution = world.relays["execution"].upstream
    symbol = world.stack.get("/positions")["items"][0]["symbol"]
    quotes = requests.post(
        f"{world.relays['market_data'].upstream}/quotes", json={"symbols": [symbol]}, timeout=10
    ).json()["quotes"]
    body = {
        "client_order_id": f"somebody-elses-{time.time()}",
        "account": "paper",
        "epoch": requests.get(f"{execution}/fence", timeout=10).json()["epoch"],
        "symbol": symbol,
        "side": "buy",
        "type": "market",
        "time_in_force": "IOC",
        "quantity": "1",
        "reference_price": quotes[symbol]["ask"],
        "reduce_only": False,
        "strategy": "",
        "valid_until": (datetime.now(UTC) + timedelta(minutes=1)).isoformat(),
    }
    with alerted(world, "foreign_order", tmp_path):
        assert requests.post(f"{execution}/orders", json=body, timeout=10).status_code == 201
    world.settle()
    assert ended(world, "foreign_order", since)


def test_a_strategy_that_repeats_itself(world: World) -> None:
    """With one filled order a day allowed, it was told after the first cycle."""
    assert "strategy_disabled" in world.open_alerts() or orders_made(world)
    alert = wait_for(lambda: world.open_alerts().get("strategy_disabled"), PATIENCE_S, "open")
    assert world.told("strategy_disabled", "WARNING", 0)
    since = len(world.hook.lines)
    strategy = alert["detail"].partition(" ")[0]
    world.stack.post(f"/strategies/{strategy}/enable")
    assert ended(world, "strategy_disabled", since)


def test_an_exit_that_is_tried_in_vain(world: World, tmp_path: Path) -> None:
    """The last: a market without volume fills nothing."""
    symbol = next(
        held["symbol"] for held in world.stack.get("/positions")["items"] if held["strategy"]
    )
    world.start_services(SERVICES__EXECUTION__MAX_VOLUME_SHARE="0.000000000001")
    world.settle()
    with alerted(world, "exit_not_filled", tmp_path):
        assert world.stack.post(f"/positions/{symbol}/close").status_code == 202
        for _ in range(12):
            world.cycle()
            if "exit_not_filled" in world.open_alerts():
                break


def test_every_alert_is_caused_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    services = {f"{name.lower()}_down" for name in SERVICES}
    assert {name for name in KINDS if f'"{name}"' not in text} <= services
