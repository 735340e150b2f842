"""The account over market time, from the snapshots that the cycles decided on, and its orders."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import BigInteger, func, literal_column, select, text, type_coerce

from engine.domain.account_history import Commitments, EntryLevels, EquityAt
from engine.domain.model import Fill, Value
from engine.ledger.column_types import MICROSECOND
from engine.ledger.fact_rows import entry_rows
from engine.ledger.ledger import SqlLedger
from engine.ledger.records import ORDER_COLUMNS, fill_of, load, order_of
from engine.ledger.schema import OPEN_ORDER, cycles, fills, orders

MAX_POINTS = 20000
MAX_FILLS = 50000


class _Account(Value, frozen=True, kw_only=True):
    equity: Decimal
    cash: Decimal


class _Header(Value, frozen=True, kw_only=True):
    snapshot: _Account | None


class AccountQueries:
    """Reads for the account's limits and performance. All raise LedgerUnavailable."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._reading = ledger.reading

    def market_now(self) -> datetime | None:
        """The market time of the latest planned cycle, or None before the first."""
        chosen = select(cycles.c.market_time).where(cycles.c.market_time.is_not(None))
        with self._reading() as connection:
            found: datetime | None = connection.execute(
                chosen.order_by(cycles.c.number.desc()).limit(1)
            ).scalar()
        return found

    def equity_points(
        self, since: datetime | None, each: timedelta | None = None
    ) -> tuple[EquityAt, ...]:
        """Equity at planned cycles from `since` on (market time), ascending.

        At every one, or at the last one of `each` so much time since 1970, and at none where that
        one did not know the account. Of more than 20,000 the newest.
        """
        time = cycles.c.market_time
        within = time.is_not(None) if since is None else time >= since
        numbers = (
            select(cycles.c.number).where(within).order_by(time.desc(), cycles.c.number.desc())
        )
        if each is not None:
            # Written out: PostgreSQL takes two parameters of one value for two expressions.
            length = literal_column(str(each // MICROSECOND), BigInteger)
            span = type_coerce(time, BigInteger) // length
            newest = select(func.max(cycles.c.number)).where(within)
            numbers = newest.group_by(span).order_by(span.desc())
        among = cycles.c.number.in_(numbers.limit(MAX_POINTS))
        chosen = select(time, cycles.c.header).where(among, cycles.c.header.is_not(None))
        with self._reading() as connection:
            rows = connection.execute(chosen.order_by(cycles.c.number.desc())).all()
        headers = ((row.market_time, load(row.header, _Header)) for row in reversed(rows))
        return tuple(
            EquityAt(time=time, equity=header.snapshot.equity, cash=header.snapshot.cash)
            for time, header in headers
            if header.snapshot is not None
        )

    def fills_since(self, since: datetime | None) -> tuple[Fill, ...]:
        """Stored fills from `since` on (market time) in order of their seq; the newest 50,000."""
        chosen = select(fills).limit(MAX_FILLS)
        if since is not None:
            newest = select(fills.c.seq).where(fills.c.filled_at >= since)
            newest = newest.order_by(fills.c.filled_at.desc(), fills.c.seq.desc())
            chosen = select(fills).where(fills.c.seq.in_(newest.limit(MAX_FILLS)))
        with self._reading() as connection:
            rows = connection.execute(chosen.order_by(fills.c.seq.desc())).all()
        return tuple(fill_of(row) for row in reversed(rows))

    def entry_levels(self) -> dict[str, EntryLevels]:
        """Stop and target of each position that the ledger knows an entry of, by symbol."""
        with self._reading() as connection:
            rows = entry_rows(connection)
        stops: dict[str, Decimal] = {}
        targets: dict[str, Decimal] = {}
        for row in rows:
            if row.stop_price is not None:
                stops[row.symbol] = max(row.stop_price, stops.get(row.symbol, row.stop_price))
            if row.target_price is not None:
                known = targets.get(row.symbol, row.target_price)
                targets[row.symbol] = min(row.target_price, known)
        return {
            symbol: EntryLevels(stop_price=stops.get(symbol), target_price=targets.get(symbol))
            for symbol in stops.keys() | targets.keys()
        }

    def commitments(self, market_now: datetime) -> Commitments:
        """What the account has committed beside its holdings, as of this market time."""
        is_open = select(*ORDER_COLUMNS).where(text(OPEN_ORDER)).order_by(orders.c.number)
        recent = select(func.count()).where(
            orders.c.market_time > market_now - timedelta(minutes=1)
        )
        with self._reading() as connection:
            rows = connection.execute(is_open).all()
            count = connection.execute(recent).scalar_one()
        return Commitments(
            open_orders=tuple(order_of(row) for row in rows), orders_last_minute=int(count)
        )
