"""Tables of the execution service: the venue, its orders, their fills and the event log.

Amounts are exact decimal text. `orders` rows are never deleted: an id is unique for ever. A row
whose `body` is null is a tombstone: its id was voided before any order came under it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, Table, Text

metadata = MetaData()

venue = Table(
    "venue",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1
    Column("log_id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("halted", Boolean, nullable=False),
    Column("halt_reason", Text, nullable=False),
)

switches = Table(  # every change of fence and kill switch: what was accepted after it is known
    "switches",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", Text, nullable=False),
    Column("after_seq", BigInteger, nullable=False),  # the log's head at that moment
    Column("epoch", BigInteger, nullable=False),
    Column("halted", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("client_order_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False, unique=True),
    Column("body", Text),  # the bytes as they came
    Column("canonical", Text),  # what a repeat is compared with
    Column("state", Text, nullable=False),
    Column("filled_quantity", Text, nullable=False),
    Column("filled_value", Text, nullable=False),
    Column("fees", Text, nullable=False),
    Column("fills", Integer, nullable=False),
    Column("candle_time", BigInteger, nullable=False),  # of the volume last filled against
    Column("candle_filled", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),  # of the newest order event
    Column("reason", Text, nullable=False),
    Column("created_at", Float, nullable=False),  # wall time, epoch seconds
    Index("orders_by_state", "state"),
    Index("orders_by_time", "created_at"),
)

fills = Table(
    "fills",
    metadata,
    Column("fill_id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("client_order_id", Text, nullable=False, index=True),
    Column("quantity", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("fee", Text, nullable=False),
    Column("filled_at", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("client_order_id", Text, nullable=False),
    Column("event", Text, nullable=False),  # the JSON that is sent
)
