"""The cycles and the fills of a span of market time are found by an index.

The account's performance went through all there ever were for those of a day.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes."""
    op.create_index("cycles_by_market_time", "cycles", ["market_time", "number"])
    op.create_index("fills_by_time", "fills", ["filled_at", "seq"])
