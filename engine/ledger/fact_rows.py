"""What decisions need to know of the past: per symbol, and under the account's lock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Connection, bindparam, func, or_, select, text, union

from engine.domain.cycle import AllocationFacts, Attempt, SymbolFacts
from engine.domain.model import Order, OrderIntent, OrderStatus, Side, TradingState
from engine.domain.orders import client_order_id as order_id
from engine.domain.orders import is_terminal
from engine.ledger.column_types import AnyRow
from engine.ledger.order_changes import total
from engine.ledger.records import ORDER_COLUMNS, order_of
from engine.ledger.schema import UNSETTLED_ORDER, disabled_strategies, fills, holdings, orders
from engine.ledger.schema_operator import exit_requests

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
STOP = "stop"
DOUBTFUL = frozenset({OrderStatus.SENDING, OrderStatus.UNKNOWN})
NAMES: BindParameter[Any] = bindparam("symbols", expanding=True)
SINCE: BindParameter[Any] = bindparam("since")
UNTIL: BindParameter[Any] = bindparam("until")
HELD = select(holdings).where(holdings.c.symbol.in_(NAMES))
UNSETTLED = select(*ORDER_COLUMNS).where(orders.c.symbol.in_(NAMES), text(UNSETTLED_ORDER))
RECENT = (
    select(
        orders.c.symbol,
        orders.c.market_time,
        orders.c.strategy,
        orders.c.side,
        orders.c.has_fill,
        orders.c.exit_reason,
    )
    .where(
        orders.c.symbol.in_(NAMES),
        orders.c.market_time >= SINCE,
        orders.c.market_time <= UNTIL,
    )
    .order_by(orders.c.market_time)
)
DISABLED = select(disabled_strategies).where(disabled_strategies.c.symbol.in_(NAMES))
WANTED = select(exit_requests).where(exit_requests.c.symbol.in_(NAMES))
HOLDING = holdings.c.quantity != Decimal(0)
ENTRIES = (
    select(fills.c.symbol, orders.c.strategy, orders.c.stop_price, orders.c.target_price)
    .join(holdings, (holdings.c.symbol == fills.c.symbol) & (fills.c.seq > holdings.c.flat_seq))
    .join(orders, orders.c.client_order_id == fills.c.client_order_id)
    .where(HOLDING, fills.c.side == Side.BUY)
    .order_by(fills.c.seq)
)
ENTRIES_OF = ENTRIES.where(fills.c.symbol.in_(NAMES))
# Named by symbol here too: otherwise SQLite goes through all fills in the order of their seq.
ENTRIES_OF_ALL = ENTRIES.where(fills.c.symbol.in_(select(holdings.c.symbol).where(HOLDING)))
LATE = select(fills.c.client_order_id).where(fills.c.seq > bindparam("applied_seq"))
TAKEN_IN = (
    select(*ORDER_COLUMNS)
    .where(
        orders.c.client_order_id.in_(
            union(select(orders.c.client_order_id).where(text(UNSETTLED_ORDER)), LATE)
        )
    )
    .order_by(orders.c.number)
)
PASTS = (HELD, UNSETTLED, RECENT, DISABLED, WANTED, ENTRIES_OF)
ANY_PAST = select(*(chosen.order_by(None).exists() for chosen in PASTS))
STOPS = (
    select(orders.c.market_time)
    .where(
        orders.c.market_time.between(SINCE, UNTIL),
        orders.c.exit_reason == STOP,
        orders.c.has_fill,
    )
    .order_by(orders.c.market_time)
)


@dataclass(frozen=True)
class Past:
    """Rows about the asked symbols, by symbol."""

    holdings: dict[str, AnyRow]
    open_orders: dict[str, list[Order]]
    entries: dict[str, list[AnyRow]]
    recent: dict[str, list[AnyRow]]
    disabled: dict[str, list[str]]
    exits: dict[str, list[AnyRow]]


def symbol_facts(
    connection: Connection,
    symbols: Sequence[str],
    market_time: datetime,
    stops_since: datetime,
    *,
    all_stops: bool = False,
) -> dict[str, SymbolFacts]:
    """The past of each symbol. Stop-outs are listed from `stops_since` on (market time).

    `all_stops` lists those of every symbol for each.

    An order that is being sent counts as doubtful too: while symbols are judged, no order of
    their own cycle exists yet, so it belongs to an earlier one.
    """
    past = _past(connection, symbols, market_time, stops_since)
    found = {symbol: _facts_of(symbol, past, market_time, stops_since) for symbol in symbols}
    if not all_stops:
        return found
    stops = _stops_of_all(connection, stops_since, market_time)
    return {
        symbol: msgspec.structs.replace(facts, stop_exits_at=stops)
        for symbol, facts in found.items()
    }


def _stops_of_all(connection: Connection, since: datetime, until: datetime) -> tuple[datetime, ...]:
    found = connection.execute(STOPS, {"since": since, "until": until})
    return tuple(found.scalars())


def _past(
    connection: Connection, symbols: Sequence[str], market_time: datetime, stops_since: datetime
) -> Past:
    since = min(market_time - HOUR, _midnight(market_time), stops_since)
    asked = {"symbols": list(symbols), "since": since, "until": market_time}
    # Most symbols have none: one look tells which of the six there are.
    there = connection.execute(ANY_PAST, asked).one()
    held, unsettled, recent, stopped, wanted, entries = (
        connection.execute(chosen, asked).all() if is_there else ()
        for chosen, is_there in zip(PASTS, there, strict=True)
    )
    disabled: dict[str, list[str]] = {}
    for row in stopped:
        disabled.setdefault(row.symbol, []).append(row.strategy)
    found = (order_of(row) for row in unsettled)
    return Past(
        holdings={row.symbol: row for row in held},
        open_orders=_by_symbol(order for order in found if not is_terminal(order.status)),
        entries=_by_symbol(entries),
        recent=_by_symbol(recent),
        disabled=disabled,
        exits=_by_symbol(wanted),
    )


def _by_symbol(rows: Iterable[Any]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for row in rows:
        grouped.setdefault(row.symbol, []).append(row)
    return grouped


def _midnight(market_time: datetime) -> datetime:
    return market_time.replace(hour=0, minute=0, second=0, microsecond=0)


def entry_rows(connection: Connection) -> list[AnyRow]:
    """Filled entries of open positions, oldest first: symbol, strategy, stop, target."""
    return list(connection.execute(ENTRIES_OF_ALL))


def _facts_of(symbol: str, past: Past, market_time: datetime, stops_since: datetime) -> SymbolFacts:
    held = past.holdings.get(symbol)
    open_orders = past.open_orders.get(symbol, [])
    entries = past.entries.get(symbol, [])
    recent = past.recent.get(symbol, [])
    stops = [entry.stop_price for entry in entries if entry.stop_price is not None]
    targets = [entry.target_price for entry in entries if entry.target_price is not None]
    sells = [order for order in open_orders if order.side is Side.SELL]
    return SymbolFacts(
        symbol=symbol,
        owner=_owner(open_orders, entries),
        last_exit_at=None if held is None else held.last_exit_at,
        orders_last_hour=sum(1 for row in recent if row.market_time > market_time - HOUR),
        stop_exits_at=tuple(
            row.market_time
            for row in recent
            if row.has_fill and row.exit_reason == STOP and row.market_time >= stops_since
        ),
        strategy_orders_today=_filled_today(recent, market_time),
        disabled_strategies=tuple(sorted(past.disabled.get(symbol, []))),
        quarantined=any(order.status in DOUBTFUL for order in open_orders),
        open_sell_quantity=total(order.quantity - order.filled_quantity for order in sells),
        exits_requested={
            row.opened_at: f"{row.reason} (asked for by {row.actor})"
            for row in past.exits.get(symbol, [])
        },
        position_fill_id="" if held is None else held.last_fill_id,
        stop_price=max(stops, default=None),
        target_price=min(targets, default=None),
    )


def _owner(open_orders: list[Order], entries: list[AnyRow]) -> str | None:
    """The strategy of the position's latest entry, else of an open entry."""
    named = [str(entry.strategy) for entry in entries if entry.strategy]
    named = named or [o.strategy for o in open_orders if o.side is Side.BUY and o.strategy]
    return named[-1] if named else None


def _filled_today(recent: list[AnyRow], market_time: datetime) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in recent:
        if row.has_fill and row.market_time >= _midnight(market_time):
            key = f"{row.strategy}|{row.side}"
            counts[key] = counts.get(key, 0) + 1
    return counts


def allocation_facts(
    connection: Connection,
    candidates: tuple[OrderIntent, ...],
    state: TradingState,
    applied_seq: int,
    market_time: datetime,
) -> AllocationFacts:
    """What the one decision of a cycle is made on. The account is locked by the caller.

    What an answer said was filled counts as unapplied until its fill events are stored and at
    or below `applied_seq`: news that came before its events must not free any budget.
    """
    found = [order_of(row) for row in connection.execute(TAKEN_IN, {"applied_seq": applied_seq})]
    unapplied = _unapplied(connection, found, applied_seq)
    return AllocationFacts(
        trading_state=state,
        candidates=candidates,
        open_orders=tuple(o for o in found if not is_terminal(o.status)),
        late_orders=tuple(
            o for o in found if is_terminal(o.status) and o.client_order_id in unapplied
        ),
        unapplied=unapplied,
        orders_last_minute=_count_orders(connection, market_time - MINUTE, market_time),
        attempts=_attempts(connection, {intent.decision_key for intent in candidates}),
        entry_stops=_entry_stops(connection),
    )


def _unapplied(connection: Connection, found: list[Order], applied_seq: int) -> dict[str, Decimal]:
    """Filled quantity that the snapshot does not hold yet, by order; only what is above 0."""
    known = {order.client_order_id: order.filled_quantity for order in found}
    chosen = select(fills.c.client_order_id, fills.c.seq, fills.c.quantity).where(
        or_(fills.c.seq > applied_seq, fills.c.client_order_id.in_(list(known)))
    )
    applied: dict[str, Decimal] = {}
    stored: dict[str, Decimal] = {}
    for client_order_id, seq, quantity in connection.execute(chosen):
        stored[client_order_id] = total((stored.get(client_order_id, Decimal(0)), quantity))
        if seq <= applied_seq:
            applied[client_order_id] = total((applied.get(client_order_id, Decimal(0)), quantity))
    result = {}
    for client_order_id in known.keys() | stored.keys():
        filled = max(
            known.get(client_order_id, Decimal(0)), stored.get(client_order_id, Decimal(0))
        )
        missing = filled - applied.get(client_order_id, Decimal(0))
        if missing > 0:
            result[client_order_id] = missing
    return result


def _count_orders(connection: Connection, after: datetime, through: datetime) -> int:
    counted = select(func.count()).where(
        orders.c.market_time > after, orders.c.market_time <= through
    )
    return int(connection.execute(counted).scalar_one())


def _attempts(connection: Connection, keys: set[str]) -> dict[str, Attempt]:
    chosen = select(orders.c.decision_key, orders.c.attempt, orders.c.status, orders.c.has_fill)
    mine = chosen.where(orders.c.decision_key.in_(sorted(keys))).order_by(orders.c.attempt)
    found = {
        row.decision_key: Attempt(
            count=row.attempt + 1,
            last_terminal=is_terminal(row.status),
            last_filled=row.has_fill,
        )
        for row in connection.execute(mine)
    }
    return found | _adopted_attempts(connection, keys, found)


def _adopted_attempts(
    connection: Connection, keys: set[str], known: dict[str, Attempt]
) -> dict[str, Attempt]:
    """Attempts that the ledger knows by their id alone: one that was lost had made them."""
    found: dict[str, Attempt] = {}
    counts = {key: known[key].count if key in known else 0 for key in keys}
    while counts:
        ids = {order_id(key, count): key for key, count in counts.items()}
        chosen = select(orders.c.client_order_id, orders.c.status, orders.c.has_fill)
        rows = connection.execute(chosen.where(orders.c.client_order_id.in_(sorted(ids)))).all()
        counts = {ids[row.client_order_id]: counts[ids[row.client_order_id]] + 1 for row in rows}
        for row in rows:
            key = ids[row.client_order_id]
            found[key] = Attempt(
                count=counts[key],
                last_terminal=is_terminal(row.status),
                last_filled=row.has_fill,
            )
    return found


def _entry_stops(connection: Connection) -> dict[str, Decimal]:
    stops: dict[str, Decimal] = {}
    for row in entry_rows(connection):
        if row.stop_price is not None:
            stops[row.symbol] = max(row.stop_price, stops.get(row.symbol, row.stop_price))
    return stops
