"""The tables of what decisions were made from; part of the one schema of `engine.ledger.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from engine.domain.cycle import Stage
from engine.ledger.column_types import EnumText
from engine.ledger.schema import metadata

decision_settings = Table(
    "decision_settings",
    metadata,
    Column("config_hash", Text, primary_key=True),
    Column("payload", Text, nullable=False),
)

step_inputs = Table(  # what steps decided on; of the allocation with batch -1
    "step_inputs",
    metadata,
    Column("cycle_id", Text, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("step", EnumText(Stage), nullable=False),
    Column("oldest", BigInteger),  # open time (ms) of the oldest candle that it needs
    Column("data", LargeBinary, nullable=False),  # compressed
    PrimaryKeyConstraint("cycle_id", "batch", "step"),
)

candle_series = Table(  # the newest window that was kept of a symbol
    "candle_series",
    metadata,
    Column("symbol", Text, nullable=False),
    Column("timeframe", String(8), nullable=False),
    Column("edition", Integer, nullable=False),
    Column("newest", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("tail_digest", Text),  # of the window without its oldest candle
    PrimaryKeyConstraint("symbol", "timeframe"),
)

candle_blocks = Table(
    "candle_blocks",
    metadata,
    Column("symbol", Text, nullable=False),
    Column("timeframe", String(8), nullable=False),
    Column("edition", Integer, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("newest", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("symbol", "timeframe", "edition", "block"),
)
