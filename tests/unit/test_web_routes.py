"""Typed routes: what a handler gets, what a caller gets back, and what is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest
import structlog
from flask import Flask, Response
from flask.testing import FlaskClient
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from engine.errors import (
    LedgerUnavailable,
    NotFound,
    Refused,
    ServiceRejected,
    ServiceUnavailable,
)
from web import Answer, KeyRing, Problem, create_app, metrics_registry, route


class Leg(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a body."""

    price: Decimal


class OrderBody(msgspec.Struct, forbid_unknown_fields=True):
    """A body with required and optional fields."""

    symbol: str
    quantity: Annotated[int, msgspec.Meta(ge=1)]
    legs: list[Leg] = []
    at: datetime | None = None


class Window(msgspec.Struct, forbid_unknown_fields=True):
    """A query."""

    limit: int = 50
    share: float = 0.5
    tags: list[str] = []


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """A body whose fields are all optional."""

    dry_run: bool = False


FAILURES: dict[str, Exception] = {
    "problem": Problem(409, "Fenced", "epoch 3 is below 5", kind="fenced", extra={"fence": 5}),
    "not-found": NotFound("order x"),
    "refused": Refused("still open", ["a cycle is open"]),
    "ledger": LedgerUnavailable("locked"),
    "service": ServiceUnavailable("portfolio", "timed out"),
    "service-rejected": ServiceRejected("portfolio", "no", status=409),
    "bug": RuntimeError("postgresql://u:hunter2@db/x"),
}


def sample_app(**options: Any) -> Flask:
    app = create_app(
        name="sample",
        title="Sample",
        version="1.0",
        description="For tests",
        keys=KeyRing(),
        **options,
    )

    @route(app, "POST", "/orders", summary="An order", body=OrderBody, answers={200: OrderBody})
    def order(body: OrderBody) -> OrderBody:
        return body

    @route(app, "POST", "/options", summary="All optional", body=Options, answers={200: Options})
    def options_(body: Options) -> Options:
        return body

    @route(app, "POST", "/bare", summary="No body")
    def bare() -> dict[str, str]:
        return {"done": "yes"}

    @route(app, "GET", "/items/<name>", summary="One", query=Window, answers={201: Window})
    def item(name: str, query: Window) -> Answer:
        return Answer(query, 201, {"X-Name": name})

    @route(app, "GET", "/raw", summary="JSON as bytes")
    def raw() -> bytes:
        return b'{"raw":true}'

    @route(app, "GET", "/text", summary="A response")
    def text() -> Response:
        return Response("plain", content_type="text/plain")

    @route(app, "GET", "/fail/<kind>", summary="Fails")
    def fail(kind: str) -> None:
        raise FAILURES[kind]

    return app


@pytest.fixture
def client() -> FlaskClient:
    return sample_app().test_client()


def problem(answer: TestResponse) -> dict[str, Any]:
    assert answer.content_type == "application/problem+json"
    document = answer.get_json()
    assert document["status"] == answer.status_code
    assert document["request_id"] == answer.headers["X-Request-ID"]
    return document


def test_a_body_arrives_typed_and_an_answer_leaves_as_json(client: FlaskClient) -> None:
    body = {"symbol": "BTC/USD", "quantity": 2, "legs": [{"price": "1.50"}], "at": None}
    answer = client.post("/orders", json=body)
    assert (answer.status_code, answer.get_json()) == (200, body)


def test_a_time_is_answered_in_utc_with_z(client: FlaskClient) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    body = {"symbol": "A", "quantity": 1, "at": at.isoformat()}
    assert client.post("/orders", json=body).get_json()["at"] == "2026-01-01T00:00:00Z"


def test_path_query_status_and_headers_reach_their_place(client: FlaskClient) -> None:
    answer = client.get("/items/gold?limit=7&tags=a&tags=b")
    assert answer.status_code == 201
    assert answer.headers["X-Name"] == "gold"
    assert answer.get_json() == {"limit": 7, "share": 0.5, "tags": ["a", "b"]}


def test_bytes_are_sent_as_json_and_a_response_as_it_is(client: FlaskClient) -> None:
    assert client.get("/raw").get_json() == {"raw": True}
    assert client.get("/text").get_data(as_text=True) == "plain"


def test_a_body_of_optional_fields_may_be_empty(client: FlaskClient) -> None:
    assert client.post("/options").get_json() == {"dry_run": False}


@pytest.mark.parametrize(
    ("raw", "field", "detail"),
    [
        ('{"symbol":"A","quantity":1,"qty":2}', "qty", "unknown field"),
        ('{"symbol":"A"}', "quantity", "missing field"),
        ("", "symbol", "missing field"),
        ('{"symbol":5,"quantity":1}', "symbol", "Expected `str`, got `int`"),
        ('{"symbol":"A","quantity":0}', "quantity", "Expected `int` >= 1"),
        ('{"symbol":"A","quantity":1,"legs":[{"price":"x"}]}', "legs[0].price", "Invalid decimal"),
        ('{"symbol":"A","quantity":1,"legs":[{"cost":"1"}]}', "legs[0].cost", "unknown field"),
        ("[]", "", "Expected `object`, got `array`"),
    ],
)
def test_a_wrong_body_is_422_and_names_the_field(
    client: FlaskClient, raw: str | bytes, field: str, detail: str
) -> None:
    answer = client.post("/orders", data=raw)
    document = problem(answer)
    assert answer.status_code == 422
    assert document["errors"][0]["field"] == field
    assert detail in document["errors"][0]["detail"]


@pytest.mark.parametrize("price", ["NaN", "Infinity", "1e400", "1e-400", "1" * 70])
def test_a_decimal_that_cannot_be_computed_with_is_422(client: FlaskClient, price: str) -> None:
    body = {"symbol": "A", "quantity": 1, "legs": [{"price": "1"}, {"price": price}]}
    document = problem(client.post("/orders", json=body))
    assert document["errors"][0]["field"] == "legs[1].price"


def test_a_time_without_an_offset_is_422(client: FlaskClient) -> None:
    body = {"symbol": "A", "quantity": 1, "at": "2026-01-01T00:00:00"}
    assert problem(client.post("/orders", json=body))["errors"][0]["field"] == "at"


@pytest.mark.parametrize(
    "raw",
    ["{", "x", '{"symbol":"A","quantity":NaN}', '{"symbol":1', b"\xff\xfe", "{}{}", "[" * 15000],
)
def test_what_is_not_json_is_400(client: FlaskClient, raw: str | bytes) -> None:
    answer = client.post("/orders", data=raw)
    assert answer.status_code == 400
    assert problem(answer)["type"].endswith("/malformed-json")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=x", "limit"),
        ("lmit=5", "lmit"),
        ("limit=1&limit=2", "limit"),
        ("share=nan", "share"),
    ],
)
def test_a_wrong_query_is_422_and_names_the_parameter(
    client: FlaskClient, query: str, field: str
) -> None:
    answer = client.get(f"/items/gold?{query}")
    assert answer.status_code == 422
    assert problem(answer)["errors"][0]["field"] == field


def test_a_route_without_body_or_query_refuses_both_by_name(client: FlaskClient) -> None:
    assert problem(client.post("/bare", json={"a": 1}))["errors"][0]["field"] == "a"
    assert problem(client.post("/bare?b=1"))["errors"][0]["field"] == "b"
    assert client.post("/bare", json={}).status_code == 200


def test_a_body_over_the_limit_is_413() -> None:
    client = sample_app(max_body_bytes=100).test_client()
    answer = client.post("/orders", data=b"x" * 101)
    assert answer.status_code == 413
    assert problem(answer)["type"].endswith("/request-entity-too-large")


def test_an_unknown_route_is_404_and_a_wrong_method_405_with_those_allowed(
    client: FlaskClient,
) -> None:
    assert problem(client.get("/nowhere"))["status"] == 404
    answer = client.get("/orders")
    assert problem(answer)["status"] == 405
    assert answer.headers["Allow"] == "POST"


def test_options_is_refused_so_that_no_preflight_passes(client: FlaskClient) -> None:
    answer = client.options("/orders")
    assert answer.status_code == 405
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    ("kind", "status", "ending"),
    [
        ("problem", 409, "/fenced"),
        ("not-found", 404, "/not-found"),
        ("refused", 409, "/refused"),
        ("ledger", 503, "/ledger-unavailable"),
        ("service", 503, "/service-unavailable"),
        ("service-rejected", 503, "/service-unavailable"),
    ],
)
def test_an_error_raised_on_purpose_has_its_status_and_type(
    client: FlaskClient, kind: str, status: int, ending: str
) -> None:
    answer = client.get(f"/fail/{kind}")
    assert answer.status_code == status
    assert problem(answer)["type"].endswith(ending)


def test_a_problem_carries_its_own_members_and_a_refusal_its_reasons(client: FlaskClient) -> None:
    assert problem(client.get("/fail/problem"))["fence"] == 5
    assert problem(client.get("/fail/refused"))["reasons"] == ["a cycle is open"]
    assert problem(client.get("/fail/service"))["service"] == "portfolio"


def test_a_bug_is_logged_in_full_and_answered_with_the_request_id_alone(
    client: FlaskClient,
) -> None:
    with capture_logs() as logs:
        answer = client.get("/fail/bug")
    assert answer.status_code == 500
    assert problem(answer)["title"] == "Internal server error"
    assert b"hunter2" not in answer.data
    assert b"Traceback" not in answer.data
    events = {line["event"]: line for line in logs}
    assert isinstance(events["unexpected_error"]["exc_info"], RuntimeError)
    assert events["request_failed"]["log_level"] == "warning"


def test_a_request_id_is_echoed_or_made_and_a_cycle_id_echoed(client: FlaskClient) -> None:
    headers = {"X-Request-ID": "req-1", "X-Cycle-ID": "2026-01-01T00:00:00Z/3"}
    answer = client.get("/raw", headers=headers)
    assert answer.headers["X-Request-ID"] == "req-1"
    assert answer.headers["X-Cycle-ID"] == "2026-01-01T00:00:00Z/3"
    first, second = (client.get("/raw").headers for _ in range(2))
    assert len(first["X-Request-ID"]) == 32
    assert first["X-Request-ID"] != second["X-Request-ID"]
    assert "X-Cycle-ID" not in first


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a;b", "<script>"])
def test_an_unusable_request_id_is_replaced(client: FlaskClient, given: str) -> None:
    answer = client.get("/raw", headers={"X-Request-ID": given})
    assert len(answer.headers["X-Request-ID"]) == 32


def test_health_is_503_only_when_down() -> None:
    for status, code in (("ok", 200), ("degraded", 200), ("down", 503)):
        app = sample_app(health=lambda status=status: {"status": status})
        answer = app.test_client().get("/health")
        assert (answer.status_code, answer.get_json()["status"]) == (code, status)


def test_metrics_show_cpu_memory_and_requests_by_route_not_by_path(client: FlaskClient) -> None:
    client.get("/items/gold")
    client.get("/items/silver")
    client.get("/made-up")
    text = client.get("/metrics").get_data(as_text=True)
    assert "process_cpu_seconds_total" in text
    assert "process_resident_memory_bytes" in text
    assert 'http_requests_total{method="GET",route="/items/<name>",status="201"} 2.0' in text
    assert "made-up" not in text


def test_each_app_counts_for_itself() -> None:
    first, second = sample_app(), sample_app()
    first.test_client().get("/raw")
    registry = metrics_registry(second)
    labels = {"method": "GET", "route": "/raw", "status": "200"}
    assert registry.get_sample_value("http_requests_total", labels) is None


def test_every_log_line_of_a_request_carries_its_ids_and_none_after_it(client: FlaskClient) -> None:
    seen = []

    @route(client.application, "GET", "/context", summary="Its log context")
    def context() -> dict[str, str]:
        seen.append(structlog.contextvars.get_contextvars())
        return {}

    client.get("/context", headers={"X-Request-ID": "req-1", "X-Cycle-ID": "c-1"})
    assert seen == [{"request_id": "req-1", "cycle_id": "c-1"}]
    assert structlog.contextvars.get_contextvars() == {}
