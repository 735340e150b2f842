"""The four services that trading needs and an engine, all in this process, over real HTTP and SQL.

Monitoring is silent, the cache in memory, and Redis away: the steps of a cycle are called one
after the other instead of by workers.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from engine import reconcile
from engine.audit.books import Books
from engine.audit.checks import check
from engine.bootstrap import build_engine
from engine.config_source import load_settings
from engine.domain.candles import Candles
from engine.domain.cycle import BatchRef, CyclePlan, CycleReport, CycleRequest, Trigger
from engine.domain.messages import MonitoringEvent, SymbolList
from engine.domain.model import Order, Quote
from engine.ledger.ledger import FILE_NAME, SqlLedger
from engine.pipeline import allocate, execute, finish, open_cycle
from engine.pipeline import batch as batch_steps
from engine.ports import Engine, SeriesEnd
from launcher.audit import read_books
from services.execution.app import create_app as execution_app
from services.market_data.app import create_app as market_data_app
from services.monitoring.app import create_app as monitoring_app
from services.portfolio.app import create_app as portfolio_app
from services.strategy.app import create_app as strategy_app
from tests.integration.stack import free_ports
from tests.ledger_database import copy_ledger, drop_ledger, ledger_environment
from web import RunningServer, serve

APPS = {
    "market_data": market_data_app,
    "strategy": strategy_app,
    "portfolio": portfolio_app,
    "execution": execution_app,
    "monitoring": monitoring_app,
}
TRADING = ("market_data", "strategy", "portfolio", "execution")


class Silence:
    """Monitoring that is not there."""

    def publish(self, events: Sequence[MonitoringEvent]) -> None:
        """Nobody listens."""


class MemoryCache:
    """Candles in this process."""

    def __init__(self) -> None:
        self._candles: dict[tuple[str, str], Candles] = {}
        self._symbols: SymbolList | None = None
        self._quotes: dict[str, Quote] = {}
        self._quiet: dict[tuple[str, str, str], int] = {}

    def load(self, symbols: Sequence[str], timeframe: str) -> dict[str, Candles]:
        """What was kept of these symbols."""
        known = {symbol: self._candles.get((symbol, timeframe)) for symbol in symbols}
        return {symbol: series for symbol, series in known.items() if series is not None}

    def save(
        self,
        candles: Mapping[str, Candles],
        timeframe: str,
        quiet: Collection[str] = (),
        about: str = "",
    ) -> None:
        """Keep candles, and of whom nobody had anything to say."""
        self._candles |= {(symbol, timeframe): series for symbol, series in candles.items()}
        self._quiet |= {(name, timeframe, about): int(candles[name].time[-1]) for name in quiet}

    def load_ends(self, symbols: Sequence[str], timeframe: str, about: str) -> dict[str, SeriesEnd]:
        """Where the series end, and of which nobody had anything to say."""
        found: dict[str, SeriesEnd] = {}
        for symbol in symbols:
            series = self._candles.get((symbol, timeframe))
            marked = self._quiet.get((symbol, timeframe, about))
            if series is not None and len(series):
                newest = int(series.time[-1]) if marked is None else marked
                found[symbol] = SeriesEnd(newest, marked is not None)
        return found

    def load_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The last ones."""
        return {name: self._quotes[name] for name in symbols if name in self._quotes}

    def save_quotes(self, quotes: dict[str, Quote]) -> None:
        """Keep them."""
        self._quotes |= quotes

    def load_symbols(self) -> SymbolList | None:
        """The last list."""
        return self._symbols

    def save_symbols(self, symbols: SymbolList) -> None:
        """Keep the list."""
        self._symbols = symbols


class Deployment:
    """Services that run, their folder, and an engine that can be ended and begun again."""

    def __init__(self, folder: Path, more: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        ports = free_ports(len(APPS) + 1)
        own = dict(zip(APPS, ports, strict=False))
        environ = {f"SERVICES__{name.upper()}__PORT": str(port) for name, port in own.items()}
        own_redis = {"DATA_DIR": str(folder), "REDIS__PORT": str(ports[-1])}
        own_redis |= ledger_environment(folder)
        self.environ = {**own_redis, **environ, **({} if more is None else more)}
        self.settings = load_settings(self.environ)
        self._servers: dict[str, RunningServer] = {}
        self._numbers = itertools.count(1)
        for name in TRADING:
            self.start_service(name)
        self.engine = self.begin()

    @property
    def ledger(self) -> SqlLedger:
        """The engine's ledger."""
        assert isinstance(self.engine.ledger, SqlLedger)
        return self.engine.ledger

    @property
    def ledger_file(self) -> Path:
        """Where it is kept."""
        return self.folder / FILE_NAME

    def start_service(self, name: str) -> None:
        """Serve it on its port, over its files."""
        port = self.settings.services.named(name).port  # type: ignore[arg-type]
        self._servers[name] = serve(APPS[name](self.settings), "127.0.0.1", port, 4)

    def stop_service(self, name: str) -> None:
        """Nobody listens any more; its files stay."""
        self._servers.pop(name).close()

    def begin(self) -> Engine:
        """A new process's engine over the ledger as it is now."""
        self.engine = build_engine(
            self.settings, worker="test", monitoring=Silence(), cache=MemoryCache()
        )
        return self.engine

    def end(self) -> None:
        """The engine's process ends; whatever it had not written is gone."""
        self.ledger.dispose()

    def save_ledger(self, copy: Path) -> None:
        """Keep a copy of the ledger in another folder, as an operator's backup has it."""
        self.end()
        copy_ledger(self.folder, copy)
        self.begin()

    def replace_ledger(self, copy: Path | None) -> None:
        """Restore the copy, or lose the ledger altogether."""
        self.end()
        if copy is None:
            drop_ledger(self.folder)
            ledger_environment(self.folder)
        else:
            copy_ledger(copy, self.folder)
        self.begin()

    def open(self, key: str | None = None) -> CyclePlan | None:
        """Open a cycle."""
        name = f"request|{next(self._numbers)}-{datetime.now(UTC).timestamp()}"
        request = CycleRequest(
            key=name if key is None else key,
            trigger=Trigger.MANUAL,
            scheduled_at=datetime.now(UTC),
        )
        return open_cycle.run(self.engine, request)

    def decide(self, plan: CyclePlan) -> tuple[Order, ...]:
        """Every batch of an open cycle, and its allocation."""
        for batch in plan.batches:
            ref = BatchRef(cycle_id=plan.cycle_id, batch=batch.number, symbols=batch.symbols)
            batch_steps.run(self.engine, ref)
        return allocate.run(self.engine, plan.cycle_id)

    def cycle(self) -> CycleReport:
        """A whole cycle."""
        plan = self.open()
        assert plan is not None
        orders = self.decide(plan)
        execute.run(self.engine, plan.cycle_id, [order.client_order_id for order in orders])
        return finish.run(self.engine, plan.cycle_id)

    def reconcile(self) -> reconcile.ReconcileResult:
        """Settle what is not certain."""
        return reconcile.run(self.engine, wait_s=1.0)

    def books(self, *, from_files: bool = False) -> Books:
        """What the audit reads."""
        return read_books(self.settings, from_files=from_files)

    def breaches(self, *, from_files: bool = False) -> list[str]:
        """Lines of the audit that are not ok."""
        found = check(self.books(from_files=from_files))
        return [line.text() for line in found if not line.ok]

    def venue_orders(self) -> set[str]:
        """Every id that traded or may trade at the execution service."""
        return {
            client_order_id
            for client_order_id, row in self.books().venue.rows.items()
            if row.filled_quantity > 0
        }

    def close(self) -> None:
        """End everything."""
        self.end()
        for name in list(self._servers):
            self.stop_service(name)


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """A deployment that is ended afterwards."""
    deployment = Deployment(folder)
    try:
        yield deployment
    finally:
        deployment.close()
