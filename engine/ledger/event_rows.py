"""The execution service's log as the ledger keeps it: events by seq, fills, holdings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from engine.domain.model import ExecutionEvent, Fill, FillEvent, Side
from engine.errors import Refused
from engine.ledger.account_rows import lock_account, read_account, update_account
from engine.ledger.column_types import plain
from engine.ledger.connections import Connections
from engine.ledger.order_changes import EXACT, load_changes, save_changes, stored_fills
from engine.ledger.records import dump, fill_of, fill_values, insert_all, upsert
from engine.ledger.schema import events as event_log
from engine.ledger.schema import fills, holdings
from engine.ledger.schema_operator import adoptions

EVENT_CAUSE = "event"


class EventRows:
    """The part of OrderLedger that is about the execution log."""

    def __init__(self, connections: Connections, max_repeats: int) -> None:
        self._connections = connections
        self._max_repeats = max_repeats

    def log_id(self) -> str | None:
        """The identity of the execution log that the stored events came from."""
        with self._connections.read() as connection:
            known: str | None = read_account(connection).log_id
            return known

    def set_log_id(self, log_id: str) -> None:
        """Store the identity of the execution log; once. Raises Refused for another one."""
        with self._connections.write() as connection:
            known = lock_account(connection).log_id
            if known is None:
                update_account(connection, log_id=log_id)
            elif known != log_id:
                raise Refused(f"the ledger follows the execution log {known}, not {log_id}")

    def contiguous_seq(self) -> int:
        """The seq up to which every execution event is stored."""
        with self._connections.read() as connection:
            return int(read_account(connection).contiguous_seq)

    def store_events(self, events: Sequence[ExecutionEvent], now: datetime) -> tuple[str, ...]:
        """Store events by seq and move the orders they speak of; ids that are not known here."""
        if not events:
            return ()
        ids = {event.client_order_id for event in events}
        with self._connections.write() as connection:
            account = lock_account(connection)
            fresh = _insert_events(connection, events)
            _advance(connection, account.contiguous_seq)
            _hold(connection, [event for event in fresh if isinstance(event, FillEvent)])
            changes = load_changes(connection, ids)
            filled = {e.client_order_id for e in fresh if isinstance(e, FillEvent)}
            known = stored_fills(connection, filled & changes.keys())
            for client_order_id, stored in known.items():
                changes[client_order_id].take_fills(stored)
            for event in fresh:
                if not isinstance(event, FillEvent) and event.client_order_id in changes:
                    changes[event.client_order_id].answer(event, EVENT_CAUSE, now)
            save_changes(connection, list(changes.values()), now, self._max_repeats)
            return tuple(sorted(ids - changes.keys()))

    def fills(self, after_seq: int, through_seq: int) -> tuple[Fill, ...]:
        """Stored fills with after_seq < seq <= through_seq, in order."""
        chosen = select(fills).where(fills.c.seq > after_seq, fills.c.seq <= through_seq)
        with self._connections.read() as connection:
            return tuple(fill_of(row) for row in connection.execute(chosen.order_by(fills.c.seq)))

    def position_sums(self) -> dict[str, str]:
        """Quantity held by symbol, as the sum of all stored fills (decimal text, no zeros)."""
        chosen = select(holdings.c.symbol, holdings.c.quantity).order_by(holdings.c.symbol)
        with self._connections.read() as connection:
            rows = connection.execute(chosen).all()
        return {row.symbol: canonical(row.quantity) for row in rows if row.quantity != 0}


def canonical(value: Decimal) -> str:
    """Plain decimal text without trailing zeros."""
    return plain(value.normalize(EXACT))


def _insert_events(
    connection: Connection, events: Iterable[ExecutionEvent]
) -> list[ExecutionEvent]:
    """Insert those whose seq is new, and their fills; the new ones, in order."""
    by_seq = {event.seq: event for event in events}
    chosen = select(event_log.c.seq).where(event_log.c.seq.in_(list(by_seq)))
    known = set(connection.execute(chosen).scalars())
    fresh = [by_seq[seq] for seq in sorted(by_seq.keys() - known)]
    insert_all(connection, event_log, [_event_values(event) for event in fresh])
    found = [event for event in fresh if isinstance(event, FillEvent)]
    ids = [event.fill_id for event in found]
    counted = set(
        connection.execute(select(fills.c.fill_id).where(fills.c.fill_id.in_(ids))).scalars()
    )
    # A fill under a second seq is counted once; the audit names the event that has no row.
    first = {e.fill_id: e for e in reversed(found) if e.fill_id not in counted}
    insert_all(connection, fills, [fill_values(event) for event in first.values()])
    return [e for e in fresh if not isinstance(e, FillEvent) or first.get(e.fill_id) is e]


def _event_values(event: ExecutionEvent) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "kind": "fill" if isinstance(event, FillEvent) else "order",
        "client_order_id": event.client_order_id,
        "at": event.filled_at if isinstance(event, FillEvent) else event.at,
        "payload": dump(event),
    }


def _advance(connection: Connection, contiguous: int) -> None:
    """Move the cursor over every seq that follows without a gap."""
    chosen = select(event_log.c.seq).where(event_log.c.seq > contiguous).order_by(event_log.c.seq)
    reached = contiguous
    for seq in connection.execute(chosen).scalars():
        if seq != reached + 1:
            break
        reached = seq
    if reached != contiguous:
        update_account(connection, contiguous_seq=reached)


def _hold(connection: Connection, fresh: list[FillEvent]) -> None:
    """Bring the holdings up to date with new fills."""
    symbols = sorted({fill.symbol for fill in fresh})
    chosen = select(holdings).where(holdings.c.symbol.in_(symbols)).with_for_update()
    known = {row.symbol: dict(row._mapping) for row in connection.execute(chosen)}  # noqa: SLF001
    for symbol in symbols:
        new: list[Fill] = [fill for fill in fresh if fill.symbol == symbol]
        held = known.get(symbol)
        if held is not None and new[0].seq < held["last_seq"]:
            # A hole was filled: what a position is made of depends on the order of its fills.
            rows = select(fills).where(fills.c.symbol == symbol).order_by(fills.c.seq)
            new = [fill_of(row) for row in connection.execute(rows)]
            again = held_after(symbol, None, new, joined(connection, symbol))
            upsert(connection, holdings, again, "symbol")
            continue
        upsert(connection, holdings, held_after(symbol, held, new), "symbol")


def joined(connection: Connection, symbol: str) -> list[tuple[int, Decimal]]:
    """What adoptions added to the holding: after which seq, and how much."""
    chosen = select(adoptions.c.after_seq, adoptions.c.quantity).where(adoptions.c.symbol == symbol)
    rows = connection.execute(chosen.order_by(adoptions.c.number))
    return [(row.after_seq, row.quantity) for row in rows]


def held_after(
    symbol: str,
    held: dict[str, Any] | None,
    fresh: list[Fill],
    adopted: Sequence[tuple[int, Decimal]] = (),
) -> dict[str, Any]:
    """The holding in `symbol` after `fresh` fills in order of seq, from `held` or from nothing.

    `adopted` joined it on the way: (after this seq, so much).
    """
    row = dict(held) if held is not None else nothing_held(symbol)
    waiting = list(adopted)
    for fill in fresh:
        while waiting and waiting[0][0] < fill.seq:
            row["quantity"] = EXACT.add(row["quantity"], waiting.pop(0)[1])
        signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
        row["quantity"] = EXACT.add(row["quantity"], signed)
        row["last_seq"], row["last_fill_id"] = fill.seq, fill.fill_id
        if row["quantity"] == 0:
            row["flat_seq"] = fill.seq
        if fill.side is Side.SELL:
            row["last_exit_at"] = fill.filled_at
    for _, quantity in waiting:
        row["quantity"] = EXACT.add(row["quantity"], quantity)
    row["quantity"] = Decimal(canonical(row["quantity"]))
    return row


def nothing_held(symbol: str) -> dict[str, Any]:
    """The row of a symbol of which nothing is held."""
    return {
        "symbol": symbol,
        "quantity": Decimal(0),
        "flat_seq": 0,
        "last_seq": 0,
        "last_fill_id": "",
        "last_exit_at": None,
    }
