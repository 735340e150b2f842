"""A kept series is known to go on without reading it: the digest of its window but the oldest.

Series from before have none; their next window is compared row by row once.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("candle_series", sa.Column("tail_digest", sa.Text(), nullable=True))
