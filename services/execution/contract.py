"""Bodies and answers of the execution service; amounts are decimal text."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.domain.decimals import parse_positive
from engine.domain.matching import WorkingOrder
from engine.domain.model import OrderStatus, OrderType, Side, TimeInForce

OrderId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
Text = Annotated[str, Meta(min_length=1, max_length=128)]
Amount = Annotated[str, Meta(min_length=1, max_length=64, description="decimal text")]
Epoch = Annotated[int, Meta(ge=0, le=2**62)]
DEFAULT_EVENTS = 500
MAX_EVENTS = 5000


class OrderRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A new order, or the same one again."""

    client_order_id: OrderId
    account: Text
    epoch: Epoch
    symbol: Text
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: Amount
    reference_price: Amount
    reduce_only: bool
    strategy: Annotated[str, Meta(max_length=128)]
    valid_until: datetime
    limit_price: Amount | None = None

    def __post_init__(self) -> None:
        parse_positive(self.quantity, "quantity")
        parse_positive(self.reference_price, "reference_price")
        if self.limit_price is not None:
            parse_positive(self.limit_price, "limit_price")
        if (self.type is OrderType.LIMIT) != (self.limit_price is not None):
            raise ValueError("limit_price: needed by a limit order, and by no other")
        if self.type is OrderType.MARKET and self.time_in_force is TimeInForce.GTC:
            raise ValueError("time_in_force: a market order is IOC")

    def working(self) -> WorkingOrder:
        """As the broker sees it."""
        limit = self.limit_price
        return WorkingOrder(
            client_order_id=self.client_order_id,
            side=self.side,
            type=self.type,
            time_in_force=self.time_in_force,
            quantity=parse_positive(self.quantity, "quantity"),
            limit_price=None if limit is None else parse_positive(limit, "limit_price"),
        )

    @property
    def reference(self) -> Decimal:
        """What the caller believed the price to be."""
        return parse_positive(self.reference_price, "reference_price")

    def canonical(self) -> str:
        """The one text of this content: two bodies are the same when these are equal."""
        return msgspec.json.encode(self, order="deterministic").decode()


class OrderAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it stands; of an id that was voided before it came, only the first part."""

    client_order_id: str
    order_id: str
    state: OrderStatus
    filled_quantity: str
    average_price: str | None
    fees: str
    seq: int
    reason: str
    symbol: str | None
    side: Side | None
    quantity: str | None
    limit_price: str | None
    reference_price: str | None
    reduce_only: bool | None
    strategy: str | None
    epoch: int | None


class OrderEventAnswer(OrderAnswer, frozen=True, kw_only=True, tag_field="type", tag="order"):
    """An order's new state; `at` is wall time."""

    at: datetime


class FillEventAnswer(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="fill"):
    """A fill; `filled_at` is market time."""

    seq: int
    fill_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: str
    price: str
    fee: str
    filled_at: datetime
    strategy: str


class OrdersQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Only open orders are listed; all of history is in the events."""

    state: Literal["open"] = "open"


class OrdersAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Open orders, oldest first."""

    orders: tuple[OrderAnswer, ...]


class EventsQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Events with a seq above `after`, at most `limit`."""

    after: Annotated[int, Meta(ge=0, le=2**62)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_EVENTS)] = DEFAULT_EVENTS


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the log; `head` is the newest seq there is."""

    log_id: str
    events: tuple[OrderEventAnswer | FillEventAnswer, ...]
    head: int


class FenceRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The lowest epoch that may still trade."""

    epoch: Epoch


class HaltRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The kill switch."""

    reason: Annotated[str, Meta(max_length=500)]
    cancel_open: bool = True


class ResumeRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Release of the kill switch."""

    reason: Annotated[str, Meta(max_length=500)]


class ResumeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The kill switch after it."""

    halted: bool
