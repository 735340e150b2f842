"""The engine's ledger in one SQL database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, delete, func, select, text, update

from engine.domain.model import TradingState
from engine.errors import ConfigError
from engine.ledger.account_rows import ACCOUNT_ID, read_account
from engine.ledger.archive_reads import prune_archive
from engine.ledger.archive_rows import ArchiveRows
from engine.ledger.connections import Connections, ledger_url
from engine.ledger.cycle_rows import CycleRows
from engine.ledger.migration import migrate
from engine.ledger.order_rows import OrderRows
from engine.ledger.position_rows import PositionRows
from engine.ledger.queries import LedgerQueries
from engine.ledger.queries_operator import OperatorQueries
from engine.ledger.records import insert_new
from engine.ledger.schema import account, allocations, cycles, outcomes, signals
from engine.ledger.state_rows import StateRows
from engine.settings import Settings

FILE_NAME = "ledger.sqlite"


class SqlLedger:
    """Ledger over SQL; what is asked of it is split into its parts."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        risk, guard = settings.risk, settings.risk.stoploss_guard
        candles = guard.window_candles + guard.lock_candles
        self._connections = connections
        self.max_fee = risk.max_fee
        self.cycles = CycleRows(connections, settings.timing.batch_tries)
        self.orders = OrderRows(
            connections,
            max_sends=settings.timing.max_sends_per_order,
            max_repeats=risk.max_repeats_per_day,
            guard_window_s=candles * settings.trading_engine.timeframe_s,
            guards_all=guard.locks == "all",
        )
        self.state = StateRows(connections)
        self.archive = ArchiveRows(connections)
        self.positions = PositionRows(connections)
        self.queries = LedgerQueries(connections)
        self.operator = OperatorQueries(connections)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read-only transaction that sees one state of the ledger. Raises LedgerUnavailable."""
        with self._connections.read() as connection:
            yield connection

    def ping(self) -> None:
        """Answer at once. Raises LedgerUnavailable."""
        with self._connections.read() as connection:
            connection.execute(text("select 1"))

    def prune(self, before: datetime) -> int:
        """Delete outcomes and signals of cycles that started before; how many rows.

        Their plans and what they were decided on go too, and candles that no younger cycle was
        decided on; reports, decisions, orders and fills stay.
        """
        old = select(cycles.c.cycle_id).where(cycles.c.started_at < before)
        with self._connections.write(durable=False) as connection:
            gone = [
                connection.execute(delete(table).where(table.c.cycle_id.in_(old))).rowcount
                for table in (outcomes, signals, allocations)
            ]
            planned = cycles.c.plan.is_not(None)
            aged = update(cycles).where(cycles.c.started_at < before, planned)
            connection.execute(aged.values(plan=None))
            prune_archive(connection, old)
        return sum(gone)

    def dispose(self) -> None:
        """Close idle connections; a forked child has its own without asking."""
        self._connections.dispose()


def open_ledger(settings: Settings) -> SqlLedger:
    """Open the configured ledger, creating or upgrading it first.

    Raises ConfigError when its schema is newer than this program or it belongs to another
    account, LedgerUnavailable when the database does not answer.
    """
    name = settings.ledger.url or f"sqlite:///{Path(settings.data_dir) / FILE_NAME}"
    url = ledger_url(name)
    migrate(url)
    connections = Connections(url, settings.ledger.busy_timeout_s)
    try:
        _claim_account(connections, settings.trading_engine.account)
    except BaseException:
        connections.dispose()
        raise
    return SqlLedger(connections, settings)


def _claim_account(connections: Connections, name: str) -> None:
    """A ledger holds one account, named when it is first opened."""
    with connections.read() as connection:
        if connection.execute(select(func.count()).select_from(account)).scalar_one():
            owner = str(read_account(connection).account)
        else:
            owner = ""
    if not owner:
        with connections.write() as connection:
            insert_new(connection, account, _new_account(name))
            owner = str(read_account(connection).account)
    if owner != name:
        raise ConfigError(
            [f"trading_engine.account: this ledger belongs to {owner!r}, not to {name!r}"]
        )


def _new_account(name: str) -> dict[str, object]:
    return {
        "id": ACCOUNT_ID,
        "account": name,
        "epoch": 0,
        "operator": TradingState.ACTIVE,
        "operator_reason": "",
        "effective": TradingState.ACTIVE,
        "effective_since": datetime.now(UTC),
        "schedule_running": False,
        "contiguous_seq": 0,
    }
