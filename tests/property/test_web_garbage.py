"""Whatever is sent, a server answers with a 2xx or 4xx, and errors are problem documents."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from web import KeyRing, create_app, route


class Part(msgspec.Struct, forbid_unknown_fields=True):
    """Values that a handler computes with."""

    price: Decimal
    at: datetime | None = None


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A body with every kind of value."""

    symbol: str
    number: int = 0
    parts: list[Part] = []
    data: dict[str, Any] = {}


class Query(msgspec.Struct, forbid_unknown_fields=True):
    """A query with every kind of value."""

    limit: int = 5
    share: float = 0.5
    since: datetime | None = None


APP = create_app(name="sample", title="S", version="1", description="", keys=KeyRing())


@route(APP, "POST", "/body", summary="Body", body=Body, answers={200: Body})
def take_body(body: Body) -> dict[str, Any]:
    """Computes with what it was given: what decodes must be usable."""
    total = sum((part.price * 2 for part in body.parts), Decimal(0))
    ordered = sorted(part.at for part in body.parts if part.at is not None)
    return {"total": f"{total:f}", "first": ordered[:1], "echo": body}


@route(APP, "GET", "/query/<name>", summary="Query", query=Query, answers={200: Query})
def take_query(name: str, query: Query) -> dict[str, Any]:
    return {"name": name, "query": query}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
decimals = st.decimals(allow_nan=True, allow_infinity=True).map(str) | st.text(max_size=6)
times = st.datetimes().map(datetime.isoformat) | st.text(max_size=12)
near_misses = st.fixed_dictionaries(
    {"symbol": st.text(max_size=5) | json_values},
    optional={
        "number": json_values,
        "parts": st.lists(st.fixed_dictionaries({"price": decimals}, optional={"at": times})),
        "data": json_values,
        "extra": json_values,
    },
)
hostile_parts = st.fixed_dictionaries(
    {"price": st.sampled_from(["1", "-0.5", "NaN", "sNaN", "-Infinity", "1e999999", "1E-9999"])},
    optional={"at": st.sampled_from(["2026-01-01T00:00:00", "2026-01-01T00:00:00+02:00"])},
)
hostile = st.fixed_dictionaries(
    {"symbol": st.just("A"), "parts": st.lists(hostile_parts, min_size=1, max_size=4)}
)


def check(answer: Any) -> None:
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        document = answer.get_json()
        assert document["status"] == answer.status_code
        assert document["type"]
        if answer.status_code == 422:
            assert document["errors"]


@settings(max_examples=150)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode()))
def test_no_bytes_make_a_server_fail(raw: bytes) -> None:
    check(APP.test_client().post("/body", data=raw))


@settings(max_examples=150)
@given(json_values | near_misses | hostile)
def test_no_json_makes_a_server_fail(value: Any) -> None:
    # Python's own encoder also writes NaN and lone surrogates, which are not JSON.
    check(APP.test_client().post("/body", data=json.dumps(value)))


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(["limit", "share", "since", "x"]), st.text(max_size=8)))
def test_no_query_makes_a_server_fail(query: dict[str, str]) -> None:
    check(APP.test_client().get("/query/name", query_string=query))


@settings(max_examples=100)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=20),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)
def test_no_path_or_header_makes_a_server_fail(method: str, path: str, header: str) -> None:
    headers = {"X-Request-ID": header, "X-Cycle-ID": header, "Authorization": header}
    # As it comes over the wire: the test client would read a host out of two slashes.
    wire = {"PATH_INFO": f"/{path}".encode().decode("latin-1")}
    answer = APP.test_client().open("/", method=method, headers=headers, environ_overrides=wire)
    assert answer.status_code < 500
