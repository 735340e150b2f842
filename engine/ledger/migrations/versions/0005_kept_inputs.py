"""What decisions were made from: settings, inputs of steps, and candles, each kept once.

A ledger from before has none for its older cycles, which cannot be decided again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "decision_settings",
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("config_hash"),
    )
    op.create_table(
        "step_inputs",
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("oldest", sa.BigInteger(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("cycle_id", "batch", "step"),
    )
    op.create_table(
        "candle_series",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.String(8), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("newest", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "timeframe"),
    )
    op.create_table(
        "candle_blocks",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.String(8), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("newest", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "timeframe", "edition", "block"),
    )
