"""Sending an order, and finding out what became of one: the only code that submits.

The bytes that were frozen at the reservation are sent each time. An answer that does not prove
the end leaves the order UNKNOWN with its budget held; a void is the only proof of absence.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from engine import failpoints, seeded
from engine.domain.ledger_values import Unresolved
from engine.domain.model import Order, VenueOrder
from engine.domain.timing import scaled
from engine.errors import OrderStateUnknown, ServiceError, ServiceRejected, ServiceUnavailable
from engine.ports import Engine
from engine.telemetry import bind, get_logger

log = get_logger(__name__)

LEASE_MARGIN_S = 2.0
RELEASE = "release_on_timeout"


def send_timeout_s(engine: Engine) -> float:
    """Seconds that one order's call may take, within the cycle's own pace."""
    settings = engine.settings
    pace = scaled(settings.timing.send_timeout_s, settings.trading_engine.cycle_interval)
    return min(settings.services.execution.timeout_s, pace)


def send(engine: Engine, client_order_id: str) -> bool:
    """Send one reserved order if it may still be sent; True when the service was asked."""
    with bind(client_order_id=client_order_id):
        timeout_s = send_timeout_s(engine)
        now = engine.clock.now()
        known = engine.ledger.orders.order(client_order_id)
        if known is None or _too_late(known, now, timeout_s):
            log.warning("order_not_sent", reason="too late for the send cut-off")
            return False
        grant = engine.ledger.orders.begin_send(client_order_id, now, timeout_s + LEASE_MARGIN_S)
        if grant.order is None:
            log.warning("order_not_sent", reason=grant.refusal)
            return False
        _submit(engine, grant.order, timeout_s)
        return True


def resolve(engine: Engine, item: Unresolved) -> None:
    """Settle one unresolved order: look up, send the same bytes again, or void.

    Raises ServiceError when the execution service does not answer.
    """
    order = item.order
    with bind(client_order_id=order.client_order_id, cycle_id=order.cycle_id):
        found = engine.execution.order(order.client_order_id) if item.may_resend else None
        if found is None and item.may_resend and failpoints.bug("success_on_404"):
            found = seeded.taken_for_filled(order)
        if found is not None:
            _record(engine, found, "looked up")
        elif failpoints.bug("no_void") and not item.may_resend:
            _record(engine, seeded.written_off(order), "written off")
        elif item.may_resend and send(engine, order.client_order_id):
            return
        else:
            void(engine, order.client_order_id)


def void(engine: Engine, client_order_id: str) -> None:
    """Prove the end of an order. Raises ServiceError when the service does not answer."""
    _record(engine, engine.execution.void(client_order_id), "voided")


def _too_late(order: Order, now: datetime, timeout_s: float) -> bool:
    return now + timedelta(seconds=timeout_s) > order.cutoff_at


def _submit(engine: Engine, order: Order, timeout_s: float) -> None:
    identity = order.client_order_id
    sent = seeded.sent_as(order, engine.clock.now())
    failpoints.reach("B3", identity)
    log.info("order_sent", symbol=order.symbol, side=order.side.value, sends=order.sends)
    try:
        answer = engine.execution.submit(sent.client_order_id, sent.body, timeout_s)
    except OrderStateUnknown as error:
        _unknown(engine, identity, error.detail)
    except ServiceRejected as error:
        _refused(engine, identity, error)
    except ServiceUnavailable as error:
        _unknown(engine, identity, f"not accepted: {error.detail}")
    except ServiceError as error:
        _unknown(engine, identity, error.detail)
    else:
        failpoints.reach("B5", identity)
        _record(engine, answer, "answered")
        failpoints.reach("B6", identity)


def _refused(engine: Engine, client_order_id: str, error: ServiceRejected) -> None:
    """The request had no effect, which says nothing of an earlier one: prove the end."""
    _unknown(engine, client_order_id, f"refused: {error.detail}")
    try:
        if error.kind == "body-mismatch":
            found = engine.execution.order(client_order_id)
            if found is not None:
                if engine.ledger.orders.adopt_terms(found, engine.clock.now()):
                    log.warning("foreign_order_adopted", client_order_id=client_order_id)
                _record(engine, found, "other body exists")
                return
        void(engine, client_order_id)
    except ServiceError as failure:
        log.warning("order_end_not_proved", detail=str(failure))


def _unknown(engine: Engine, client_order_id: str, detail: str) -> None:
    engine.ledger.orders.mark_unknown(client_order_id, detail, engine.clock.now())
    log.warning("order_unknown", detail=detail)
    order = engine.ledger.orders.order(client_order_id) if failpoints.bug(RELEASE) else None
    if order is not None:
        _record(engine, seeded.written_off(order), "no answer")


def _record(engine: Engine, answer: VenueOrder, cause: str) -> None:
    changed = engine.ledger.orders.record(answer, cause, engine.clock.now())
    log.info(
        "order_recorded",
        state=answer.state.value,
        filled_quantity=str(answer.filled_quantity),
        reason=answer.reason,
        cause=cause,
        news=changed,
    )
