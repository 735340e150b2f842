"""What the rig reads of the three stores, without a part of the product in between.

They are SQLite files; the ledger may be a database on PostgreSQL (`tests.ledger_database`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.ledger_database import ledger_environment

LEDGER = "ledger.sqlite"
FAILURES = (sqlite3.Error, psycopg.Error)
Row = Mapping[str, Any]
Query = Callable[..., Sequence[Row]]
ENDED = ("FILLED", "CANCELED", "EXPIRED", "REJECTED", "VOIDED")
MICROS = 1_000_000


@contextmanager
def reading(path: Path) -> Iterator[Query]:
    """Asks one state of a store: SQL with `?` and its values. Raises one of FAILURES."""
    address = _address(path.parent) if path.name == LEDGER else None
    with _on_postgresql(address) if address is not None else _of_file(path) as query:
        yield query


@contextmanager
def _of_file(path: Path) -> Iterator[Query]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
        database.row_factory = _named
        database.execute("BEGIN")
        yield lambda text, *values: database.execute(text, values).fetchall()


def _named(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


@contextmanager
def _on_postgresql(address: str) -> Iterator[Query]:
    with psycopg.connect(address, row_factory=dict_row) as database:
        database.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield lambda text, *values: database.execute(
            text.replace("?", "%s").encode(), values
        ).fetchall()


@cache
def _address(folder: Path) -> str | None:
    """Of the folder's database on PostgreSQL, when the tests were asked to run there."""
    return ledger_environment(folder).get("DATABASE_URL")


def rows(path: Path, query: str, *values: Any) -> Sequence[Row]:
    """The rows of one query."""
    with reading(path) as ask:
        return ask(query, *values)


class LedgerView:
    """Questions that the rig asks while the product runs; none of them raises."""

    def __init__(self, data: Path) -> None:
        self.path = data / LEDGER

    def _rows(self, query: str, *values: Any) -> Sequence[Row]:
        try:
            return rows(self.path, query, *values)
        except FAILURES:
            return []

    def running(self) -> list[str]:
        """Ids of RUNNING cycles."""
        found = self._rows("SELECT cycle_id FROM cycles WHERE status = 'RUNNING'")
        return [row["cycle_id"] for row in found]

    def last_cycle(self) -> tuple[str, str] | None:
        """Key and id of the newest cycle."""
        found = self._rows("SELECT key, cycle_id FROM cycles ORDER BY number DESC LIMIT 1")
        return (found[0]["key"], found[0]["cycle_id"]) if found else None

    def waiting_batches(self, claimed_by: str = "") -> list[dict[str, Any]]:
        """References of batches that did not report, of RUNNING cycles."""
        found = self._rows(
            "SELECT b.cycle_id, b.batch, b.symbols FROM batches b JOIN cycles c USING (cycle_id) "
            "WHERE c.status = 'RUNNING' AND b.reported_at IS NULL AND b.claimed_by LIKE ?",
            f"{claimed_by}%",
        )
        return [
            {
                "cycle_id": row["cycle_id"],
                "batch": row["batch"],
                "symbols": json.loads(row["symbols"]),
                "claimed": True,
            }
            for row in found
        ]

    def batches_of(self, cycle_id: str) -> int:
        """How many batches a cycle's plan has."""
        found = self._rows("SELECT count(*) n FROM batches WHERE cycle_id = ?", cycle_id)
        return int(found[0]["n"]) if found else 0

    def orders_of(self, cycle_id: str) -> list[str]:
        """Ids of a cycle's orders."""
        query = "SELECT client_order_id FROM orders WHERE cycle_id = ?"
        return [row["client_order_id"] for row in self._rows(query, cycle_id)]

    def valid_until(self, client_order_id: str) -> float | None:
        """When an order's validity ends, epoch seconds."""
        query = "SELECT valid_until FROM orders WHERE client_order_id = ?"
        found = self._rows(query, client_order_id)
        return found[0]["valid_until"] / MICROS if found else None

    def reported_at(self, cycle_id: str, batch: int) -> float | None:
        """When a batch reported, epoch seconds."""
        query = "SELECT reported_at FROM batches WHERE cycle_id = ? AND batch = ?"
        found = self._rows(query, cycle_id, batch)
        if not found or found[0]["reported_at"] is None:
            return None
        return float(found[0]["reported_at"]) / MICROS

    def unresolved(self) -> int:
        """Orders whose end is not proved."""
        marks = ",".join("?" for _ in ENDED)
        query = f"SELECT count(*) n FROM orders WHERE status NOT IN ({marks})"  # noqa: S608
        found = self._rows(query, *ENDED)
        return int(found[0]["n"]) if found else -1

    def open_orders(self) -> str:
        """What is known of orders without a proved end, and of leases, for a finding."""
        marks = ",".join("?" for _ in ENDED)
        terms = "client_order_id, status, epoch, sends, lease_until, cutoff_at, valid_until"
        query = f"SELECT {terms} FROM orders WHERE status NOT IN ({marks})"  # noqa: S608
        found = [dict(row) for row in self._rows(query, *ENDED)]
        leases = [dict(row) for row in self._rows("SELECT * FROM leases")]
        return f"{found}, leases {leases}"


def is_level(data: Path) -> bool:
    """Whether ledger and portfolio have everything that the execution service's log has."""
    try:
        head = rows(data / "execution.sqlite", "SELECT max(seq) seq FROM events")[0]["seq"] or 0
        known = rows(data / LEDGER, "SELECT contiguous_seq seq FROM account")[0]["seq"]
        applied = rows(data / "portfolio.sqlite", "SELECT applied_seq seq FROM account")[0]["seq"]
    except FAILURES:
        return False
    return bool(head == known == applied)
