"""What an operator adds to the ledger: acknowledged alerts, adopted and unwanted positions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add columns, tables and the indexes that lists of decisions use."""
    op.add_column("alerts", sa.Column("acknowledged_at", sa.BigInteger()))
    op.add_column(
        "alerts", sa.Column("acknowledged_by", sa.Text(), nullable=False, server_default="")
    )
    op.create_index("decisions_by_verdict", "decisions", ["verdict", "number"])
    op.create_index("decisions_by_symbol", "decisions", ["symbol", "number"])
    op.create_table(
        "adoptions",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("after_seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
    )
    op.create_index("adoptions_once", "adoptions", ["symbol", "opened_at"], unique=True)
    op.create_table(
        "exit_requests",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
    )
    op.create_index("exit_requests_once", "exit_requests", ["symbol", "opened_at"], unique=True)
