"""The routes of the execution service: what the desk answers or refuses, as HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from flask import Flask, request

from engine.domain.messages import Fence, HaltAnswer, SwitchHistory
from engine.telemetry import get_logger
from services.execution import records
from services.execution.contract import (
    EventsAnswer,
    EventsQuery,
    FenceRequest,
    HaltRequest,
    OrderAnswer,
    OrderId,
    OrderRequest,
    OrdersAnswer,
    OrdersQuery,
    ResumeAnswer,
    ResumeRequest,
)
from services.execution.desk import BodyMismatch, Desk, Fenced, Halted, Submitted, TooManyOrders
from services.execution.prices import PriceUnavailable
from web import Answer, Problem, route

log = get_logger(__name__)

NOT_ACCEPTED: dict[str, object] = {"accepted": False}
# The oldest of a full minute's orders may leave the window at once; a second is polite.
RETRY_AFTER_S = "1"


@contextmanager
def refusals() -> Iterator[None]:
    """The desk's refusals as problems; each says that this request had no effect."""
    try:
        yield
    except BodyMismatch as exc:
        raise Problem(409, "Body mismatch", str(exc), kind="body-mismatch") from exc
    except Halted as exc:
        raise Problem(409, "Halted", str(exc), kind="halted") from exc
    except Fenced as exc:
        raise Problem(409, "Fenced", str(exc), kind="fenced", extra={"fence": exc.fence}) from exc
    except TooManyOrders as exc:
        headers = {"Retry-After": RETRY_AFTER_S}
        raise Problem(
            429, "Too many orders", str(exc), extra=NOT_ACCEPTED, headers=headers
        ) from exc
    except PriceUnavailable as exc:
        raise Problem(503, "No price", str(exc), kind="no-price", extra=NOT_ACCEPTED) from exc


def add_order_routes(app: Flask, desk: Desk, account: str) -> None:
    """Orders of the one `account` that the service serves."""

    @route(
        app,
        "POST",
        "/orders",
        summary="A new order, or the same one again",
        body=OrderRequest,
        answers={
            200: OrderAnswer,
            201: OrderAnswer,
            409: None,
            422: None,
            429: None,
            503: None,
        },
        scope="control",
    )
    def submit(body: OrderRequest) -> Answer:
        if body.account != account:
            raise Problem(422, "Invalid request", f"account: this service serves {account!r}")
        with refusals():
            submitted = desk.submit(body, request.get_data(as_text=True))
        return _answer(submitted)

    @route(
        app,
        "PUT",
        "/orders/<client_order_id>/void",
        summary="Make sure that the id can never be accepted",
        answers={200: OrderAnswer, 422: None},
        scope="halt",
    )
    def void(client_order_id: str) -> OrderAnswer:
        _require_id(client_order_id)
        voided = desk.void(client_order_id)
        log.info("order_voided", client_order_id=client_order_id, state=voided.state.value)
        return records.answer(voided)


def add_read_routes(app: Flask, desk: Desk) -> None:
    """What is recorded: one order, the open ones, the log."""

    @route(
        app,
        "GET",
        "/orders/<client_order_id>",
        summary="An order as recorded now",
        answers={200: OrderAnswer, 404: None},
    )
    def order(client_order_id: str) -> OrderAnswer:
        found = desk.order(client_order_id)
        if found is None:
            raise Problem(404, "Not found", f"no order {client_order_id} is recorded now")
        return records.answer(found)

    @route(
        app,
        "GET",
        "/orders",
        summary="Open orders",
        query=OrdersQuery,
        answers={200: OrdersAnswer},
    )
    def orders(query: OrdersQuery) -> OrdersAnswer:
        del query
        return OrdersAnswer(orders=tuple(records.answer(each) for each in desk.open_orders()))

    @route(
        app,
        "GET",
        "/events",
        summary="The log of orders and fills",
        query=EventsQuery,
        answers={200: EventsAnswer},
    )
    def events(query: EventsQuery) -> bytes:
        page = desk.events(query.after, query.limit)
        log_id = msgspec.json.encode(page.log_id).decode()
        listed = ",".join(page.events)
        return f'{{"log_id":{log_id},"events":[{listed}],"head":{page.head}}}'.encode()


def add_fence_routes(app: Flask, desk: Desk) -> None:
    """The fence: the lowest epoch that may trade."""

    @route(app, "GET", "/fence", summary="Fence, log identity, kill switch", answers={200: Fence})
    def fence() -> Fence:
        return desk.fence()

    @route(
        app,
        "GET",
        "/switches",
        summary="Every change of fence and kill switch",
        answers={200: SwitchHistory},
    )
    def switches() -> SwitchHistory:
        return desk.switches()

    @route(
        app,
        "POST",
        "/fence",
        summary="Raise the fence",
        body=FenceRequest,
        answers={200: Fence, 409: None},
        scope="control",
    )
    def set_fence(body: FenceRequest) -> Fence:
        with refusals():
            return desk.set_fence(body.epoch)


def add_kill_switch_routes(app: Flask, desk: Desk) -> None:
    """The kill switch and its release."""

    @route(
        app,
        "POST",
        "/halt",
        summary="Set the kill switch",
        body=HaltRequest,
        answers={200: HaltAnswer},
        scope="halt",
    )
    def halt(body: HaltRequest) -> HaltAnswer:
        halted = desk.halt(body.reason, cancel_open=body.cancel_open)
        log.warning("halted", reason=body.reason, cancelled=len(halted.cancelled))
        return halted

    @route(
        app,
        "POST",
        "/resume",
        summary="Release the kill switch",
        body=ResumeRequest,
        answers={200: ResumeAnswer},
        scope="control",
    )
    def resume(body: ResumeRequest) -> ResumeAnswer:
        desk.resume(body.reason)
        log.warning("resumed", reason=body.reason)
        return ResumeAnswer(halted=False)


def _require_id(client_order_id: str) -> None:
    try:
        msgspec.convert(client_order_id, OrderId)
    except msgspec.ValidationError as exc:
        raise Problem(422, "Invalid request", f"client_order_id: {exc}") from exc


def _answer(submitted: Submitted) -> Answer:
    order = submitted.order
    if submitted.is_replay:
        headers = {"Idempotent-Replay": "true"}
        return Answer(records.answer(order), status=200, headers=headers)
    log.info(
        "order_taken",
        client_order_id=order.client_order_id,
        state=order.state.value,
        reason=order.reason,
    )
    return Answer(records.answer(order), status=201)
