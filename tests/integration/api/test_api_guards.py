"""What guards the API: keys and scopes, the audit, idempotency, and any body at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from engine.errors import ConfigError
from engine.ledger.schema import audit_log, metadata
from engine.settings import Settings
from tests.control_fakes import Bench, make_bench
from web import KeyRing
from web.keys import Key
from web.routing import site_of

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OPEN_TO_ALL = {
    *("/", "/docs", "/runbook", "/assets/<path:name>"),
    *("/health", "/health/live", "/health/ready"),
}
SCOPES = ("read", "cycle", "control", "halt", "admin")
HALT = {"reason": "now"}
RESUME = {"state": "ACTIVE", "reason": "checked"}
# The scope of whatever changes something, by the first part of its path.
CHANGES = {
    "cycle": "cycle",
    "start": "control",
    "stop": "control",
    "resume": "control",
    "positions": "control",
    "strategies": "control",
    "alerts": "control",
    "halt": "halt",
    "reduce": "halt",
}
POSTS = [
    ("/cycle", {}),
    ("/start", {}),
    ("/stop", {}),
    ("/resume", RESUME),
    ("/halt", HALT),
]


@pytest.fixture
def keyed(settings: Settings) -> Iterator[Bench]:
    """The app with one key for each scope; the key is the scope's name, doubled."""
    keys = KeyRing(tuple(key for scope in SCOPES for key in ring(scope).keys))
    made = make_bench(settings, keys)
    yield made
    made.ledger.dispose()


def ring(scope: Any) -> KeyRing:
    """One key of one scope."""
    [full] = KeyRing.single(f"{scope}-{scope}", name=f"{scope}-key").keys
    return KeyRing((Key(full.name, frozenset({scope}), full.digest),))


def bearer(scope: str) -> dict[str, str]:
    """The header that shows a scope's key."""
    return {"Authorization": f"Bearer {scope}-{scope}"}


def declared(bench: Bench) -> Iterator[tuple[str, str, str | None]]:
    """Method, path and expected scope of every route that the app has."""
    for each in site_of(bench.app).routes.values():
        first = each.path.strip("/").partition("/")[0]
        scope = "read" if each.method == "GET" else CHANGES[first]
        path = re.sub("<[^>]*>", "none", each.path)
        yield each.method, path, None if each.path in OPEN_TO_ALL else scope


def test_each_route_opens_to_its_scope_and_to_admin_alone(keyed: Bench) -> None:
    """The whole matrix of routes and scopes; a new route that changes something must be named."""
    opened = {
        (method, path, shown)
        for method, path, _ in declared(keyed)
        for shown in SCOPES
        if keyed.app.test_client().open(path, method=method, headers=bearer(shown)).status_code
        != 403
    }
    assert opened == {
        (method, path, shown)
        for method, path, scope in declared(keyed)
        for shown in SCOPES
        if scope is None or shown in {scope, "admin"}
    }


def test_no_route_opens_without_a_key(keyed: Bench) -> None:
    for method, path, scope in declared(keyed):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic cmVhZA=="}):
            client = keyed.app.test_client()
            answer = client.open(path, method=method, json=HALT, headers=headers)
            assert (answer.status_code == 401) is (scope is not None), path
    assert keyed.dispatcher.sent == []
    assert not keyed.execution.halted


def everything(bench: Bench) -> dict[str, list[Any]]:
    """All that the ledger holds, but the audit, and what the world around it was told."""
    with bench.ledger.reading() as connection:
        rows = {
            table.name: [tuple(row) for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
            if table.name != audit_log.name
        }
    told = [bench.dispatcher.sent, bench.execution.calls, bench.schedule.due_at]
    return {**rows, "told": told}


@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_is_sent_without_a_key_changes_nothing(keyed: Bench, data: st.DataObject) -> None:
    """Any method on any route, or on none, with any header and body: at most an audited refusal."""
    before = everything(keyed)
    routes = [*{path for _, path, _ in declared(keyed)}, "/nowhere", "//halt", "/halt/", "/HALT"]
    method = data.draw(st.sampled_from([*METHODS, "TRACE", "PROPFIND", "halt"]))
    path = data.draw(st.sampled_from(routes))
    token = data.draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
    headers = data.draw(
        st.sampled_from(
            [
                {},
                {"Authorization": f"Bearer {token}"},
                {"Authorization": token},
                {"X-API-Key": "admin-admin", "Cookie": "key=admin-admin"},
                {"X-HTTP-Method-Override": "POST", "X-Forwarded-For": "127.0.0.1"},
            ]
        )
    )
    client = keyed.app.test_client()
    answer = client.open(
        path,
        method=method,
        headers=headers,
        json=data.draw(st.sampled_from([HALT, RESUME, {}, [], None])),
        query_string=data.draw(st.sampled_from(["", "key=admin-admin", "wait=1"])),
    )
    is_open = path in OPEN_TO_ALL and method in {"GET", "HEAD"}
    assert answer.status_code < 500
    is_redirect = answer.status_code == 308  # `//halt`: to a path that is asked for anew
    assert is_open or is_redirect or answer.status_code >= 400 or method == "OPTIONS"
    assert everything(keyed) == before


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_needs_no_key(keyed: Bench, path: str) -> None:
    assert keyed.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/assets/js/main.js"])
def test_the_page_without_a_key_is_a_shell_without_data(keyed: Bench, path: str) -> None:
    before = keyed.get(path)
    keyed.post("/halt", HALT, headers=bearer("halt"))
    after = keyed.get(path)
    assert after.status_code == 200
    assert after.data == before.data


def test_off_loopback_the_api_does_not_start_without_a_key(settings: Settings) -> None:
    open_to_all = {"data_dir": settings.data_dir, "trading_engine": {"host": "0.0.0.0"}}  # noqa: S104
    with pytest.raises(ConfigError, match="TRADING_ENGINE_API_KEY"):
        make_bench(Settings.model_validate(open_to_all))


def test_without_keys_another_sites_page_is_refused(bench: Bench) -> None:
    answer = bench.post("/halt", HALT, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert not bench.execution.halted


@pytest.mark.parametrize(("path", "body"), POSTS)
def test_every_post_is_written_down(bench: Bench, path: str, body: object) -> None:
    answer = bench.post(path, body, headers={"X-Request-ID": "wish-1"})
    [row] = bench.audit_rows()
    assert (row["request_id"], row["actor"], row["method"]) == ("wish-1", "local", "POST")
    assert path in {row["route"], f"/{row['route'].split('/')[1]}{path[path.find('/', 1) :]}"}
    assert row["status"] == answer.status_code


def test_refused_and_unauthenticated_posts_are_written_down_too(keyed: Bench) -> None:
    keyed.post("/halt", HALT)
    keyed.post("/halt", HALT, headers=bearer("read"))
    keyed.post("/halt", {"reason": ""}, headers=bearer("halt"))
    keyed.post("/halt", HALT, headers=bearer("halt"))
    keyed.post("/nowhere")
    rows = [(row["actor"], row["route"], row["status"]) for row in keyed.audit_rows()]
    assert rows == [
        ("anonymous", "/halt", 401),
        ("read-key", "/halt", 403),
        ("halt-key", "/halt", 422),
        ("halt-key", "/halt", 200),
        ("anonymous", "unmatched", 404),
    ]


def test_the_audit_says_what_was_asked_and_why_it_was_refused(bench: Bench) -> None:
    bench.post("/halt", {"reason": "odd prices"})
    bench.post("/resume", {"state": "UP", "reason": "x"})
    asked, refused = bench.audit_rows()
    assert "odd prices" in asked["detail"]
    assert "state" in refused["detail"]


def test_the_audit_says_when_and_from_where_and_never_shows_a_key(keyed: Bench) -> None:
    """Newest first, in pages."""
    keyed.post("/halt", HALT, headers={"Authorization": "Bearer wrong-key"})
    keyed.clock.at += timedelta(seconds=5)
    keyed.post("/halt", HALT, headers=bearer("halt"))
    newest = keyed.get("/audit?limit=1", headers=bearer("read")).json
    [allowed] = newest["items"]
    older = f"/audit?limit=1&before={newest['next_before']}"
    [refused] = keyed.get(older, headers=bearer("read")).json["items"]
    names = ("actor", "status", "source", "at")
    assert [allowed[name] for name in names] == [
        *("halt-key", 200, "127.0.0.1", "2025-11-22T12:00:05Z")
    ]
    assert [refused[name] for name in names] == [
        *("anonymous", 401, "127.0.0.1", "2025-11-22T12:00:00Z")
    ]
    rows = str(keyed.audit_rows())
    assert "wrong-key" not in rows
    assert "halt-halt" not in rows


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_every_method_that_may_change_something_is_written_down(bench: Bench, method: str) -> None:
    bench.app.test_client().open("/orders", method=method)
    [row] = bench.audit_rows()
    assert (row["method"], row["status"]) == (method, 405)


def test_reads_are_not_written_down(bench: Bench) -> None:
    bench.get("/status")
    assert bench.audit_rows() == []


def test_a_post_answers_although_the_audit_cannot_be_written(bench: Bench) -> None:
    bench.break_ledger()
    assert bench.post("/halt", HALT).status_code == 200


@pytest.mark.parametrize(("path", "body"), [("/start", None), ("/stop", None), ("/cycle", {})])
def test_a_repeated_key_gets_the_first_answer_again(bench: Bench, path: str, body: object) -> None:
    key = {"Idempotency-Key": "wish-1"}
    first = bench.post(path, body, headers=key)
    bench.clock.at += timedelta(seconds=30)
    again = bench.post(path, body, headers=key)
    assert "Idempotent-Replay" not in first.headers
    assert again.headers["Idempotent-Replay"] == "true"
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert len(bench.dispatcher.sent) == (0 if path == "/stop" else 1)


def test_a_repeated_key_with_another_body_is_refused(bench: Bench) -> None:
    key = {"Idempotency-Key": "wish-1"}
    bench.post("/cycle", {}, headers=key)
    answer = bench.post("/cycle", {"dry_run": True}, headers=key)
    assert answer.status_code == 422
    assert answer.json["type"].endswith("/idempotency-key-reused")


def test_a_key_is_forgotten_after_a_day(bench: Bench) -> None:
    key = {"Idempotency-Key": "wish-1"}
    bench.post("/start", headers=key)
    bench.clock.at += timedelta(hours=24, seconds=1)
    assert "Idempotent-Replay" not in bench.post("/start", headers=key).headers


def test_a_refusal_is_not_kept_under_its_key(bench: Bench) -> None:
    key = {"Idempotency-Key": "wish-1"}
    bench.vitals.live_workers, workers = (), bench.vitals.live_workers
    assert bench.post("/start", headers=key).status_code == 409
    bench.vitals.live_workers = workers
    assert bench.post("/start", headers=key).status_code == 200


def test_keys_of_different_routes_and_callers_never_meet(keyed: Bench) -> None:
    key = {"Idempotency-Key": "wish-1"}
    keyed.post("/start", headers=bearer("control") | key)
    for path, scope in (("/stop", "control"), ("/start", "admin")):
        answer = keyed.post(path, headers=bearer(scope) | key)
        assert "Idempotent-Replay" not in answer.headers


def test_two_callers_with_one_key_ask_for_two_cycles(keyed: Bench) -> None:
    key = {"Idempotency-Key": "wish-1"}
    assert keyed.post("/cycle", headers=bearer("cycle") | key).status_code == 202
    assert keyed.post("/cycle", headers=bearer("admin") | key).status_code == 409


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 129])
def test_an_impossible_key_is_refused(bench: Bench, key: str) -> None:
    assert bench.post("/cycle", headers={"Idempotency-Key": key}).status_code == 422
    assert bench.dispatcher.sent == []


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/start", {"surprise": 1}, "surprise"),
        ("/stop", {"surprise": 1}, "surprise"),
        ("/cycle", {"surprise": 1}, "surprise"),
        ("/cycle", {"symbols": "BTC/USD"}, "symbols"),
        ("/cycle", {"symbols": [""]}, "symbols[0]"),
        ("/cycle", {"symbols": ["BTC\u0000USD"]}, "symbols[0]"),
        ("/cycle", {"dry_run": "yes"}, "dry_run"),
        ("/halt", {}, "reason"),
        ("/halt", {"reason": "now", "surprise": 1}, "surprise"),
        ("/halt", {"reason": "now", "cancel_open": 1}, "cancel_open"),
        ("/halt", {"reason": "a\u0000b"}, "reason"),
        ("/halt", {"reason": "a line\n"}, "reason"),
        ("/resume", {"state": "HALTED", "reason": "x"}, "state"),
        ("/resume", {"state": "ACTIVE"}, "reason"),
    ],
)
def test_a_wrong_field_is_refused_by_name(
    bench: Bench, path: str, body: object, field: str
) -> None:
    answer = bench.post(path, body)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == field
    assert bench.dispatcher.sent == []
    assert not bench.execution.halted


def test_an_oversized_body_is_refused(bench: Bench) -> None:
    answer = bench.app.test_client().post("/halt", data=b" " * 16385)
    assert answer.status_code == 413
    assert answer.content_type == "application/problem+json"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["symbols", "dry_run", "reason", "state", "cancel_open", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from([path for path, _ in POSTS]),
    json=JSON,
    raw=st.binary(max_size=40),
    as_json=st.booleans(),
    wait=st.sampled_from(["", "?wait=0", "?wait=x", "?wait=1e999", "?x=1", "?wait=%00"]),
)
def test_no_body_at_all_makes_the_server_fail(
    bench: Bench, *, path: str, json: object, raw: bytes, as_json: bool, wait: str
) -> None:
    """Whatever is sent, the answer is a success or a problem document below 500."""
    client = bench.app.test_client()
    options: dict[str, Any] = {"json": json} if as_json else {"data": raw}
    answer = client.post(f"{path}{wait}", **options)
    assert answer.status_code < 500
    assert answer.content_type in {"application/json", "application/problem+json"}
    assert answer.json is not None


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from(["/cycles", "/orders", "/performance", "/status", "/config", "/metrics"]),
    query=st.dictionaries(
        st.sampled_from(["limit", "before", "state", "symbol", "window", "x"]),
        st.text(max_size=6) | st.integers().map(str),
        max_size=2,
    ),
    identity=st.text(max_size=6),
)
def test_no_query_at_all_makes_the_server_fail(
    bench: Bench, path: str, query: dict[str, str], identity: str
) -> None:
    client = bench.app.test_client()
    assert client.get(path, query_string=query).status_code < 500
    assert client.get(f"/orders/{identity.replace('/', '')}").status_code < 500
