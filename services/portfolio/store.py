"""The account's durable state around the pure arithmetic: every change is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from engine.domain import account as accounts
from engine.domain.account import Account, Holding
from engine.domain.decimals import decimal_text
from engine.domain.messages import EquityPoint, FillsApplied
from engine.domain.model import Fill, PortfolioSnapshot
from engine.errors import ConfigError, Refused
from services.durable import DurableStore
from services.portfolio import schema

LOOKUP_SIZE = 500


class Gap(Refused):
    """A fill that was never applied lies at or below what is confirmed as applied."""

    def __init__(self, applied_seq: int, fill_ids: Sequence[str]) -> None:
        super().__init__(f"unknown fills at or below applied_seq {applied_seq}")
        self.applied_seq = applied_seq
        self.fill_ids = list(fill_ids)


class Mismatch(Refused):
    """A known fill id came with another content."""


class PortfolioStore:
    """One account in one SQLite file."""

    def __init__(
        self, path: Path, *, name: str, currency: str, cash: Decimal, busy_timeout_s: float
    ) -> None:
        self._store = DurableStore(path, schema.metadata, busy_timeout_s=busy_timeout_s)
        with self._store.write() as connection:
            _ensure_account(connection, accounts.open_account(name, currency, cash))

    def close(self) -> None:
        """Release the file."""
        self._store.close()

    def snapshot(self, now: datetime) -> PortfolioSnapshot:
        """The account as of now, wall time."""
        with self._store.read() as connection:
            account, applied_seq = _load(connection)
        return accounts.snapshot(account, applied_seq, now)

    def apply_fills(self, through_seq: int, fills: Sequence[Fill]) -> FillsApplied:
        """Apply what is new, all or nothing. Raises Gap, Mismatch or Oversold."""
        with self._store.write() as connection:
            account, applied_seq = _load(connection)
            known = _known_fills(connection, [fill.fill_id for fill in fills])
            _require_same(known, fills)
            new = sorted((fill for fill in fills if fill.fill_id not in known), key=_seq)
            missed = [fill.fill_id for fill in new if fill.seq <= applied_seq]
            if missed:
                raise Gap(applied_seq, missed)
            for fill in new:
                account = accounts.apply_fill(account, fill)
            applied_seq = max(applied_seq, through_seq)
            _save(connection, account, applied_seq)
            if new:
                connection.execute(insert(schema.fills), [_fill_row(fill) for fill in new])
                _save_point(connection, account)
        return FillsApplied(
            applied_seq=applied_seq,
            applied=tuple(fill.fill_id for fill in new),
            duplicates=tuple(fill.fill_id for fill in fills if fill.fill_id in known),
        )

    def apply_marks(self, prices: Mapping[str, Decimal], as_of: datetime) -> tuple[bool, Decimal]:
        """Value the holdings anew; whether the marks were used, and the equity after them."""
        with self._store.write() as connection:
            account, applied_seq = _load(connection)
            marked = accounts.apply_marks(account, prices, as_of)
            if marked is not account:
                _save(connection, marked, applied_seq)
                _save_point(connection, marked)
        return marked is not account, marked.equity

    def equity(self, since: datetime | None) -> tuple[EquityPoint, ...]:
        """The equity curve from `since` on, ascending."""
        query = select(schema.equity).order_by(schema.equity.c.time)
        if since is not None:
            query = query.where(schema.equity.c.time >= _time_text(since))
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return tuple(
            EquityPoint(time=_time(row.time), equity=row.equity, cash=row.cash) for row in rows
        )


def _seq(fill: Fill) -> int:
    return fill.seq


def _ensure_account(connection: Connection, new: Account) -> None:
    """Make the account on first use. Raises ConfigError where the file belongs to another."""
    row = connection.execute(select(schema.account)).one_or_none()
    if row is None:
        connection.execute(insert(schema.account).values(id=1, **_account_row(new, 0)))
    elif (row.name, row.currency) != (new.name, new.currency):
        fault = (
            f"trading_engine.account: was {new.name} in {new.currency}, but data_dir holds "
            f"account {row.name} in {row.currency}; set another data_dir or that account"
        )
        raise ConfigError([fault])


def _load(connection: Connection) -> tuple[Account, int]:
    row = connection.execute(select(schema.account)).one()
    held = connection.execute(select(schema.positions)).all()
    account = Account(
        name=row.name,
        currency=row.currency,
        starting_cash=Decimal(row.starting_cash),
        cash=Decimal(row.cash),
        realized_pnl=Decimal(row.realized_pnl),
        fees=Decimal(row.fees),
        peak_equity=Decimal(row.peak_equity),
        day_start_equity=Decimal(row.day_start_equity),
        holdings={each.symbol: _holding(each) for each in held},
        market_time=None if row.market_time is None else _time(row.market_time),
        marked_at=None if row.marked_at is None else _time(row.marked_at),
    )
    return account, int(row.applied_seq)


def _holding(row: Row[Any]) -> Holding:
    return Holding(
        symbol=row.symbol,
        quantity=Decimal(row.quantity),
        cost=Decimal(row.cost),
        market_price=Decimal(row.market_price),
        strategy=row.strategy,
        opened_at=_time(row.opened_at),
        version=row.version,
    )


def _save(connection: Connection, account: Account, applied_seq: int) -> None:
    connection.execute(update(schema.account).values(**_account_row(account, applied_seq)))
    connection.execute(delete(schema.positions))
    if account.holdings:
        rows = [_holding_row(held) for held in account.holdings.values()]
        connection.execute(insert(schema.positions), rows)


def _save_point(connection: Connection, account: Account) -> None:
    """The last state at one market time is the curve's point at that time."""
    point = accounts.equity_point(account)
    if point is None:
        return
    values = {"equity": point.equity, "cash": point.cash}
    statement = upsert(schema.equity).values(time=_time_text(point.time), **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["time"], set_=values))


def _known_fills(connection: Connection, fill_ids: Sequence[str]) -> dict[str, Row[Any]]:
    known: dict[str, Row[Any]] = {}
    for start in range(0, len(fill_ids), LOOKUP_SIZE):
        part = fill_ids[start : start + LOOKUP_SIZE]
        query = select(schema.fills).where(schema.fills.c.fill_id.in_(part))
        known |= {row.fill_id: row for row in connection.execute(query)}
    return known


def _require_same(known: Mapping[str, Row[Any]], fills: Sequence[Fill]) -> None:
    for fill in fills:
        row = known.get(fill.fill_id)
        if row is not None and row._asdict() != _fill_row(fill):
            raise Mismatch(f"fill {fill.fill_id} was applied with another content")


def _account_row(account: Account, applied_seq: int) -> dict[str, object]:
    return {
        "name": account.name,
        "currency": account.currency,
        "starting_cash": decimal_text(account.starting_cash),
        "cash": decimal_text(account.cash),
        "realized_pnl": decimal_text(account.realized_pnl),
        "fees": decimal_text(account.fees),
        "peak_equity": decimal_text(account.peak_equity),
        "day_start_equity": decimal_text(account.day_start_equity),
        "market_time": None if account.market_time is None else _time_text(account.market_time),
        "marked_at": None if account.marked_at is None else _time_text(account.marked_at),
        "applied_seq": applied_seq,
    }


def _holding_row(held: Holding) -> dict[str, object]:
    return {
        "symbol": held.symbol,
        "quantity": decimal_text(held.quantity),
        "cost": decimal_text(held.cost),
        "market_price": decimal_text(held.market_price),
        "strategy": held.strategy,
        "opened_at": _time_text(held.opened_at),
        "version": held.version,
    }


def _fill_row(fill: Fill) -> dict[str, object]:
    return {
        "fill_id": fill.fill_id,
        "seq": fill.seq,
        "client_order_id": fill.client_order_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "quantity": decimal_text(fill.quantity),
        "price": decimal_text(fill.price),
        "fee": decimal_text(fill.fee),
        "filled_at": _time_text(fill.filled_at),
        "strategy": fill.strategy,
    }


def _time_text(at: datetime) -> str:
    """UTC with microseconds always written, so that text sorts as time does."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written)
