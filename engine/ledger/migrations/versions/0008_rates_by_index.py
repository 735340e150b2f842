"""Rates are counted from indexes alone.

A cycle's row holds its report, and an order's its body: counting a year of them row by row took
seconds at each scrape.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen two indexes."""
    op.drop_index("cycles_by_start", "cycles")
    counted = ["started_at", "status", "number", "duration_s", "symbols_selected"]
    op.create_index("cycles_by_start", "cycles", counted)
    op.drop_index("orders_by_creation", "orders")
    op.create_index("orders_by_creation", "orders", ["created_at", "sends", "has_fill"])
