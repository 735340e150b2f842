"""The execution service over HTTP. An order is sent once a call, byte for byte, never retried."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

import msgspec

from engine.clients.answers import decoder_of
from engine.clients.transport import Transport
from engine.clients.wire import encode
from engine.domain.messages import EventPage, Fence, HaltAnswer, SwitchHistory
from engine.domain.model import OrderStatus, VenueOrder
from engine.errors import (
    BadPayload,
    OrderStateUnknown,
    ServiceRejected,
    ServiceUnavailable,
)

CERTAIN_REFUSALS = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.CONFLICT,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
OURS_ALONE = frozenset({OrderStatus.RESERVED, OrderStatus.SENDING, OrderStatus.UNKNOWN})


class _Orders(msgspec.Struct):
    orders: tuple[VenueOrder, ...]


class _Body(msgspec.Struct):
    reduce_only: bool = False


class _Resumed(msgspec.Struct):
    halted: bool


_decode_order = decoder_of(VenueOrder)
_decode_orders = decoder_of(_Orders)
_decode_page = decoder_of(EventPage)
_decode_fence = decoder_of(Fence)


class HttpExecution:
    """Port Execution."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(self, client_order_id: str, body: str, timeout_s: float) -> VenueOrder:
        """Send the frozen bytes once.

        Raises ServiceUnavailable(accepted=False) when no request left (circuit open, rate limit,
        nobody listens) or the service said that it had no effect; ServiceRejected for 400, 401,
        403, 409 and 422; OrderStateUnknown for everything else that is not a complete answer
        about this very order.
        """
        transport = self._transport
        ends_at = transport.monotonic() + timeout_s
        data = body.encode()
        is_exit = msgspec.json.decode(data, type=_Body).reduce_only
        try:
            with transport.breaker.trial(ends_at):
                return transport.fetch(
                    "POST",
                    "/orders",
                    body=data,
                    decode=lambda answer: _order_of(client_order_id, answer),
                    timeout_s=ends_at - transport.monotonic(),
                    idempotent=False,
                    priority=is_exit,
                )
        except ServiceRejected as exc:
            if exc.status in CERTAIN_REFUSALS:
                raise
            raise OrderStateUnknown(client_order_id, exc.detail) from exc
        except ServiceUnavailable as exc:
            if exc.accepted is False:
                raise
            raise OrderStateUnknown(client_order_id, exc.detail) from exc
        except BadPayload as exc:
            raise OrderStateUnknown(client_order_id, exc.detail) from exc

    def order(self, client_order_id: str) -> VenueOrder | None:
        """The order as recorded now. Raises ServiceError."""
        try:
            return self._transport.fetch(
                "GET",
                _path(client_order_id),
                decode=lambda answer: _order_of(client_order_id, answer),
                idempotent=True,
                priority=True,
            )
        except ServiceRejected as exc:
            if exc.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """Orders that are not terminal. Raises ServiceError."""

        def decode(body: bytes) -> tuple[VenueOrder, ...]:
            orders = _decode_orders(body).orders
            for order in orders:
                _require_possible(order)
            return orders

        return self._transport.fetch(
            "GET",
            "/orders",
            query={"state": "open"},
            decode=decode,
            idempotent=True,
            priority=True,
        )

    def void(self, client_order_id: str) -> VenueOrder:
        """Make sure that the id is never accepted any more. Raises ServiceError."""
        return self._transport.fetch(
            "PUT",
            _path(client_order_id) + "/void",
            decode=lambda answer: _order_of(client_order_id, answer),
            idempotent=True,
            priority=True,
        )

    def fence(self) -> Fence:
        """The fence, the log's identity and the kill switch. Raises ServiceError."""
        return self._transport.call("GET", "/fence", answer=Fence, idempotent=True, priority=True)

    def set_fence(self, epoch: int) -> Fence:
        """Raise the fence. Raises ServiceError; ServiceRejected `fenced` when it is higher."""

        def decode(body: bytes) -> Fence:
            fence = _decode_fence(body)
            if fence.epoch != epoch:
                raise ValueError(f"fence {fence.epoch} instead of {epoch}")
            return fence

        return self._transport.fetch(
            "POST",
            "/fence",
            body=encode({"epoch": epoch}),
            decode=decode,
            idempotent=True,
            priority=True,
        )

    def halt(self, reason: str, *, cancel_open: bool) -> HaltAnswer:
        """Set the service's kill switch. Raises ServiceError."""
        answer = self._transport.call(
            "POST",
            "/halt",
            body=encode({"reason": reason, "cancel_open": cancel_open}),
            answer=HaltAnswer,
            idempotent=True,
            priority=True,
        )
        self._require_switch(halted=answer.halted, wanted=True)
        return answer

    def resume(self, reason: str) -> None:
        """Release the service's kill switch. Raises ServiceError."""
        answer = self._transport.call(
            "POST",
            "/resume",
            body=encode({"reason": reason}),
            answer=_Resumed,
            idempotent=True,
            priority=True,
        )
        self._require_switch(halted=answer.halted, wanted=False)

    def _require_switch(self, *, halted: bool, wanted: bool) -> None:
        if halted is not wanted:
            raise BadPayload(self._transport.service, f"halted is {halted} after the call")

    def events(self, after: int, limit: int) -> EventPage:
        """Events with a seq above `after`, in order. Raises ServiceError."""

        def decode(body: bytes) -> EventPage:
            page = _decode_page(body)
            last = after
            for event in page.events:
                if event.seq <= last:
                    raise ValueError(f"event {event.seq} after {last}")
                last = event.seq
            if page.events and page.head < last:
                raise ValueError(f"head {page.head} below event {last}")
            return page

        return self._transport.fetch(
            "GET",
            "/events",
            query={"after": after, "limit": limit},
            decode=decode,
            idempotent=True,
            priority=True,
        )

    def switches(self) -> SwitchHistory | None:
        """Every change of fence and kill switch; None where the service does not tell.

        Not part of the contract: the audit uses it where there is one. Raises ServiceError.
        """
        try:
            return self._transport.call(
                "GET", "/switches", answer=SwitchHistory, idempotent=True, priority=True
            )
        except ServiceRejected as exc:
            if exc.status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
                return None
            raise


def _path(client_order_id: str) -> str:
    return f"/orders/{quote(client_order_id, safe='')}"


def _order_of(client_order_id: str, body: bytes) -> VenueOrder:
    order = _decode_order(body)
    if order.client_order_id != client_order_id:
        raise ValueError(f"answer about order {order.client_order_id!r}")
    _require_possible(order)
    return order


def _require_possible(order: VenueOrder) -> None:
    """Raise ValueError for a state that no venue can be in."""
    if order.state in OURS_ALONE:
        raise ValueError(f"state {order.state} is not a venue's")
    if order.filled_quantity < 0 or order.seq < 0:
        raise ValueError("negative filled_quantity or seq")
    has_fill = order.filled_quantity > 0
    if has_fill and (order.average_price is None or order.average_price <= 0):
        raise ValueError("filled without an average_price")
    needs_fill = order.state in {OrderStatus.FILLED, OrderStatus.PARTIAL}
    if needs_fill != has_fill and (needs_fill or order.state is OrderStatus.REJECTED):
        raise ValueError(f"state {order.state} with filled_quantity {order.filled_quantity}")
    if order.quantity is not None and order.filled_quantity > order.quantity:
        raise ValueError("filled beyond its quantity")
