"""An order as it is stored, and how a match or an end changes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from uuid import UUID, uuid5

import msgspec

from engine.domain.amounts import EXACT
from engine.domain.decimals import decimal_text
from engine.domain.matching import REST_STATES, Execution, Match, WorkingOrder
from engine.domain.model import OrderStatus, Value
from services.execution.contract import (
    FillEventAnswer,
    OrderAnswer,
    OrderEventAnswer,
    OrderRequest,
)

ORDER_NAMESPACE = UUID("5b0f7a4c-1f52-5e0e-8a86-92cb3d9a7f10")
PRICE_STEP = Decimal("0.000000000001")
ZERO = Decimal(0)


class StoredOrder(Value, frozen=True, kw_only=True):
    """An order row. `request` is None for a tombstone."""

    client_order_id: str
    order_id: str
    state: OrderStatus
    request: OrderRequest | None
    body: str | None
    canonical: str | None
    filled_quantity: Decimal = ZERO
    filled_value: Decimal = ZERO
    fees: Decimal = ZERO
    fills: int = 0
    candle_time: int = 0
    candle_filled: Decimal = ZERO
    seq: int = 0
    reason: str = ""
    created_at: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.state in REST_STATES

    @property
    def average_price(self) -> Decimal | None:
        """Mean price of its fills, to 12 places."""
        if self.filled_quantity == 0:
            return None
        price = EXACT.divide(self.filled_value, self.filled_quantity)
        return price.quantize(PRICE_STEP, ROUND_HALF_EVEN, EXACT)

    def working(self) -> WorkingOrder:
        """As the broker sees it. Raises ValueError for a tombstone."""
        if self.request is None:
            raise ValueError(f"{self.client_order_id} is a tombstone")
        return msgspec.structs.replace(
            self.request.working(),
            filled_quantity=self.filled_quantity,
            fills=self.fills,
            candle_time=self.candle_time,
            candle_filled=self.candle_filled,
        )


def new_order(request: OrderRequest, raw: str, created_at: float) -> StoredOrder:
    """An order that has only been taken."""
    return StoredOrder(
        client_order_id=request.client_order_id,
        order_id=order_id(request.client_order_id),
        state=OrderStatus.ACCEPTED,
        request=request,
        body=raw,
        canonical=request.canonical(),
        created_at=created_at,
    )


def tombstone(client_order_id: str, created_at: float) -> StoredOrder:
    """An id under which no order can be accepted any more."""
    return StoredOrder(
        client_order_id=client_order_id,
        order_id=order_id(client_order_id),
        state=OrderStatus.VOIDED,
        request=None,
        body=None,
        canonical=None,
        reason="voided before any order came",
        created_at=created_at,
    )


def order_id(client_order_id: str) -> str:
    """The venue's own id of the order."""
    return str(uuid5(ORDER_NAMESPACE, client_order_id))


def ended(order: StoredOrder, state: OrderStatus, reason: str) -> StoredOrder:
    """The order in another state, without a fill."""
    return msgspec.structs.replace(order, state=state, reason=reason)


def matched(order: StoredOrder, match: Match, candle_time: int) -> StoredOrder:
    """The order after a match against the candle of `candle_time`."""
    for execution in match.executions:
        order = _filled(order, execution, candle_time)
    return ended(order, match.state, match.reason)


def _filled(order: StoredOrder, execution: Execution, candle_time: int) -> StoredOrder:
    value = EXACT.multiply(execution.quantity, execution.price)
    before = order.candle_filled if order.candle_time == candle_time else ZERO
    return msgspec.structs.replace(
        order,
        filled_quantity=EXACT.add(order.filled_quantity, execution.quantity),
        filled_value=EXACT.add(order.filled_value, value),
        fees=EXACT.add(order.fees, execution.fee),
        fills=execution.number,
        candle_time=candle_time,
        candle_filled=EXACT.add(before, execution.quantity),
    )


def answer(order: StoredOrder) -> OrderAnswer:
    """The order as the wire has it."""
    return OrderAnswer(**_fields(order))


def order_event(order: StoredOrder, at: datetime) -> OrderEventAnswer:
    """The log's entry for the order's present state."""
    return OrderEventAnswer(at=at, **_fields(order))


def fill_event(
    order: StoredOrder, execution: Execution, seq: int, filled_at: datetime
) -> FillEventAnswer:
    """The log's entry for one fill. Raises ValueError for a tombstone."""
    if order.request is None:
        raise ValueError(f"{order.client_order_id} is a tombstone")
    return FillEventAnswer(
        seq=seq,
        fill_id=execution.fill_id,
        client_order_id=order.client_order_id,
        symbol=order.request.symbol,
        side=order.request.side,
        quantity=decimal_text(execution.quantity),
        price=decimal_text(execution.price),
        fee=decimal_text(execution.fee),
        filled_at=filled_at,
        strategy=order.request.strategy,
    )


def _fields(order: StoredOrder) -> dict[str, Any]:
    average = order.average_price
    request = order.request
    return {
        "client_order_id": order.client_order_id,
        "order_id": order.order_id,
        "state": order.state,
        "filled_quantity": decimal_text(order.filled_quantity),
        "average_price": None if average is None else decimal_text(average),
        "fees": decimal_text(order.fees),
        "seq": order.seq,
        "reason": order.reason,
        "symbol": None if request is None else request.symbol,
        "side": None if request is None else request.side,
        "quantity": None if request is None else request.quantity,
        "limit_price": None if request is None else request.limit_price,
        "reference_price": None if request is None else request.reference_price,
        "reduce_only": None if request is None else request.reduce_only,
        "strategy": None if request is None else request.strategy,
        "epoch": None if request is None else request.epoch,
    }


def row_of(order: StoredOrder) -> dict[str, object]:
    """The columns of the order's row."""
    return {
        "client_order_id": order.client_order_id,
        "order_id": order.order_id,
        "body": order.body,
        "canonical": order.canonical,
        "state": order.state.value,
        "filled_quantity": decimal_text(order.filled_quantity),
        "filled_value": decimal_text(order.filled_value),
        "fees": decimal_text(order.fees),
        "fills": order.fills,
        "candle_time": order.candle_time,
        "candle_filled": decimal_text(order.candle_filled),
        "seq": order.seq,
        "reason": order.reason,
        "created_at": order.created_at,
    }


def order_of(row: Mapping[str, Any]) -> StoredOrder:
    """The order of a row."""
    canonical = row["canonical"]
    return StoredOrder(
        client_order_id=row["client_order_id"],
        order_id=row["order_id"],
        state=OrderStatus(row["state"]),
        request=None if canonical is None else msgspec.json.decode(canonical, type=OrderRequest),
        body=row["body"],
        canonical=canonical,
        filled_quantity=Decimal(row["filled_quantity"]),
        filled_value=Decimal(row["filled_value"]),
        fees=Decimal(row["fees"]),
        fills=row["fills"],
        candle_time=row["candle_time"],
        candle_filled=Decimal(row["candle_filled"]),
        seq=row["seq"],
        reason=row["reason"],
        created_at=row["created_at"],
    )
