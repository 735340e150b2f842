"""One call over real HTTP, against everything a service can do wrong."""

from __future__ import annotations

import os
import socket
import threading
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path

import msgspec
import pytest
import structlog

from engine.call_deadline import calls_within
from engine.clients.observer import CallOutcome
from engine.clients.rate_limit import RateLimited
from engine.clients.transport import Transport
from engine.errors import (
    BadPayload,
    CircuitOpen,
    ConfigError,
    ServiceRejected,
    ServiceUnavailable,
)
from tests.clients_kit import Heard, make_transport
from tests.faulty_server import (
    HALF_BODY,
    HALF_JSON,
    HANG,
    HTML,
    HUGE,
    NAN,
    REDIRECT,
    RESET,
    TRICKLE,
    TRICKLE_HEADERS,
    FaultyServer,
    Reply,
    answer,
    problem,
)


class Thing(msgspec.Struct):
    """What the scripted service serves."""

    value: Decimal
    at: datetime | None = None


OK = answer({"value": "1"})


def get(transport: Transport, timeout_s: float | None = None, *, idempotent: bool = True) -> Thing:
    return transport.call("GET", "/thing", answer=Thing, idempotent=idempotent, timeout_s=timeout_s)


def test_an_answer_is_decoded_into_its_type() -> None:
    with FaultyServer(OK) as server:
        assert get(make_transport(server.url)) == Thing(value=Decimal(1))


@pytest.mark.parametrize(
    "reply",
    [
        HTML,
        HALF_JSON,
        NAN,
        REDIRECT,
        Reply(body=b'{"value": "NaN"}'),
        Reply(body=b'{"value": "Infinity"}'),
        Reply(body=b'{"value": "1E+9999"}'),
        Reply(body=b'{"value": [1]}'),
        Reply(body=b"{}"),
        Reply(body=b""),
        Reply(body=b"[" * 100_000),
        Reply(body=b'{"value": "\xff"}'),
        answer({"value": "1", "at": "2025-11-22T12:00:00"}),
        answer({"value": "1", "at": "2025-11-22T12:00:00+02:00"}),
        Reply(body=OK.body, headers={"Content-Encoding": "gzip"}),
        Reply(body=OK.body, content_type="text/plain"),
    ],
    ids=lambda reply: f"{reply.status} {reply.content_type} {reply.body[:30]!r}",
)
def test_garbage_is_a_bad_payload_and_not_asked_for_again(reply: Reply) -> None:
    with FaultyServer(reply) as server:
        with pytest.raises(BadPayload):
            get(make_transport(server.url))
        assert len(server.asked) == 1


def test_an_answer_beyond_the_cap_is_refused_without_being_read_whole() -> None:
    with FaultyServer(HUGE) as server:
        started = time.monotonic()
        with pytest.raises(BadPayload, match="larger than 65536"):
            get(make_transport(server.url, max_answer_bytes=65536))
        assert time.monotonic() - started < 1


def test_an_answer_of_too_many_values_is_refused_before_it_is_decoded() -> None:
    body = b'{"value": [' + b"0," * 1_000_000 + b"0]}"
    with FaultyServer(Reply(body=body)) as server, pytest.raises(BadPayload, match="values"):
        get(make_transport(server.url, max_answer_bytes=33554432))


@pytest.mark.parametrize("reply", [HANG, TRICKLE, TRICKLE_HEADERS], ids=lambda reply: reply.how)
def test_a_call_ends_at_its_deadline_whatever_the_service_does(reply: Reply) -> None:
    with FaultyServer(reply) as server:
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="no answer in time"):
            get(make_transport(server.url), timeout_s=0.3)
        assert 0.25 < time.monotonic() - started < 0.6


def test_a_service_that_does_not_read_a_large_body_costs_no_more_than_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = make_transport(f"http://127.0.0.1:{listener.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable) as raised:
            transport.send("POST", "/", body=b" " * 20_000_000, idempotent=False, timeout_s=0.3)
        assert time.monotonic() - started < 0.7
        assert raised.value.accepted is None


def test_a_kept_connection_has_no_more_time_than_the_call_that_uses_it_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def answer_once_and_read_no_more() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(OK.head() + OK.body)
                done.wait(5)

        server = threading.Thread(target=answer_once_and_read_no_more)
        server.start()
        transport = make_transport(f"http://127.0.0.1:{listener.getsockname()[1]}")
        get(transport)
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="in time"):
            transport.send("POST", "/", body=b" " * 20_000_000, idempotent=False, timeout_s=0.3)
        assert time.monotonic() - started < 0.8
        done.set()
        server.join()


@pytest.mark.parametrize(
    "reply", [RESET, HALF_BODY, problem(500), problem(502)], ids=lambda reply: reply.how
)
def test_a_transient_failure_of_an_idempotent_call_is_repeated(reply: Reply) -> None:
    with FaultyServer([reply, OK]) as server:
        assert get(make_transport(server.url)).value == 1
        assert len(server.asked) == 2


@pytest.mark.parametrize("reply", [RESET, problem(500), problem(429)], ids=["reset", "500", "429"])
def test_a_call_that_is_not_idempotent_is_never_repeated(reply: Reply) -> None:
    with FaultyServer(reply) as server:
        with pytest.raises(ServiceUnavailable):
            get(make_transport(server.url), idempotent=False)
        assert len(server.asked) == 1


def test_retries_are_at_most_the_configured_number() -> None:
    with FaultyServer(problem(500)) as server:
        transport = make_transport(server.url, retries=1)
        with pytest.raises(ServiceUnavailable):
            get(transport)
        assert len(server.asked) == 2


def test_an_outage_raises_the_number_of_requests_by_a_fifth_at_most() -> None:
    with FaultyServer(problem(500)) as server:
        breaker = {"failures": 1000, "reset_s": 15}
        transport = make_transport(server.url, breaker=breaker, sleep=lambda _seconds: None)
        for _ in range(100):
            with pytest.raises(ServiceUnavailable):
                get(transport)
        assert 115 <= len(server.asked) <= 122


def test_the_pause_before_a_retry_is_jittered_over_the_whole_range() -> None:
    pauses: list[float] = []
    with FaultyServer([problem(500), OK]) as server:
        transport = make_transport(server.url, random=lambda: 0.5, sleep=pauses.append)
        get(transport)
    assert pauses == [0.05]


def test_nothing_is_repeated_where_no_time_is_left() -> None:
    with FaultyServer(problem(500)) as server:
        transport = make_transport(server.url, random=lambda: 1.0)
        with pytest.raises(ServiceUnavailable):
            get(transport, timeout_s=0.09)
        assert len(server.asked) == 1


def test_calls_end_with_the_cycle_they_are_made_for() -> None:
    with FaultyServer(HANG) as server:
        transport = make_transport(server.url)
        started = time.monotonic()
        with calls_within(0.2), pytest.raises(ServiceUnavailable):
            get(transport)
        assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(
    "wait_s", ["1", pytest.param(lambda: format_datetime(later(1), usegmt=True), id="http-date")]
)
def test_retry_after_is_waited_for(wait_s: str | Callable[[], str]) -> None:
    text = wait_s if isinstance(wait_s, str) else wait_s()
    with FaultyServer([problem(503, headers={"Retry-After": text}), OK]) as server:
        get(make_transport(server.url, clock=Truncated()))
        first, second = server.asked
        assert 0.95 < second.at - first.at < 1.9


class Truncated:
    """A clock of whole seconds, so that an HTTP date is exactly so far away."""

    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)


def later(seconds: int) -> datetime:
    return Truncated().now() + timedelta(seconds=seconds)


def test_retry_after_beyond_the_deadline_ends_the_call_at_once() -> None:
    reply = problem(429, headers={"Retry-After": "60"})
    with FaultyServer(reply) as server:
        transport = make_transport(server.url)
        started = time.monotonic()
        with pytest.raises(RateLimited):
            get(transport)
        assert time.monotonic() - started < 0.5
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_a_4xx_is_a_refusal_with_its_kind_and_does_not_open_the_breaker(status: int) -> None:
    with FaultyServer(problem(status, "fenced", detail="epoch 3")) as server:
        transport = make_transport(server.url, breaker={"failures": 1, "reset_s": 15})
        for _ in range(2):
            with pytest.raises(ServiceRejected, match="epoch 3") as raised:
                get(transport)
        assert (raised.value.status, raised.value.kind) == (status, "fenced")
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("reply", "accepted"),
    [
        (problem(503, accepted=False), False),
        (problem(429, accepted=False), False),
        (problem(503), None),
        (problem(503, accepted="false"), None),
        (problem(500, accepted=False), None),
        (Reply(status=503, body=b"<html>", content_type="text/html"), None),
    ],
)
def test_only_an_explicit_word_of_429_or_503_says_that_nothing_happened(
    reply: Reply, *, accepted: bool | None
) -> None:
    with FaultyServer(reply) as server:
        with pytest.raises(ServiceUnavailable) as raised:
            get(make_transport(server.url, retries=0))
        assert raised.value.accepted is accepted


def test_when_nobody_listens_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServiceUnavailable) as raised:
        get(make_transport(f"http://127.0.0.1:{port}"), idempotent=False)
    assert raised.value.accepted is False


def test_a_reset_after_sending_says_nothing_about_the_effect() -> None:
    with FaultyServer(RESET) as server:
        with pytest.raises(ServiceUnavailable) as raised:
            get(make_transport(server.url), idempotent=False)
        assert raised.value.accepted is None


@pytest.mark.parametrize(
    "reply", [problem(500), problem(429), RESET, HTML, HANG], ids=["500", "429", "r", "html", "h"]
)
def test_failures_open_the_breaker_and_then_nobody_is_asked(reply: Reply) -> None:
    with FaultyServer(reply) as server:
        transport = make_transport(
            server.url, retries=0, breaker={"failures": 2, "reset_s": 15}, sleep=lambda _: None
        )
        transport._limiter.slow_down = lambda _seconds: None  # type: ignore[method-assign]
        for _ in range(2):
            with pytest.raises((ServiceUnavailable, BadPayload)):
                get(transport, timeout_s=0.1)
        with pytest.raises(CircuitOpen) as raised:
            get(transport)
        assert raised.value.accepted is False
        assert len(server.asked) == 2


def test_every_request_is_observed_with_its_outcome() -> None:
    heard = Heard()
    script = [problem(500), OK, problem(409), HTML]
    with FaultyServer(script) as server:
        transport = make_transport(
            server.url, observer=heard, breaker={"failures": 1000, "reset_s": 15}
        )
        get(transport)
        with pytest.raises(ServiceRejected):
            get(transport)
        with pytest.raises(BadPayload):
            get(transport)
    expected = [
        CallOutcome.UNAVAILABLE,
        CallOutcome.OK,
        CallOutcome.REJECTED,
        CallOutcome.BAD_PAYLOAD,
    ]
    assert heard.outcomes == expected
    assert {service for service, _ in heard.calls} == {"execution"}


def test_requests_carry_ids_and_key_and_no_cookies(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("from-a-file\n")
    structlog.contextvars.clear_contextvars()  # an app that was called here binds its own
    reply = answer({"value": "1"}, Set_Cookie="session=1; Path=/")
    with FaultyServer(reply) as server:
        transport = make_transport(server.url, key_file=str(key_file))
        with structlog.contextvars.bound_contextvars(request_id="r-1", cycle_id="c-1"):
            get(transport)
        get(transport)
    first, second = (asked.headers for asked in server.asked)
    assert first["x-request-id"] == "r-1"
    assert first["x-cycle-id"] == "c-1"
    assert first["authorization"] == "Bearer from-a-file"
    assert len(second["x-request-id"]) == 36
    assert "x-cycle-id" not in second
    assert "cookie" not in second


def test_a_key_file_that_cannot_be_read_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"services\.execution\.key_file"):
        make_transport("http://127.0.0.1:1", key_file="/nonexistent/key")


def test_connections_are_kept_and_a_forked_child_makes_its_own() -> None:
    with FaultyServer(OK) as server:
        transport = make_transport(server.url)
        get(transport)
        mine = transport._pools.to(transport.settings.base_url)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the server's threads stay behind
            child = os.fork()
        if child == 0:
            try:
                is_other = transport._pools.to(transport.settings.base_url) is not mine
                is_fine = get(transport).value == 1
            finally:
                os._exit(0 if is_other and is_fine else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert transport._pools.to(transport.settings.base_url) is mine
        assert get(transport).value == 1


def test_a_permit_that_ran_out_before_sending_is_asked_for_again() -> None:
    with FaultyServer(OK) as server:
        transport = make_transport(server.url)
        limiter = transport._limiter
        acquire = limiter.acquire
        permits = iter([-1.0])

        def stale_first(ends_at: float, *, priority: bool = False) -> float:
            return next(permits, None) or acquire(ends_at, priority=priority)

        limiter.acquire = stale_first  # type: ignore[method-assign]
        assert get(transport).value == 1
        assert len(server.asked) == 1
