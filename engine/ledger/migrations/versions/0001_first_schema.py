"""The first schema.

A migration is history: it spells out its columns and is not changed with `engine.ledger.schema`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    _account()
    _cycles()
    _orders()
    _events()
    _requests()


def _key() -> sa.types.TypeEngine[int]:
    """A surrogate key: SQLite counts up only an INTEGER."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _account() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("operator", sa.String(16), nullable=False),
        sa.Column("operator_reason", sa.Text(), nullable=False),
        sa.Column("effective", sa.String(16), nullable=False),
        sa.Column("effective_since", sa.BigInteger(), nullable=False),
        sa.Column("schedule_running", sa.Boolean(), nullable=False),
        sa.Column("schedule_set_at", sa.BigInteger(), nullable=True),
        sa.Column("feed", sa.Text(), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("log_id", sa.Text(), nullable=True),
        sa.Column("contiguous_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "causes",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "cause"),
    )
    op.create_table(
        "state_changes",
        sa.Column("number", _key(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("operator", sa.String(16), nullable=False),
        sa.Column("effective", sa.String(16), nullable=False),
        sa.Column("causes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "alerts",
        sa.Column("number", _key(), autoincrement=True, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("resolved_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index(
        "alerts_one_open",
        "alerts",
        ["key"],
        unique=True,
        sqlite_where=sa.text("resolved_at is null"),
        postgresql_where=sa.text("resolved_at is null"),
    )
    op.create_table(
        "snapshots",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )


def _cycles() -> None:
    op.create_table(
        "cycles",
        sa.Column("number", _key(), autoincrement=True, nullable=False),
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("allocate_by", sa.BigInteger(), nullable=False),
        sa.Column("cutoff_at", sa.BigInteger(), nullable=False),
        sa.Column("deadline_at", sa.BigInteger(), nullable=False),
        sa.Column("close_by", sa.BigInteger(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("symbols", sa.Text(), nullable=True),
        sa.Column("market_time", sa.BigInteger(), nullable=True),
        sa.Column("header", sa.Text(), nullable=True),
        sa.Column("plan", sa.LargeBinary(), nullable=True),
        sa.Column("planned_at", sa.BigInteger(), nullable=True),
        sa.Column("allocated_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("duration_s", sa.Float(), nullable=True),
        sa.Column("symbols_selected", sa.Integer(), nullable=True),
        sa.Column("report", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("cycle_id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("cycles_by_start", "cycles", ["started_at"], unique=False)
    op.create_index("cycles_by_status", "cycles", ["status", "number"], unique=False)
    op.create_table(
        "batches",
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("symbols", sa.Text(), nullable=False),
        sa.Column("slice", sa.Text(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("reported_at", sa.BigInteger(), nullable=True),
        sa.Column("included", sa.Boolean(), nullable=False),
        sa.Column("failed", sa.Text(), nullable=False),
        sa.Column("degraded", sa.Text(), nullable=False),
        sa.Column("step_seconds", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("cycle_id", "batch"),
    )
    op.create_table(
        "step_data",
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("cycle_id", "batch", "step"),
    )
    op.create_table(
        "cycle_steps",
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("cycle_id", "step"),
    )
    op.create_table(
        "outcomes",
        sa.Column("number", _key(), autoincrement=True, nullable=False),
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("outcomes_by_cycle", "outcomes", ["cycle_id", "status"], unique=False)
    op.create_table(
        "signals",
        sa.Column("number", _key(), autoincrement=True, nullable=False),
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("candle_time", sa.BigInteger(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("signals_by_cycle", "signals", ["cycle_id", "symbol"], unique=False)


def _orders() -> None:
    op.create_table(
        "candidates",
        sa.Column("number", _key(), autoincrement=True, nullable=False),
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("decision_key", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("candidates_by_cycle", "candidates", ["cycle_id", "batch"], unique=False)
    op.create_table(
        "decisions",
        sa.Column("number", _key(), autoincrement=True, nullable=False),
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("decision_key", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("binding_rule", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("decisions_by_cycle", "decisions", ["cycle_id", "decision_key"], unique=False)
    op.create_table(
        "orders",
        sa.Column("number", _key(), autoincrement=True, nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("decision_key", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.String(16), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("limit_price", sa.Text(), nullable=False),
        sa.Column("reference_price", sa.Text(), nullable=False),
        sa.Column("reduce_only", sa.Boolean(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("cutoff_at", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=False),
        sa.Column("market_time", sa.BigInteger(), nullable=False),
        sa.Column("candle_time", sa.BigInteger(), nullable=False),
        sa.Column("exit_reason", sa.Text(), nullable=False),
        sa.Column("stop_price", sa.Text(), nullable=True),
        sa.Column("target_price", sa.Text(), nullable=True),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("venue_order_id", sa.Text(), nullable=False),
        sa.Column("filled_quantity", sa.Text(), nullable=False),
        sa.Column("average_price", sa.Text(), nullable=True),
        sa.Column("fees", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("has_fill", sa.Boolean(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("client_order_id"),
    )
    op.create_index("orders_by_creation", "orders", ["created_at"], unique=False)
    op.create_index("orders_by_cycle", "orders", ["cycle_id"], unique=False)
    op.create_index("orders_by_key", "orders", ["decision_key", "attempt"], unique=True)
    op.create_index("orders_by_market_time", "orders", ["market_time"], unique=False)
    op.create_index("orders_by_status", "orders", ["status", "number"], unique=False)
    op.create_index("orders_by_symbol", "orders", ["symbol", "number"], unique=False)
    op.create_index(
        "orders_by_symbol_market_time", "orders", ["symbol", "market_time"], unique=False
    )
    op.create_index(
        "orders_one_open_attempt",
        "orders",
        ["decision_key"],
        unique=True,
        sqlite_where=sa.text("status in ('RESERVED', 'SENDING', 'UNKNOWN', 'ACCEPTED', 'PARTIAL')"),
        postgresql_where=sa.text(
            "status in ('RESERVED', 'SENDING', 'UNKNOWN', 'ACCEPTED', 'PARTIAL')"
        ),
    )
    op.create_index(
        "orders_unsettled",
        "orders",
        ["symbol"],
        unique=False,
        sqlite_where=sa.text("not settled"),
        postgresql_where=sa.text("not settled"),
    )
    op.create_table(
        "transitions",
        sa.Column("number", _key(), autoincrement=True, nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("from_status", sa.String(length=16), nullable=False),
        sa.Column("to_status", sa.String(16), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("transitions_by_order", "transitions", ["client_order_id"], unique=False)


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("events_by_order", "events", ["client_order_id"], unique=False)
    op.create_table(
        "fills",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("fill_id", sa.Text(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.String(16), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("price", sa.Text(), nullable=False),
        sa.Column("fee", sa.Text(), nullable=False),
        sa.Column("filled_at", sa.BigInteger(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("fill_id"),
    )
    op.create_index("fills_by_order", "fills", ["client_order_id"], unique=False)
    op.create_index("fills_by_symbol", "fills", ["symbol", "seq"], unique=False)
    op.create_index("fills_by_symbol_day", "fills", ["symbol", "filled_at"], unique=False)
    op.create_table(
        "holdings",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("flat_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_fill_id", sa.Text(), nullable=False),
        sa.Column("last_exit_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("symbol"),
    )
    op.create_table(
        "disabled_strategies",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "strategy"),
    )


def _requests() -> None:
    op.create_table(
        "idempotent_requests",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("idempotent_requests_by_time", "idempotent_requests", ["at"], unique=False)
    op.create_table(
        "audit_log",
        sa.Column("number", _key(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
