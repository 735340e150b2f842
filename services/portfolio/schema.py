"""Tables of the portfolio service: one account, its positions, its fills and its equity curve.

Amounts are exact decimal text, times ISO 8601 UTC text of one width, so that they sort.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

metadata = MetaData()

account = Table(
    "account",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1
    Column("name", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("starting_cash", Text, nullable=False),
    Column("cash", Text, nullable=False),
    Column("realized_pnl", Text, nullable=False),
    Column("fees", Text, nullable=False),
    Column("peak_equity", Text, nullable=False),
    Column("day_start_equity", Text, nullable=False),
    Column("market_time", Text),
    Column("marked_at", Text),
    Column("applied_seq", BigInteger, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("quantity", Text, nullable=False),
    Column("cost", Text, nullable=False),
    Column("market_price", Text, nullable=False),
    Column("strategy", Text),
    Column("opened_at", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
)

fills = Table(
    "fills",
    metadata,
    Column("fill_id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("client_order_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("fee", Text, nullable=False),
    Column("filled_at", Text, nullable=False),
    Column("strategy", Text, nullable=False),
)

equity = Table(
    "equity",
    metadata,
    Column("time", Text, primary_key=True),
    Column("equity", Text, nullable=False),
    Column("cash", Text, nullable=False),
)
