"""Bodies and answers of the portfolio service; amounts are decimal text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.domain.decimals import decimal_text, parse_amount, parse_decimal, parse_positive
from engine.domain.messages import EquityPoint
from engine.domain.model import Fill, PortfolioSnapshot, Position, Side

Text = Annotated[str, Meta(min_length=1, max_length=128)]
Amount = Annotated[str, Meta(min_length=1, max_length=64, description="decimal text")]
Sequence64 = Annotated[int, Meta(ge=0, le=2**62)]
MAX_FILLS = 5000
MAX_PRICES = 20000


class FillBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A fill as relayed from the execution service's log."""

    seq: Annotated[int, Meta(ge=1, le=2**62)]
    fill_id: Text
    client_order_id: Text
    symbol: Text
    side: Side
    quantity: Amount
    price: Amount
    fee: Amount
    filled_at: datetime
    strategy: Annotated[str, Meta(max_length=128)]

    def __post_init__(self) -> None:
        parse_positive(self.quantity, "quantity")
        parse_positive(self.price, "price")
        parse_amount(self.fee, "fee")

    def fill(self) -> Fill:
        """As a value."""
        return Fill(
            seq=self.seq,
            fill_id=self.fill_id,
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            quantity=parse_decimal(self.quantity),
            price=parse_decimal(self.price),
            fee=parse_decimal(self.fee),
            filled_at=self.filled_at,
            strategy=self.strategy,
        )


class FillsBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Every fill among the events up to `through_seq` that the portfolio has not confirmed."""

    through_seq: Sequence64
    fills: Annotated[tuple[FillBody, ...], Meta(max_length=MAX_FILLS)]

    def __post_init__(self) -> None:
        _require_unique([fill.fill_id for fill in self.fills], "fill_id")
        _require_unique([fill.seq for fill in self.fills], "seq")
        if any(fill.seq > self.through_seq for fill in self.fills):
            raise ValueError("fills: a seq above through_seq")


def _require_unique(values: Sequence[object], field: str) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"fills: a {field} more than once")


class MarksBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Market prices at market time `as_of`."""

    prices: Annotated[dict[Text, Amount], Meta(max_length=MAX_PRICES)]
    as_of: datetime

    def __post_init__(self) -> None:
        self.values()

    def values(self) -> dict[str, Decimal]:
        """The prices as decimals. Raises ValueError naming the symbol."""
        return {symbol: parse_positive(price, symbol) for symbol, price in self.prices.items()}


class MarksAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`applied` is False for marks older than the last ones."""

    applied: bool
    equity: str


class EquityQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Points at or after `since` (market time); all without it."""

    since: datetime | None = None


class EquityAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The equity curve, ascending."""

    points: tuple[EquityPoint, ...]


class PositionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A holding; `strategy` is null for a foreign one."""

    symbol: str
    quantity: str
    average_price: str
    market_price: str
    strategy: str | None
    opened_at: datetime
    version: int


class PortfolioAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The account, read in one transaction; `as_of` is wall time."""

    account: str
    currency: str
    cash: str
    equity: str
    peak_equity: str
    day_start_equity: str
    realized_pnl: str
    positions: tuple[PositionAnswer, ...]
    applied_seq: int
    as_of: datetime


def portfolio_answer(snapshot: PortfolioSnapshot) -> PortfolioAnswer:
    """The snapshot with its amounts as decimal text."""
    return PortfolioAnswer(
        account=snapshot.account,
        currency=snapshot.currency,
        cash=decimal_text(snapshot.cash),
        equity=decimal_text(snapshot.equity),
        peak_equity=decimal_text(snapshot.peak_equity),
        day_start_equity=decimal_text(snapshot.day_start_equity),
        realized_pnl=decimal_text(snapshot.realized_pnl),
        positions=tuple(_position_answer(position) for position in snapshot.positions),
        applied_seq=snapshot.applied_seq,
        as_of=snapshot.as_of,
    )


def _position_answer(position: Position) -> PositionAnswer:
    return PositionAnswer(
        symbol=position.symbol,
        quantity=decimal_text(position.quantity),
        average_price=decimal_text(position.average_price),
        market_price=decimal_text(position.market_price),
        strategy=position.strategy,
        opened_at=position.opened_at,
        version=position.version,
    )
