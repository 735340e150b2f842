"""The tables of what an operator wants of single positions."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from engine.ledger.column_types import DecimalText, MicrosUTC
from engine.ledger.schema import metadata, numbered

adoptions = Table(  # foreign positions that were given to a strategy; rows are never changed
    "adoptions",
    metadata,
    numbered(),
    Column("symbol", Text, nullable=False),
    Column("opened_at", MicrosUTC, nullable=False),  # which position: as the portfolio dates it
    Column("strategy", Text, nullable=False),
    Column("quantity", DecimalText, nullable=False),  # held beyond what the fills make
    Column("after_seq", BigInteger, nullable=False),  # the fills that were known
    Column("at", MicrosUTC, nullable=False),
    Column("actor", Text, nullable=False),
    Index("adoptions_once", "symbol", "opened_at", unique=True),
)

exit_requests = Table(  # an operator's wish to leave a position; it ends with that position
    "exit_requests",
    metadata,
    numbered(),
    Column("symbol", Text, nullable=False),
    Column("opened_at", MicrosUTC, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", MicrosUTC, nullable=False),
    Column("actor", Text, nullable=False),
    Index("exit_requests_once", "symbol", "opened_at", unique=True),
)
