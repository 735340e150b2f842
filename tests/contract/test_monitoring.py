"""The monitoring service's contract: events once, counted and kept; alerts to webhooks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from flask import Flask, Response, redirect, request
from flask.testing import FlaskClient

from engine.settings import Settings
from services.monitoring.app import create_app
from services.monitoring.webhooks import HttpPost
from web import KeyRing, RunningServer, route, serve
from web import create_app as create_web_app

Build = Callable[..., Flask]


class RecordingPost:
    """Keeps what is posted; fails `failures` times first; blocks until `gate` is open."""

    def __init__(self, failures: int = 0, gate: threading.Event | None = None) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.attempts = 0
        self._failures = failures
        self._gate = gate
        self._changed = threading.Condition()

    def __call__(self, url: str, body: bytes) -> None:
        if self._gate is not None:
            self._gate.wait(10)
        with self._changed:
            self.attempts += 1
            self._changed.notify_all()
            if self.attempts <= self._failures:
                raise requests.ConnectionError("refused")
            self.sent.append((url, msgspec.json.decode(body)))

    def wait_for(self, sent: int) -> list[tuple[str, dict[str, Any]]]:
        """What was sent, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.sent) >= sent, timeout=5)
            return self.sent


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    apps: list[Flask] = []

    def make(post: RecordingPost | None = None, **section: Any) -> Flask:
        values = {"webhook_pause_s": 0.001, **section}
        settings = Settings.model_validate(
            {"data_dir": str(tmp_path), "services": {"monitoring": values}}
        )
        apps.append(create_app(settings, post=post or RecordingPost()))
        return apps[-1]

    yield make
    for app in apps:
        app.extensions["monitoring"].close()


@pytest.fixture
def client(build: Build) -> FlaskClient:
    return build().test_client()


def event(event_id: str = "e-1", **changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "event_id": event_id,
        "type": "cycle",
        "at": "2026-01-01T00:00:00Z",
        "severity": "info",
        "cycle_id": "c-1",
        "data": {"status": "COMPLETED"},
    }
    return values | changed


def post_events(client: FlaskClient, *events: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/events", json={"events": list(events)})
    assert answer.status_code == 200, answer.get_json()
    taken: dict[str, Any] = answer.get_json()
    return taken


def listed(client: FlaskClient, query: str = "") -> list[str]:
    return [each["event_id"] for each in client.get(f"/events{query}").get_json()["events"]]


def test_an_event_is_listed_as_it_was_sent(client: FlaskClient) -> None:
    given = event(data={"status": "DEGRADED", "nested": {"a": [1, None, "x"]}})
    assert post_events(client, given) == {"accepted": 1, "duplicates": 0}
    assert client.get("/events").get_json() == {"events": [given]}


def test_an_event_id_counts_once_within_a_call_and_across_calls(client: FlaskClient) -> None:
    assert post_events(client, event("a"), event("a")) == {"accepted": 1, "duplicates": 1}
    again = event("a", severity="critical")
    assert post_events(client, again, event("b")) == {"accepted": 1, "duplicates": 1}
    assert listed(client) == ["b", "a"]
    assert client.get("/summary").get_json()["by_severity"] == {"info": 2}


def test_events_are_listed_newest_first_and_filtered(client: FlaskClient) -> None:
    post_events(
        client,
        event("a"),
        event("b", type="alert", severity="warning"),
        event("c", type="alert", severity="critical"),
    )
    assert listed(client) == ["c", "b", "a"]
    assert listed(client, "?type=alert") == ["c", "b"]
    assert listed(client, "?severity=warning") == ["b"]
    assert listed(client, "?type=alert&severity=info") == []
    assert listed(client, "?limit=1") == ["c"]


def test_events_and_counts_survive_a_restart(build: Build) -> None:
    post_events(build().test_client(), event("a"), event("b", type="alert"))
    restarted = build().test_client()
    assert listed(restarted) == ["b", "a"]
    assert post_events(restarted, event("a")) == {"accepted": 0, "duplicates": 1}
    assert restarted.get("/summary").get_json()["events"] == 2


def test_the_oldest_go_when_there_are_more_than_are_kept_and_stay_counted(build: Build) -> None:
    client = build(keep_events=3).test_client()
    post_events(client, *(event(f"e{number}") for number in range(5)))
    post_events(client, event("last"))
    assert listed(client) == ["last", "e4", "e3"]
    summary = client.get("/summary").get_json()
    assert (summary["events"], summary["stored"]) == (6, 3)


def test_the_summary_counts_and_shows_the_latest(client: FlaskClient) -> None:
    empty = client.get("/summary").get_json()
    assert (empty["events"], empty["last_cycle"], empty["last_event_at"]) == (0, None, None)
    post_events(client, event("a"), event("b"), event("c", type="alert", severity="warning"))
    summary = client.get("/summary").get_json()
    assert summary["by_type"] == {"cycle": 2, "alert": 1}
    assert summary["by_severity"] == {"info": 2, "warning": 1}
    assert summary["last_cycle"]["event_id"] == "b"
    assert [alert["event_id"] for alert in summary["last_alerts"]] == ["c"]
    assert summary["last_event_at"] == "2026-01-01T00:00:00Z"


def test_metrics_count_events_by_type_and_severity(client: FlaskClient) -> None:
    post_events(client, event("a"), event("b"), event("c", type="alert", severity="critical"))
    text = client.get("/metrics").get_data(as_text=True)
    assert 'monitoring_events_total{severity="info",type="cycle"} 2.0' in text
    assert 'monitoring_events_total{severity="critical",type="alert"} 1.0' in text
    assert "monitoring_events_stored 3.0" in text
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"severity": "loud"}, "events[0].severity"),
        ({"type": "Not A Type"}, "events[0].type"),
        ({"at": "yesterday"}, "events[0].at"),
        ({"at": "2026-01-01T00:00:00"}, "events[0].at"),
        ({"event_id": ""}, "events[0].event_id"),
        ({"data": [1]}, "events[0].data"),
        ({"colour": "red"}, "events[0].colour"),
    ],
)
def test_a_wrong_event_is_422_and_nothing_of_the_call_is_taken(
    client: FlaskClient, changed: dict[str, Any], field: str
) -> None:
    answer = client.post("/events", json={"events": [event(**changed), event("good")]})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == field
    assert listed(client) == []


@pytest.mark.parametrize("query", ["?limit=0", "?limit=501", "?severity=loud", "?colour=red"])
def test_a_wrong_query_is_422(client: FlaskClient, query: str) -> None:
    assert client.get(f"/events{query}").status_code == 422


def test_health_says_down_when_the_file_is_gone_bad(build: Build, tmp_path: Path) -> None:
    client = build().test_client()
    assert client.get("/health").get_json()["status"] == "ok"
    for file in tmp_path.glob("monitoring.sqlite*"):
        file.write_bytes(b"not a database at all" * 400)
    answer = client.get("/health")
    assert (answer.status_code, answer.get_json()["status"]) == (503, "down")


def test_alerts_go_to_every_webhook_and_other_events_to_none(build: Build) -> None:
    post = RecordingPost()
    urls = ["https://a.example/hook", "https://b.example/hook"]
    client = build(post, webhooks=urls).test_client()
    alert = event("x", type="alert", severity="warning", data={"name": "down", "detail": "why"})
    post_events(client, event("a"), event("b", severity="warning"), alert)
    sent = post.wait_for(2)
    assert sorted(url for url, _ in sent) == urls
    body = sent[0][1]
    assert body["event_id"] == "x"
    assert body["data"] == {"name": "down", "detail": "why"}
    assert body["text"] == "[PAPER] WARNING down | why | cycle c-1"


def engine_alert(number: int, phase: str, **data: Any) -> dict[str, Any]:
    """As the engine tells of an alert's opening and end."""
    opened = "2026-01-01T07:01:12+00:00"
    values = {
        "about": "execution_down",
        "name": "execution_down",
        "phase": phase,
        "mode": "PAPER",
        "account": "main",
        "detail": "2 orders UNKNOWN",
        "effect": "nothing is sent",
        "since": opened,
        "runbook": "#execution_down",
    }
    return event(
        f"alert|{number}|{phase}",
        type="alert",
        at=opened if phase == "OPEN" else "2026-01-01T07:08:30Z",
        severity="critical" if phase == "OPEN" else "info",
        data=values | data,
    )


def test_an_alert_and_its_end_are_one_line_each(build: Build) -> None:
    post = RecordingPost()
    client = build(post, webhooks=["https://a.example"]).test_client()
    post_events(client, engine_alert(1, "OPEN"), engine_alert(1, "RESOLVED"))
    begun, ended = [body["text"].split(" | ") for _, body in post.wait_for(2)]
    assert begun == [
        "[PAPER] CRITICAL execution_down",
        "since 07:01:12",
        "2 orders UNKNOWN; nothing is sent",
        "runbook #execution_down",
        "cycle c-1",
    ]
    assert ended == [
        "[PAPER] RESOLVED execution_down",
        "after 7 min",
        "since 07:01:12",
        "2 orders UNKNOWN",
        "runbook #execution_down",
        "cycle c-1",
    ]


def test_what_is_open_is_not_told_again_and_an_end_without_a_beginning_neither(
    build: Build,
) -> None:
    """Also after a restart; another alert, and a new one after the end, are told."""
    post = RecordingPost()
    client = build(post, webhooks=["https://a.example"]).test_client()
    post_events(client, engine_alert(1, "RESOLVED"), engine_alert(1, "OPEN"))
    post_events(client, engine_alert(2, "OPEN"))
    post.wait_for(1)
    client = build(post, webhooks=["https://a.example"]).test_client()
    post_events(client, engine_alert(3, "OPEN"), engine_alert(4, "OPEN", about="redis_down"))
    post_events(client, engine_alert(5, "RESOLVED"), engine_alert(6, "OPEN"))
    assert [body["event_id"] for _, body in post.wait_for(4)] == [
        *("alert|1|OPEN", "alert|4|OPEN", "alert|5|RESOLVED", "alert|6|OPEN")
    ]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({"text": "$text"}, {"text": "[LIVE] WARNING down | why | cycle c-1"}),
        (
            {"chat_id": -100, "text": "$severity $name: $detail", "silent": False},
            {"chat_id": -100, "text": "WARNING down: why", "silent": False},
        ),
        ({"a": [{"b": "$about$$"}, None]}, {"a": [{"b": "$"}, None]}),
    ],
)
def test_a_template_makes_the_body(
    build: Build, template: dict[str, Any], expected: dict[str, Any]
) -> None:
    """For Slack, for Telegram, and for whatever else takes JSON."""
    post = RecordingPost()
    hook = {"url": "https://a.example/hook", "body": template}
    client = build(post, webhooks=[hook]).test_client()
    alert = event(
        type="alert", severity="warning", data={"name": "down", "detail": "why", "mode": "LIVE"}
    )
    post_events(client, alert)
    assert post.wait_for(1) == [("https://a.example/hook", expected)]


def test_no_text_of_an_alert_can_break_out_of_its_place_in_a_template(build: Build) -> None:
    post = RecordingPost()
    hook = {"url": "https://a.example/hook", "body": {"text": "$detail"}}
    client = build(post, webhooks=[hook]).test_client()
    detail = '", "url": "$name", "x": "\n\u2028'
    post_events(client, event(type="alert", severity="warning", data={"detail": detail}))
    assert post.wait_for(1)[0][1] == {"text": detail}


@pytest.mark.parametrize("text", ["$unknown", "$", "${", "${text", "$9"])
def test_a_template_with_an_unknown_field_stops_the_start(build: Build, text: str) -> None:
    with pytest.raises(ValueError, match="a name out of text name about"):
        build(webhooks=[{"url": "https://a.example", "body": {"list": [text]}}])


def test_a_slow_address_holds_up_no_other(build: Build) -> None:
    gate = threading.Event()

    class Half(RecordingPost):
        def __call__(self, url: str, body: bytes) -> None:
            if "slow" in url:
                gate.wait(10)
            super().__call__(url, body)

    post = Half()
    client = build(post, webhooks=["https://slow.example", "https://a.example"]).test_client()
    post_events(client, *(event(str(number), severity="critical") for number in range(3)))
    assert {url for url, _ in post.wait_for(3)} == {"https://a.example"}
    gate.set()


def test_any_critical_event_is_an_alert_and_news_of_type_alert_is_none(build: Build) -> None:
    post = RecordingPost()
    client = build(post, webhooks=["https://a.example"]).test_client()
    post_events(client, event("news", type="alert"), event("bad", severity="critical"))
    assert [body["event_id"] for _, body in post.wait_for(1)] == ["bad"]


def test_a_repeated_alert_is_sent_once(build: Build) -> None:
    post = RecordingPost()
    client = build(post, webhooks=["https://a.example"]).test_client()
    post_events(client, event("x", severity="critical"))
    post_events(client, event("x", severity="critical"), event("y", severity="critical"))
    assert {body["event_id"] for _, body in post.wait_for(2)} == {"x", "y"}
    assert len(post.sent) == 2


def test_a_failed_post_is_tried_again_and_then_counted_as_failed(build: Build) -> None:
    post = RecordingPost(failures=2)
    client = build(post, webhooks=["https://a.example"], webhook_tries=3).test_client()
    post_events(client, event("x", severity="critical"))
    post.wait_for(1)
    assert post.attempts == 3
    hopeless = RecordingPost(failures=10)
    client = build(hopeless, webhooks=["https://a.example"], webhook_tries=2).test_client()
    post_events(client, event("y", severity="critical"))
    wait_until(lambda: client.get("/summary").get_json()["webhooks"]["failed"] == 1)
    assert hopeless.attempts == 2


def test_a_request_never_waits_for_a_webhook_and_what_is_too_much_is_dropped(
    build: Build,
) -> None:
    gate = threading.Event()
    client = build(RecordingPost(gate=gate), webhooks=["https://a.example"]).test_client()
    for page in range(2):
        post_events(
            client, *(event(f"{page}-{number}", severity="critical") for number in range(600))
        )
    assert client.get("/summary").get_json()["webhooks"]["dropped"] >= 100
    gate.set()


def wait_until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(500):
        if condition():
            return
        waiting.wait(0.01)
    pytest.fail("the condition did not come true within 5 s")


@pytest.fixture
def receiver() -> Iterator[tuple[RunningServer, list[bytes]]]:
    received: list[bytes] = []
    app = create_web_app(name="receiver", title="", version="1", description="", keys=KeyRing())

    def receive() -> str:
        received.append(request.get_data())
        return "taken"

    app.add_url_rule("/taken", view_func=receive, methods=["POST"])

    @route(app, "GET", "/elsewhere", summary="Where a redirect leads")
    def elsewhere() -> None:
        received.append(b"followed")

    def moved() -> Response:
        return redirect("/elsewhere")  # type: ignore[return-value]

    app.add_url_rule("/moved", view_func=moved, methods=["POST"])
    server = serve(app, "127.0.0.1", 0, 2)
    yield server, received
    server.close()


def test_a_post_is_one_request_with_the_body(
    receiver: tuple[RunningServer, list[bytes]],
) -> None:
    server, received = receiver
    HttpPost(timeout_s=2)(f"{server.url}/taken", b'{"a":1}')
    assert received == [b'{"a":1}']


def test_a_redirect_is_not_followed_and_fails(
    receiver: tuple[RunningServer, list[bytes]],
) -> None:
    server, received = receiver
    with pytest.raises(requests.RequestException):
        HttpPost(timeout_s=2)(f"{server.url}/moved", b"{}")
    with pytest.raises(requests.RequestException):
        HttpPost(timeout_s=2)(f"{server.url}/absent", b"{}")
    assert received == []
