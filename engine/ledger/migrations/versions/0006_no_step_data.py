"""The steps of a batch hand on in memory: the table between them goes.

It held nothing but what a running cycle needs; such a cycle's batches are claimed again.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the table."""
    op.drop_table("step_data")
