"""From where each audited request came.

Rows from before do not say.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("audit_log", sa.Column("source", sa.Text(), nullable=False, server_default=""))
