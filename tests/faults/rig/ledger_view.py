"""What the rig reads of the three files, without a part of the product in between."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ENDED = ("FILLED", "CANCELED", "EXPIRED", "REJECTED", "VOIDED")
MICROS = 1_000_000


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One state of a file. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
        database.row_factory = sqlite3.Row
        database.execute("BEGIN")
        yield database


def rows(path: Path, query: str, *values: Any) -> list[sqlite3.Row]:
    """The rows of one query."""
    with reading(path) as database:
        return database.execute(query, values).fetchall()


class LedgerView:
    """Questions that the rig asks while the product runs; none of them raises."""

    def __init__(self, data: Path) -> None:
        self.path = data / "ledger.sqlite"

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        try:
            return rows(self.path, query, *values)
        except sqlite3.Error:
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
        return f"{found}, leases {[dict(row) for row in self._rows('SELECT * FROM leases')]}"


def is_level(data: Path) -> bool:
    """Whether ledger and portfolio have everything that the execution service's log has."""
    try:
        head = rows(data / "execution.sqlite", "SELECT max(seq) seq FROM events")[0]["seq"] or 0
        known = rows(data / "ledger.sqlite", "SELECT contiguous_seq seq FROM account")[0]["seq"]
        applied = rows(data / "portfolio.sqlite", "SELECT applied_seq seq FROM account")[0]["seq"]
    except sqlite3.Error:
        return False
    return bool(head == known == applied)
