"""The execution service in memory: the promises E1 to E12, written a second time and small.

What becomes of an order is a function of the seed and its id. A venue that `rests` accepts first
and fills later, as real ones do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

import msgspec

from engine import failpoints
from engine.domain.messages import EventPage, Fence, HaltAnswer
from engine.domain.model import (
    ExecutionEvent,
    FillEvent,
    OrderEvent,
    OrderStatus,
    Quote,
    Side,
    VenueOrder,
)
from engine.errors import ServiceRejected, ServiceUnavailable

CONFLICT = 409
FEE = Decimal("0.001")
LOT = Decimal("0.0001")
ZERO = Decimal(0)
OPEN = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIAL})


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue reads of an order's body."""

    client_order_id: str
    epoch: int
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal
    reference_price: Decimal
    reduce_only: bool
    strategy: str
    valid_until: datetime


@dataclass
class Held:
    """An order, or a tombstone where `body` is None."""

    client_order_id: str
    body: Body | None
    raw: str
    state: OrderStatus
    reason: str = ""
    filled: Decimal = ZERO
    value: Decimal = ZERO
    fees: Decimal = ZERO
    fills: int = 0
    seq: int = 0


@dataclass(frozen=True)
class Acceptance:
    """A new order that was taken: with what, and against what."""

    step: int
    client_order_id: str
    epoch: int
    fence: int
    reduce_only: bool
    halted: bool
    is_late: bool


@dataclass
class Record:
    """What came to pass at the service, for the checks."""

    bodies: dict[str, set[str]] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    acceptances: list[Acceptance] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


class Venue:
    """Orders by id, the log, the fence, the kill switch."""

    def __init__(
        self,
        seed: int,
        *,
        rests: bool,
        now: Callable[[], datetime],
        quote: Callable[[str], Quote],
        market_time: Callable[[], datetime],
        step: Callable[[], int],
        later: Callable[[float, Callable[[], object]], None],
    ) -> None:
        self.orders: dict[str, Held] = {}
        self.log: list[ExecutionEvent] = []
        self.epoch = 0
        self.halted = False
        self.log_id = f"log-{seed}"
        self.record = Record()
        self._seed = seed
        self._rests = rests
        self._now, self._quote, self._market_time = now, quote, market_time
        self._step, self._later = step, later

    def submit(self, client_order_id: str, raw: str, throttle: str = "") -> VenueOrder:
        """E1 to E3, E5, E6, E8: the checks in their order, in one transaction."""
        self.record.requests[client_order_id] = self.record.requests.get(client_order_id, 0) + 1
        self.record.bodies.setdefault(client_order_id, set()).add(raw)
        known = self.orders.get(client_order_id)
        if known is not None:
            if known.body is not None and known.raw != raw and not failpoints.bug("no_body_check"):
                self._refuse("body-mismatch", f"{client_order_id} is known with another body")
            return self.view(known)
        body = msgspec.json.decode(raw, type=Body)
        if self.halted:
            self._refuse("halted", "the kill switch is set")
        if body.epoch < self.epoch and not failpoints.bug("no_fence"):
            self._refuse("fenced", f"epoch {body.epoch} is below the fence {self.epoch}")
        if throttle:
            self.record.refusals.append(throttle)
            raise ServiceUnavailable("execution", throttle, accepted=False)
        return self._take(body, raw)

    def _refuse(self, kind: str, detail: str) -> None:
        self.record.refusals.append(kind)
        raise ServiceRejected("execution", detail, status=CONFLICT, kind=kind)

    def _take(self, body: Body, raw: str) -> VenueOrder:
        order = Held(body.client_order_id, body, raw, OrderStatus.ACCEPTED)
        self.orders[order.client_order_id] = order
        if body.valid_until <= self._now() and not failpoints.bug("no_valid_until"):
            return self._end(order, OrderStatus.REJECTED, "valid_until has passed")
        draw = self._draw(order.client_order_id, "fate")
        if draw < 8:
            return self._end(order, OrderStatus.REJECTED, "value above the venue's limit")
        self.record.acceptances.append(
            Acceptance(
                step=self._step(),
                client_order_id=order.client_order_id,
                epoch=body.epoch,
                fence=self.epoch,
                reduce_only=body.reduce_only,
                halted=self.halted,
                is_late=body.valid_until <= self._now(),
            )
        )
        if self._rests:
            self._tell(order)
            self._later(0.2 + draw / 8, lambda: self._work(order, is_last=False))
            self._later(1.0 + draw / 2, lambda: self._work(order, is_last=True))
        else:
            self._work(order, is_last=True)
        return self.view(order)

    def _work(self, order: Held, *, is_last: bool) -> None:
        """The order meets the market: all of it, a part, or nothing; the rest is cancelled."""
        if order.state not in OPEN or order.body is None or (self.halted and not is_last):
            return
        share = Decimal((0, 25, 50, 100, 100, 100)[self._draw(order.client_order_id, "share") % 6])
        wanted = (order.body.quantity * share / 100).quantize(LOT, ROUND_DOWN)
        if not is_last:
            wanted = (wanted / 2).quantize(LOT, ROUND_DOWN)
        self._fill(order, min(wanted, order.body.quantity) - order.filled)
        if order.filled == order.body.quantity:
            self._end(order, OrderStatus.FILLED, "")
        elif is_last:
            ended = (OrderStatus.CANCELED, OrderStatus.EXPIRED)
            end = ended[self._draw(order.client_order_id, "end") % 2]
            self._end(order, end if self._rests else OrderStatus.CANCELED, "no volume")
        elif order.filled > 0:
            order.state = OrderStatus.PARTIAL
            self._tell(order)

    def _fill(self, order: Held, quantity: Decimal) -> None:
        body = order.body
        if quantity <= 0 or body is None:
            return
        quote = self._quote(body.symbol)
        touch = quote.ask if body.side is Side.BUY else quote.bid
        is_beyond = touch > body.limit_price if body.side is Side.BUY else touch < body.limit_price
        if is_beyond:
            return
        order.fills += 1
        fee = (quantity * touch * FEE).quantize(Decimal("0.00000001"))
        order.filled += quantity
        order.value += quantity * touch
        order.fees += fee
        self.log.append(
            FillEvent(
                seq=len(self.log) + 1,
                fill_id=f"{order.client_order_id}/{order.fills}",
                client_order_id=order.client_order_id,
                symbol=body.symbol,
                side=body.side,
                quantity=quantity,
                price=touch,
                fee=fee,
                filled_at=self._market_time(),
                strategy=body.strategy,
            )
        )

    def _end(self, order: Held, state: OrderStatus, reason: str) -> VenueOrder:
        order.state, order.reason = state, reason
        self._tell(order)
        return self.view(order)

    def _tell(self, order: Held) -> None:
        order.seq = len(self.log) + 1
        fields = msgspec.structs.asdict(self.view(order))
        self.log.append(OrderEvent(at=self._now(), **fields))

    def view(self, order: Held) -> VenueOrder:
        """The order as the wire has it."""
        body = order.body
        more: dict[str, Any] = {}
        if body is not None:
            more = {
                "symbol": body.symbol,
                "side": body.side,
                "quantity": body.quantity,
                "limit_price": body.limit_price,
                "reference_price": body.reference_price,
                "reduce_only": body.reduce_only,
                "strategy": body.strategy,
                "epoch": body.epoch,
            }
        return VenueOrder(
            client_order_id=order.client_order_id,
            order_id=f"venue-{order.client_order_id}",
            state=order.state,
            filled_quantity=order.filled,
            average_price=None if order.filled == 0 else order.value / order.filled,
            fees=order.fees,
            seq=order.seq,
            reason=order.reason,
            **more,
        )

    def order(self, client_order_id: str) -> VenueOrder | None:
        """As recorded now."""
        known = self.orders.get(client_order_id)
        return None if known is None else self.view(known)

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """What can still fill."""
        return tuple(self.view(order) for order in self.orders.values() if order.state in OPEN)

    def void(self, client_order_id: str) -> VenueOrder:
        """E4: a tombstone, a cancellation, or the end that it has."""
        known = self.orders.get(client_order_id)
        if known is None:
            known = Held(client_order_id, None, "", OrderStatus.VOIDED)
            self.orders[client_order_id] = known
            return self._end(known, OrderStatus.VOIDED, "voided before any order came")
        if known.state in OPEN:
            return self._end(known, OrderStatus.CANCELED, "voided")
        return self.view(known)

    def fence(self) -> Fence:
        """E12."""
        return Fence(epoch=self.epoch, log_id=self.log_id, halted=self.halted)

    def set_fence(self, epoch: int) -> Fence:
        """E5: it only rises; the present value again is no error."""
        if epoch < self.epoch:
            self._refuse("fenced", f"the fence stands at {self.epoch}")
        self.epoch = epoch
        return self.fence()

    def halt(self, _reason: str, *, cancel_open: bool) -> HaltAnswer:
        """E11."""
        self.halted = True
        resting = [o for o in self.orders.values() if o.state in OPEN] if cancel_open else []
        for order in resting:
            self._end(order, OrderStatus.CANCELED, "halted")
        return HaltAnswer(halted=True, cancelled=tuple(o.client_order_id for o in resting))

    def resume(self, _reason: str) -> None:
        """The kill switch is released."""
        self.halted = False

    def events(self, after: int, limit: int) -> EventPage:
        """E7: in commit order, without a gap."""
        part = tuple(self.log[after : after + limit])
        return EventPage(log_id=self.log_id, events=part, head=len(self.log))

    def place(self, raw: str) -> None:
        """An order of somebody else, past every check."""
        self._take(msgspec.json.decode(raw, type=Body), raw)

    def _draw(self, client_order_id: str, purpose: str) -> int:
        text = f"{self._seed}|{client_order_id}|{purpose}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) % 100
