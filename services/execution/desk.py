"""What the service promises about orders, kept in single transactions over one durable file.

Prices are asked outside any transaction, before it. What decides whether an order is accepted
(the id, the kill switch, the fence, the time) is read in the accepting transaction itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from engine import failpoints
from engine.domain.matching import Match
from engine.domain.messages import Fence, HaltAnswer, SwitchHistory
from engine.domain.model import OrderStatus
from engine.errors import Refused
from engine.telemetry import get_logger
from services.durable import DurableStore
from services.execution import limits as hard_limits
from services.execution import records, store
from services.execution.brokers.paper import Broker
from services.execution.contract import OrderRequest
from services.execution.limits import HardLimits
from services.execution.prices import MarketPrice, PriceUnavailable, UnknownSymbol
from services.execution.records import StoredOrder

log = get_logger(__name__)


class BodyMismatch(Refused):
    """The id is known with another content."""


class Halted(Refused):
    """The kill switch is set."""


class Fenced(Refused):
    """The epoch is below the fence."""

    def __init__(self, epoch: int, fence: int) -> None:
        super().__init__(f"epoch {epoch} is below the fence {fence}")
        self.fence = fence


class TooManyOrders(Refused):
    """The orders of this minute are used up."""


class Submitted(NamedTuple):
    """The order as it stands; `is_replay` when it was known before."""

    order: StoredOrder
    is_replay: bool


class EventSlice(NamedTuple):
    """JSON events of the log in order, and its newest seq."""

    log_id: str
    events: list[str]
    head: int


class Desk:
    """The order desk. `pause` waits for some seconds, `now` is wall time."""

    def __init__(
        self,
        durable: DurableStore,
        broker: Broker,
        limits: HardLimits,
        *,
        now: Callable[[], datetime],
        pause: Callable[[float], None],
    ) -> None:
        self._durable = durable
        self._broker = broker
        self._limits = limits
        self._now = now
        self._pause = pause

    def submit(self, request: OrderRequest, raw: str) -> Submitted:
        """Take an order once.

        Raises BodyMismatch, Halted, Fenced, TooManyOrders or PriceUnavailable: then this
        request had no effect.
        """
        with self._durable.read() as connection:
            known = _replay(connection, request)
            if known is not None:
                return Submitted(known, is_replay=True)
            _require_open(connection, request)
        price, fault = self._price(request)
        with self._durable.write() as connection:
            submitted = self._accept(connection, request, raw, price, fault)
        failpoints.reach("X1", request.client_order_id)
        return submitted

    def _price(self, request: OrderRequest) -> tuple[MarketPrice | None, str]:
        """The market's answer, or why the venue cannot trade this symbol at all."""
        if _is_late(request, self._now()):
            return None, ""
        try:
            price = self._broker.price(request.symbol)
        except UnknownSymbol as error:
            return None, f"{request.symbol}: {error}"
        latency_s = self._broker.latency_s(request.client_order_id, price.picture)
        if latency_s > 0:
            self._pause(latency_s)
        return price, ""

    def _accept(
        self,
        connection: Connection,
        request: OrderRequest,
        raw: str,
        price: MarketPrice | None,
        fault: str,
    ) -> Submitted:
        known = _replay(connection, request)
        if known is not None:
            return Submitted(known, is_replay=True)
        _require_open(connection, request)
        now = self._now()
        if not _is_late(request, now):
            self._require_rate(connection, request, now)
        order = records.new_order(request, raw, now.timestamp())
        match = self._judge(request, price, fault, now)
        as_of = None if price is None else price.as_of
        candle_time = 0 if price is None else price.picture.candle_time
        changed = records.matched(order, match, candle_time)
        done = store.record(connection, changed, match.executions, filled_at=as_of, at=now)
        return Submitted(done, is_replay=False)

    def _judge(
        self, request: OrderRequest, price: MarketPrice | None, fault: str, now: datetime
    ) -> Match:
        if _is_late(request, now) or price is None:
            reason = fault or "valid_until has passed"
            return Match(state=OrderStatus.REJECTED, reason=reason)
        working, picture = request.working(), price.picture
        reason = hard_limits.breach(
            working, request.reference, picture, self._limits
        ) or self._broker.refusal(working, picture)
        if reason:
            return Match(state=OrderStatus.REJECTED, reason=reason)
        return self._broker.match(working, picture)

    def _require_rate(self, connection: Connection, request: OrderRequest, now: datetime) -> None:
        allowed = self._limits.orders_allowed(reduce_only=request.reduce_only)
        if store.orders_in_last_minute(connection, now) >= allowed:
            raise TooManyOrders(f"{allowed} orders within the last minute")

    def order(self, client_order_id: str) -> StoredOrder | None:
        """The order as recorded now."""
        with self._durable.read() as connection:
            return store.order(connection, client_order_id)

    def open_orders(self) -> list[StoredOrder]:
        """Orders that can still fill, after each met the market again."""
        self.match_open()
        with self._durable.read() as connection:
            return store.open_orders(connection)

    def events(self, after: int, limit: int) -> EventSlice:
        """The log above `after`, after resting orders met the market again."""
        self.match_open()
        with self._durable.read() as connection:
            log_id = store.fence(connection).log_id
            return EventSlice(
                log_id, store.events(connection, after, limit), store.head(connection)
            )

    def void(self, client_order_id: str) -> StoredOrder:
        """Make sure that the id can never be accepted any more; the resulting state."""
        with self._durable.write() as connection:
            now = self._now()
            order = store.order(connection, client_order_id)
            if order is None:
                order = records.tombstone(client_order_id, now.timestamp())
            elif order.is_open:
                order = records.ended(order, OrderStatus.CANCELED, "voided")
            else:
                return order
            return store.record(connection, order, (), filled_at=None, at=now)

    def fence(self) -> Fence:
        """Fence, log identity and kill switch."""
        with self._durable.read() as connection:
            return store.fence(connection)

    def switches(self) -> SwitchHistory:
        """Every change of fence and kill switch."""
        with self._durable.read() as connection:
            changes = tuple(store.switches(connection))
            return SwitchHistory(log_id=store.fence(connection).log_id, changes=changes)

    def set_fence(self, epoch: int) -> Fence:
        """Raise the fence; the present value again is no error. Raises Fenced."""
        with self._durable.write() as connection:
            present = store.fence(connection)
            if epoch < present.epoch:
                raise Fenced(epoch, present.epoch)
            store.set_fence(connection, epoch, self._now())
            return store.fence(connection)

    def halt(self, reason: str, *, cancel_open: bool) -> HaltAnswer:
        """Set the kill switch and, if asked, cancel what rests, in one transaction."""
        with self._durable.write() as connection:
            store.set_halted(connection, self._now(), halted=True, reason=reason)
            resting = store.open_orders(connection) if cancel_open else []
            now = self._now()
            for order in resting:
                cancelled = records.ended(order, OrderStatus.CANCELED, "halted")
                store.record(connection, cancelled, (), filled_at=None, at=now)
        return HaltAnswer(halted=True, cancelled=tuple(each.client_order_id for each in resting))

    def resume(self, reason: str) -> bool:
        """Release the kill switch; whether it is set after that."""
        with self._durable.write() as connection:
            store.set_halted(connection, self._now(), halted=False, reason=reason)
        return False

    def match_open(self) -> None:
        """Let resting orders meet the market again; without prices they just go on resting."""
        with self._durable.read() as connection:
            if store.fence(connection).halted:
                return
            resting = store.open_orders(connection)
        symbols = {each.request.symbol: None for each in resting if each.request is not None}
        for symbol in symbols:
            try:
                price = self._broker.price(symbol)
            except (PriceUnavailable, UnknownSymbol) as error:
                log.warning("resting_orders_not_matched", symbol=symbol, detail=str(error))
                continue
            ids = [each.client_order_id for each in resting if _is_about(each, symbol)]
            self._match_resting(ids, price)

    def _match_resting(self, client_order_ids: list[str], price: MarketPrice) -> None:
        with self._durable.write() as connection:
            if store.fence(connection).halted:
                return
            for client_order_id in client_order_ids:
                order = store.order(connection, client_order_id)
                if order is None or not order.is_open:
                    continue
                match = self._broker.match(order.working(), price.picture)
                if not match.executions and match.state is order.state:
                    continue
                changed = records.matched(order, match, price.picture.candle_time)
                now = self._now()
                store.record(connection, changed, match.executions, filled_at=price.as_of, at=now)


def _replay(connection: Connection, request: OrderRequest) -> StoredOrder | None:
    """The known order of this id, whatever the epoch or the kill switch. Raises BodyMismatch."""
    known = store.order(connection, request.client_order_id)
    if known is None:
        return None
    differs = known.canonical is not None and known.canonical != request.canonical()
    if differs and not failpoints.bug("no_body_check"):
        raise BodyMismatch(f"{request.client_order_id} is known with another body")
    return known


def _require_open(connection: Connection, request: OrderRequest) -> None:
    """Raises Halted or Fenced where a new order cannot be taken."""
    present = store.fence(connection)
    if present.halted:
        raise Halted("the kill switch is set")
    if request.epoch < present.epoch and not failpoints.bug("no_fence"):
        raise Fenced(request.epoch, present.epoch)


def _is_late(request: OrderRequest, now: datetime) -> bool:
    return request.valid_until <= now and not failpoints.bug("no_valid_until")


def _is_about(order: StoredOrder, symbol: str) -> bool:
    return order.request is not None and order.request.symbol == symbol
