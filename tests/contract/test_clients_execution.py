"""The execution and monitoring clients: what is known of an order after each answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from engine.clients.execution import HttpExecution
from engine.clients.monitoring import HttpMonitoring
from engine.domain.messages import MonitoringEvent
from engine.domain.model import (
    FillEvent,
    OrderEvent,
    OrderStatus,
)
from engine.errors import (
    BadPayload,
    CircuitOpen,
    OrderStateUnknown,
    ServiceRejected,
    ServiceUnavailable,
)
from tests.clients_kit import Heard, RedisSwitch, make_transport
from tests.faulty_server import (
    HALF_BODY,
    HANG,
    HTML,
    NAN,
    REDIRECT,
    RESET,
    FaultyServer,
    Reply,
    answer,
    problem,
)

AS_OF = "2025-11-22T12:00:00Z"
BODY = '{"client_order_id": "o-1",  "reduce_only":true, "odd spacing": 1}'
VENUE: dict[str, Any] = {
    "client_order_id": "o-1",
    "order_id": "v-1",
    "state": "FILLED",
    "filled_quantity": "1",
    "average_price": "100",
    "fees": "0.1",
    "seq": 9,
    "reason": "",
}


def execution(server: FaultyServer, **settings: Any) -> HttpExecution:
    return HttpExecution(make_transport(server.url, **settings))


class TestExecution:
    """Port Execution."""

    def test_an_order_is_sent_byte_for_byte(self) -> None:
        with FaultyServer(answer(VENUE, 201)) as server:
            order = execution(server).submit("o-1", BODY, 1)
            assert server.asked[0].body == BODY.encode()
        assert order.state is OrderStatus.FILLED

    @pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
    def test_a_certain_refusal_is_a_rejection(self, status: int) -> None:
        with FaultyServer(problem(status, "halted")) as server, pytest.raises(ServiceRejected):
            execution(server).submit("o-1", BODY, 1)

    @pytest.mark.parametrize("status", [429, 503])
    def test_an_explicit_word_that_nothing_happened_is_believed(self, status: int) -> None:
        with (
            FaultyServer(problem(status, accepted=False)) as server,
            pytest.raises(ServiceUnavailable) as raised,
        ):
            execution(server).submit("o-1", BODY, 1)
        assert raised.value.accepted is False

    @pytest.mark.parametrize(
        "reply",
        [
            HANG,
            RESET,
            HALF_BODY,
            HTML,
            NAN,
            REDIRECT,
            problem(404),
            problem(405),
            problem(413),
            problem(429),
            problem(500),
            problem(502, accepted=False),
            problem(503),
            answer({**VENUE, "client_order_id": "o-2"}),
            answer({**VENUE, "state": "UNKNOWN"}),
            answer({**VENUE, "state": "FILLED", "filled_quantity": "0"}),
            answer({**VENUE, "state": "REJECTED"}),
            answer({**VENUE, "average_price": None}),
            answer({**VENUE, "filled_quantity": "NaN"}),
            answer({**VENUE, "filled_quantity": "-1"}),
            answer({**VENUE, "quantity": "0.5"}),
        ],
        ids=lambda reply: f"{reply.how} {reply.status} {reply.body[:50]!r}",
    )
    def test_everything_else_is_unknown_and_sent_once(self, reply: Reply) -> None:
        with FaultyServer(reply) as server:
            with pytest.raises(OrderStateUnknown):
                execution(server).submit("o-1", BODY, 0.3)
            assert len(server.asked) == 1

    def test_what_never_left_had_no_effect(self) -> None:
        with FaultyServer(RESET) as server:
            client = execution(server, breaker={"failures": 1, "reset_s": 15})
            with pytest.raises(OrderStateUnknown):
                client.submit("o-1", BODY, 1)
            with pytest.raises(CircuitOpen):
                client.submit("o-1", BODY, 1)
            assert len(server.asked) == 1
        with pytest.raises(ServiceUnavailable) as raised:
            execution(server).submit("o-1", BODY, 1)
        assert raised.value.accepted is False

    def test_exits_use_what_is_kept_for_them(self) -> None:
        link = RedisSwitch().link()
        with FaultyServer(answer(VENUE)) as server:
            client = HttpExecution(make_transport(server.url, link=link, rate_limit="5/minute"))
            for _ in range(4):
                client.submit("o-1", "{}", 1)
            with pytest.raises(ServiceUnavailable, match="rate limit"):
                client.submit("o-1", "{}", 1)
            client.submit("o-1", BODY, 1)
            assert len(server.asked) == 5

    def test_not_found_is_none(self) -> None:
        with FaultyServer([problem(404), answer(VENUE), problem(403)]) as server:
            client = execution(server)
            assert client.order("a/b") is None
            assert client.order("o-1") is not None
            with pytest.raises(ServiceRejected):
                client.order("o-1")
            assert server.asked[0].path == "/orders/a%2Fb"

    def test_void_is_a_put_that_may_be_repeated(self) -> None:
        voided = {**VENUE, "state": "VOIDED", "filled_quantity": "0", "average_price": None}
        with FaultyServer([problem(500), answer(voided)]) as server:
            assert execution(server).void("o-1").state is OrderStatus.VOIDED
            assert [asked.method for asked in server.asked] == ["PUT", "PUT"]
            assert server.asked[0].path == "/orders/o-1/void"

    def test_open_orders(self) -> None:
        working = {**VENUE, "state": "ACCEPTED", "filled_quantity": "0", "average_price": None}
        with FaultyServer(answer({"orders": [working]})) as server:
            assert execution(server).open_orders()[0].state is OrderStatus.ACCEPTED
            assert server.asked[0].path == "/orders?state=open"

    def test_the_fence_and_the_switch(self) -> None:
        fence = {"epoch": 4, "log_id": "l", "halted": False}
        script = [
            answer(fence),
            answer(fence),
            answer(fence),
            answer({"halted": True, "cancelled": ["o"], "failed": []}),
            answer({"halted": False}),
            answer({"halted": False}),
            answer({"halted": True}),
            problem(409, "fenced"),
        ]
        with FaultyServer(script) as server:
            client = execution(server)
            assert client.fence().epoch == 4
            assert client.set_fence(4).log_id == "l"
            with pytest.raises(BadPayload):
                client.set_fence(5)
            assert client.halt("why", cancel_open=True).cancelled == ("o",)
            client.resume("why")
            with pytest.raises(BadPayload):
                client.halt("why", cancel_open=True)
            with pytest.raises(BadPayload):
                client.resume("why")
            with pytest.raises(ServiceRejected) as raised:
                client.set_fence(3)
            assert raised.value.kind == "fenced"
            assert server.asked[3].json() == {"reason": "why", "cancel_open": True}

    def page(self, seqs: Sequence[int], head: int) -> Reply:
        order = {**VENUE, "type": "order", "at": AS_OF}
        fill = {
            "type": "fill",
            "fill_id": "f",
            "client_order_id": "o-1",
            "symbol": "BTC/USD",
            "side": "buy",
            "quantity": "1",
            "price": "100",
            "fee": "0.1",
            "filled_at": AS_OF,
            "strategy": "sma",
        }
        events = [{**(fill if n % 2 else order), "seq": n} for n in seqs]
        return answer({"log_id": "l", "events": events, "head": head})

    def test_events_are_read_in_order(self) -> None:
        with FaultyServer(self.page([3, 4], 9)) as server:
            page = execution(server).events(2, 100)
            assert server.asked[0].path == "/events?after=2&limit=100"
        assert isinstance(page.events[0], FillEvent)
        assert isinstance(page.events[1], OrderEvent)
        assert page.head == 9

    @pytest.mark.parametrize(("seqs", "head"), [([2], 9), ([4, 3], 9), ([3, 3], 9), ([3, 4], 3)])
    def test_events_out_of_order_are_garbage(self, seqs: list[int], head: int) -> None:
        with FaultyServer(self.page(seqs, head)) as server, pytest.raises(BadPayload):
            execution(server).events(2, 100)


class TestMonitoring:
    """Port Monitoring."""

    def test_events_are_delivered_in_order_and_in_parts(self) -> None:
        at = datetime(2025, 11, 22, tzinfo=UTC)
        events = [
            MonitoringEvent(
                event_id=str(n), type="cycle", at=at, severity="info", data={"n": Decimal("0.10")}
            )
            for n in range(150)
        ]
        heard = Heard()
        with FaultyServer(answer({"accepted": 1})) as server:
            transport = make_transport(server.url, service="monitoring", observer=heard)
            HttpMonitoring(transport).publish(events)
            sent = [event for asked in server.asked for event in asked.json()["events"]]
        assert [event["event_id"] for event in sent] == [str(n) for n in range(150)]
        assert sent[0]["at"] == "2025-11-22T00:00:00Z"
        assert sent[0]["data"] == {"n": "0.1"}
        assert len(heard.calls) == 2
