"""The tables of the ledger. Migrations create them; `SCHEMA_REVISION` names the one meant here.

Payloads are JSON text of the domain's values; whatever a query selects or orders by is a column
of its own. Numbers (`number`) are surrogate keys in order of insertion and serve as cursors.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from engine.domain.cycle import CycleStatus, OutcomeStatus, Stage, Trigger
from engine.domain.model import OrderStatus, Side, TradingState, Verdict
from engine.domain.orders import TERMINAL
from engine.ledger.column_types import DecimalText, EnumText, MicrosUTC

SCHEMA_REVISION = "0010"
# Conditions of partial indexes. SQLite takes such an index for the same words alone, so that
# queries have to use them: what SQLAlchemy makes of `~orders.c.settled` reads the whole table.
OPEN_ORDER = "status in ('" + "', '".join(s for s in OrderStatus if s not in TERMINAL) + "')"
UNSETTLED_ORDER = "not settled"

metadata = MetaData()


def numbered() -> Column[int]:
    """A surrogate key in order of insertion."""
    key = BigInteger().with_variant(Integer(), "sqlite")
    return Column("number", key, primary_key=True, autoincrement=True)


account = Table(
    "account",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("account", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("operator", EnumText(TradingState), nullable=False),
    Column("operator_reason", Text, nullable=False),
    Column("effective", EnumText(TradingState), nullable=False),
    Column("effective_since", MicrosUTC, nullable=False),
    Column("schedule_running", Boolean, nullable=False),
    Column("schedule_set_at", MicrosUTC),
    Column("feed", Text),
    Column("secret", LargeBinary),
    Column("log_id", Text),
    Column("contiguous_seq", BigInteger, nullable=False),
)

causes = Table(
    "causes",
    metadata,
    Column("kind", String(8), nullable=False),  # latched | derived
    Column("cause", Text, nullable=False),
    Column("level", EnumText(TradingState), nullable=False),
    Column("detail", Text, nullable=False),
    Column("since", MicrosUTC, nullable=False),
    PrimaryKeyConstraint("kind", "cause"),
)

state_changes = Table(
    "state_changes",
    metadata,
    numbered(),
    Column("at", MicrosUTC, nullable=False),
    Column("actor", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("operator", EnumText(TradingState), nullable=False),
    Column("effective", EnumText(TradingState), nullable=False),
    Column("causes", Text, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", MicrosUTC, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    numbered(),
    Column("key", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("cycle_id", Text, nullable=False),
    Column("opened_at", MicrosUTC, nullable=False),
    Column("resolved_at", MicrosUTC),
    Column("acknowledged_at", MicrosUTC),
    Column("acknowledged_by", Text, nullable=False, server_default=""),
)
Index(
    "alerts_one_open",
    alerts.c.key,
    unique=True,
    sqlite_where=text("resolved_at is null"),
    postgresql_where=text("resolved_at is null"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("account", Text, primary_key=True),
    Column("payload", Text, nullable=False),
)

cycles = Table(
    "cycles",
    metadata,
    numbered(),
    Column("cycle_id", Text, nullable=False, unique=True),
    Column("key", Text, nullable=False, unique=True),
    Column("trigger", EnumText(Trigger), nullable=False),
    Column("status", EnumText(CycleStatus), nullable=False),
    Column("epoch", BigInteger),
    Column("scheduled_at", MicrosUTC, nullable=False),
    Column("started_at", MicrosUTC, nullable=False),
    Column("allocate_by", MicrosUTC, nullable=False),
    Column("cutoff_at", MicrosUTC, nullable=False),
    Column("deadline_at", MicrosUTC, nullable=False),
    Column("close_by", MicrosUTC, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("symbols", Text),
    Column("market_time", MicrosUTC),
    Column("header", Text),  # the plan without instruments, batches and positions
    Column("plan", LargeBinary),  # the whole plan, compressed
    Column("planned_at", MicrosUTC),
    Column("allocated_at", MicrosUTC),
    Column("finished_at", MicrosUTC),
    Column("duration_s", Float),
    Column("symbols_selected", Integer),
    Column("report", Text),
    Column("reason", Text, nullable=False),
)
Index("cycles_by_status", cycles.c.status, cycles.c.number)
# The two with more than they are searched by are counted from without reading the rows.
_COUNTED = ("started_at", "status", "number", "duration_s", "symbols_selected")
Index("cycles_by_start", *(cycles.c[name] for name in _COUNTED))
Index("cycles_by_market_time", cycles.c.market_time, cycles.c.number)

batches = Table(
    "batches",
    metadata,
    Column("cycle_id", Text, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("symbols", Text, nullable=False),
    Column("slice", Text, nullable=False),  # instruments and positions of these symbols
    Column("claimed_by", Text, nullable=False),
    Column("claimed_at", MicrosUTC),
    Column("tries", Integer, nullable=False),
    Column("reported_at", MicrosUTC),
    Column("included", Boolean, nullable=False),  # its candidates took part in the allocation
    Column("failed", Text, nullable=False),
    Column("degraded", Text, nullable=False),
    Column("step_seconds", Text, nullable=False),
    PrimaryKeyConstraint("cycle_id", "batch"),
)

cycle_steps = Table(
    "cycle_steps",
    metadata,
    Column("cycle_id", Text, nullable=False),
    Column("step", EnumText(Stage), nullable=False),
    Column("seconds", Float, nullable=False),
    PrimaryKeyConstraint("cycle_id", "step"),
)

outcomes = Table(
    "outcomes",
    metadata,
    numbered(),
    Column("cycle_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("stage", EnumText(Stage), nullable=False),
    Column("status", EnumText(OutcomeStatus), nullable=False),
    Column("reason", Text, nullable=False),
    Index("outcomes_by_cycle", "cycle_id", "status"),
)

signals = Table(
    "signals",
    metadata,
    numbered(),
    Column("cycle_id", Text, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("candle_time", BigInteger, nullable=False),
    Column("kept", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Index("signals_by_cycle", "cycle_id", "symbol"),
)

candidates = Table(
    "candidates",
    metadata,
    numbered(),
    Column("cycle_id", Text, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("decision_key", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Index("candidates_by_cycle", "cycle_id", "batch"),
)

decisions = Table(
    "decisions",
    metadata,
    numbered(),
    Column("cycle_id", Text, nullable=False),
    Column("stage", EnumText(Stage), nullable=False),  # risk: denied in its batch; else allocate
    Column("decision_key", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("verdict", EnumText(Verdict), nullable=False),
    Column("binding_rule", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Index("decisions_by_cycle", "cycle_id", "decision_key"),
    Index("decisions_by_verdict", "verdict", "number"),
    Index("decisions_by_symbol", "symbol", "number"),
)

allocations = Table(  # of cycles that reserved an order; the basis says on what
    "allocations",
    metadata,
    Column("cycle_id", Text, primary_key=True),
    Column("at", MicrosUTC, nullable=False),
    Column("basis", Text, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    numbered(),
    Column("client_order_id", Text, nullable=False, unique=True),
    Column("decision_key", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("cycle_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", EnumText(Side), nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("limit_price", DecimalText, nullable=False),
    Column("reference_price", DecimalText, nullable=False),
    Column("reduce_only", Boolean, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("body_hash", Text, nullable=False),  # sha256 of the body as it was frozen
    Column("status", EnumText(OrderStatus), nullable=False),
    Column("created_at", MicrosUTC, nullable=False),
    Column("updated_at", MicrosUTC, nullable=False),
    Column("cutoff_at", MicrosUTC, nullable=False),
    Column("valid_until", MicrosUTC, nullable=False),
    Column("market_time", MicrosUTC, nullable=False),
    Column("candle_time", BigInteger, nullable=False),
    Column("exit_reason", Text, nullable=False),
    Column("stop_price", DecimalText),
    Column("target_price", DecimalText),
    Column("sends", Integer, nullable=False),
    Column("lease_until", MicrosUTC),
    Column("venue_order_id", Text, nullable=False),
    Column("filled_quantity", DecimalText, nullable=False),  # the most that is known
    Column("average_price", DecimalText),
    Column("fees", DecimalText, nullable=False),
    Column("reason", Text, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("has_fill", Boolean, nullable=False),
    Column("settled", Boolean, nullable=False),  # terminal, and every fill it speaks of is stored
)
Index("orders_by_key", orders.c.decision_key, orders.c.attempt, unique=True)
Index(
    "orders_one_open_attempt",
    orders.c.decision_key,
    unique=True,
    sqlite_where=text(OPEN_ORDER),
    postgresql_where=text(OPEN_ORDER),
)
Index("orders_by_cycle", orders.c.cycle_id)
Index("orders_by_symbol", orders.c.symbol, orders.c.number)
Index("orders_by_symbol_market_time", orders.c.symbol, orders.c.market_time)
Index("orders_by_status", orders.c.status, orders.c.number)
Index("orders_by_market_time", orders.c.market_time)
Index("orders_by_creation", orders.c.created_at, orders.c.sends, orders.c.has_fill)
Index(
    "orders_unsettled",
    orders.c.symbol,
    sqlite_where=text(UNSETTLED_ORDER),
    postgresql_where=text(UNSETTLED_ORDER),
)

transitions = Table(
    "transitions",
    metadata,
    numbered(),
    Column("client_order_id", Text, nullable=False),
    Column("at", MicrosUTC, nullable=False),
    Column("from_status", String(16), nullable=False),  # empty: the order did not exist
    Column("to_status", EnumText(OrderStatus), nullable=False),
    Column("cause", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("transitions_by_order", "client_order_id"),
)

events = Table(
    "events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(8), nullable=False),  # order | fill
    Column("client_order_id", Text, nullable=False),
    Column("at", MicrosUTC, nullable=False),
    Column("payload", Text, nullable=False),
    Index("events_by_order", "client_order_id"),
)

fills = Table(
    "fills",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("fill_id", Text, nullable=False, unique=True),
    Column("client_order_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", EnumText(Side), nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("price", DecimalText, nullable=False),
    Column("fee", DecimalText, nullable=False),
    Column("filled_at", MicrosUTC, nullable=False),
    Column("strategy", Text, nullable=False),
    Index("fills_by_order", "client_order_id"),
    Index("fills_by_symbol", "symbol", "seq"),
    Index("fills_by_symbol_day", "symbol", "filled_at"),
    Index("fills_by_time", "filled_at", "seq"),
)

holdings = Table(
    "holdings",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("quantity", DecimalText, nullable=False),
    Column("flat_seq", BigInteger, nullable=False),  # seq of the fill that last closed the position
    Column("last_seq", BigInteger, nullable=False),
    Column("last_fill_id", Text, nullable=False),
    Column("last_exit_at", MicrosUTC),
)

disabled_strategies = Table(
    "disabled_strategies",
    metadata,
    Column("symbol", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("since", MicrosUTC, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("symbol", "strategy"),
)

idempotent_requests = Table(
    "idempotent_requests",
    metadata,
    Column("key", Text, primary_key=True),
    Column("body_hash", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", MicrosUTC, nullable=False),
    Index("idempotent_requests_by_time", "at"),
)

audit_log = Table(
    "audit_log",
    metadata,
    numbered(),
    Column("at", MicrosUTC, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("method", String(16), nullable=False),
    Column("route", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    Column("source", Text, nullable=False, server_default=""),  # the address it came from
)
