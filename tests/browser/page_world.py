"""An engine that a browser can look at: the real app and ledger, full of cycles and orders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import msgspec
from sqlalchemy import select

from api import events_of
from engine.domain.cycle import CycleStatus
from engine.domain.model import OrderStatus, Position, Signal, Verdict
from engine.ledger.schema import cycles, decisions, orders
from engine.service_settings import SERVICES
from engine.settings import Settings
from engine.vitals import ServiceCheck
from tests.control_fakes import Bench, FakeVitals, account, make_bench, worker
from tests.factories import make_candles, make_signal
from tests.ledger_world import World, entry, fill_event, judged_on, order_event, verdict
from web import KeyRing, RunningServer, serve

CYCLES = 1000
ORDERS = 5000
POSITIONS = 500
INTERVAL = timedelta(seconds=120)
HOUR_MS = 3_600_000


class LiveVitals(FakeVitals):
    """Heartbeats and checks that are always of this moment."""

    def last_beat_tick(self) -> datetime | None:
        return datetime.now(UTC) if self.redis else None

    def checks(self) -> dict[str, ServiceCheck]:
        now = datetime.now(UTC)
        look = ServiceCheck(status="ok", detail="", checked_at=now, latency_ms=3.0, last_ok_at=now)
        return {name: self.looks.get(name, look) for name in SERVICES} if self.redis else {}


class NoCache:
    """A candle cache that lost everything."""

    def load(self, symbols: list[str], timeframe: str) -> dict[str, Any]:
        return {}


@dataclass
class Shown:
    """A served engine: its address, and the bench behind it."""

    bench: Bench
    settings: Settings
    server: RunningServer
    order_id: str = ""
    cycle_id: str = ""
    denied: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url

    def stop(self) -> None:
        """The API is gone; its port stays known."""
        events_of(self.bench.app).close()
        self.server.close(grace_s=1)

    def start_again(self) -> None:
        """A new API process on the same port and ledger."""
        port = self.server.port
        self.bench = live_bench(self.settings)
        self.server = serve(self.bench.app, "127.0.0.1", port, 48)


def live_bench(settings: Settings, keys: KeyRing | None = None) -> Bench:
    """A bench whose clock is the wall's."""
    bench = make_bench(settings, keys)
    cast("Any", bench.clock).now = lambda: datetime.now(UTC)
    vitals = LiveVitals(bench.clock, live_workers=(worker(datetime.now(UTC)),))
    bench.vitals = vitals
    object.__setattr__(bench.desk, "vitals", vitals)
    object.__setattr__(bench.desk.engine, "cache", NoCache())
    return bench


@contextmanager
def shown(settings: Settings, *, filled: bool, keys: KeyRing | None = None) -> Iterator[Shown]:
    """A served engine, empty or full; gone afterwards."""
    bench = live_bench(settings, keys)
    made = Shown(bench, settings, serve(bench.app, "127.0.0.1", 0, 48))
    try:
        if filled:
            fill(made)
        yield made
    finally:
        made.stop()
        made.bench.ledger.dispose()


def fill(made: Shown) -> None:
    """Many cycles and orders, a few of them whole, and an account of 500 positions."""
    bench = made.bench
    now = datetime.now(UTC).replace(microsecond=0)
    world = World(bench.ledger, now - INTERVAL)
    seen = _last_candle(world.now)
    cycle = world.open()
    symbols = ("BTC/USD", "ETH/USD", "SOL/USD")
    world.plan(cycle, symbols)
    refused = [
        msgspec.structs.replace(
            verdict(entry(symbol, candle_time=seen), Verdict.DENIED),
            binding_rule=rule,
            reason=f"{rule}: {detail}",
        )
        for symbol, rule, detail in (
            ("ETH/USD", "cooldown_candles", "3600 s left of 2 candles"),
            ("SOL/USD", "max_open_positions", "20 of 20 held or on order"),
        )
    ]
    made.denied = [each.binding_rule for each in refused]
    wish = entry(candle_time=seen, reason="SMA(20) crossed above SMA(50)", stop_price=Decimal(95))
    signals: tuple[Signal, ...] = (make_signal("BTC/USD", reason=wish.reason),)
    series = make_candles([100 + index % 17 for index in range(120)], end=seen)
    basis = judged_on(dict.fromkeys(symbols, series))
    world.report(cycle.cycle_id, 0, wish, denied=tuple(refused), signals_kept=signals, basis=basis)
    (order,) = world.allocate(cycle)
    world.send(order)
    filled = order_event(world.next_seq(), order, OrderStatus.FILLED, str(order.quantity))
    world.store(fill_event(world.next_seq(), order), filled)
    made.order_id, made.cycle_id = order.client_order_id, cycle.cycle_id
    report = bench.ledger.cycles.facts(cycle.cycle_id).report
    closed = msgspec.structs.replace(
        report, status=CycleStatus.COMPLETED, finished_at=now, duration_s=61.4
    )
    bench.ledger.cycles.close(closed)
    _multiply(bench, now)
    hold(bench, POSITIONS)


def _last_candle(market_time: datetime) -> int:
    """When the newest closed candle opened, epoch milliseconds."""
    return int(market_time.timestamp() * 1000) // HOUR_MS * HOUR_MS - HOUR_MS


def hold(bench: Bench, count: int) -> None:
    """An account with so many positions, one of them foreign."""
    positions = tuple(
        Position(
            symbol="BTC/USD" if index == 0 else f"S{index:03}/USD",
            quantity=Decimal(count + 1 - index),
            average_price=Decimal("100.25"),
            market_price=Decimal("101.50") if index % 3 else Decimal("98.75"),
            strategy=None if index == 1 else "sma_cross",
            opened_at=datetime.now(UTC) - timedelta(days=1, minutes=index),
            version=1,
        )
        for index in range(count)
    )
    snapshot = msgspec.structs.replace(
        account("104312.55"), positions=positions, as_of=datetime.now(UTC)
    )
    bench.ledger.state.save_snapshot(snapshot)


def _multiply(bench: Bench, now: datetime) -> None:
    """Copies of the one cycle, order and decision that were made, back in time."""
    with bench.ledger.reading() as connection:
        cycle = dict(connection.execute(select(cycles)).mappings().one())
        order = dict(connection.execute(select(orders)).mappings().one())
        decision = dict(connection.execute(select(decisions).limit(1)).mappings().one())
    header = msgspec.json.decode(cycle["header"])
    for row in (cycle, order, decision):
        row.pop("number")
    with bench.ledger._connections.write() as connection:
        connection.execute(cycles.delete())
        connection.execute(cycles.insert(), _cycles(cycle, header, now))
        connection.execute(orders.delete())
        connection.execute(orders.insert(), _orders(order, now))
        connection.execute(decisions.insert(), _decisions(decision))


def _cycles(cycle: dict[str, Any], header: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
    report = msgspec.json.decode(cycle["report"])
    rows = []
    for index in range(CYCLES - 1, -1, -1):
        at = now - INTERVAL * (index + 1)
        status = "DEGRADED" if index % 23 == 7 else "SKIPPED" if index % 31 == 9 else "COMPLETED"
        seconds = 58.0 + index % 7
        name = cycle["cycle_id"] if index == 0 else f"{at:%Y%m%dT%H%M%SZ}-{index:08}"
        equity = str(Decimal(100000) + (CYCLES - index) * 4 - (index % 40) * 25)
        header["snapshot"].update(equity=equity, cash="38200.26")
        lacking = [{"service": "monitoring", "reason": "no answer"}] if "DEG" in status else []
        told = {
            **report,
            "cycle_id": name,
            "status": status,
            "started_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "finished_at": f"{at + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}",
            "duration_s": seconds,
            "degraded": lacking,
        }
        rows.append(
            {
                **cycle,
                "cycle_id": name,
                "key": f"schedule|{name}",
                "status": status,
                "epoch": CYCLES - index,
                "scheduled_at": at,
                "started_at": at,
                "finished_at": at + timedelta(seconds=seconds),
                "duration_s": seconds,
                "market_time": now - timedelta(hours=index),
                "header": msgspec.json.encode(header).decode(),
                "report": msgspec.json.encode(told).decode(),
            }
        )
    return rows


def _orders(order: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
    rows = [
        {
            **order,
            "client_order_id": f"00000000-0000-4000-8000-{index:012}",
            "decision_key": f"key-{index}",
            "cycle_id": "old",
            "created_at": now - timedelta(seconds=30 * index + 200),
            "updated_at": now - timedelta(seconds=30 * index + 200),
            "symbol": f"S{index % 60:03}/USD",
        }
        for index in range(ORDERS - 1, 0, -1)
    ]
    return [*rows, {**order, "created_at": now - timedelta(seconds=60)}]


def _decisions(decision: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**decision, "cycle_id": "old", "decision_key": f"key-{n}"} for n in range(1000)]
