"""The server over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from flask import Flask

from engine.errors import ConfigError
from tests.integration.stack import wait_for
from web import KeyRing, RunningServer, create_app, route, serve
from web.server import _Channel

LIMIT = 1000


def build(name: str = "market_data") -> Flask:
    return create_app(
        name=name,
        title="Sample",
        version="1",
        description="",
        keys=KeyRing(),
        max_body_bytes=LIMIT,
    )


@pytest.fixture
def server() -> Iterator[RunningServer]:
    app = build()

    @route(app, "POST", "/bare", summary="No body")
    def bare() -> dict[str, str]:
        return {"done": "yes"}

    running = serve(app, "127.0.0.1", 0, 4)
    yield running
    running.close()


def raw_exchange(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(data)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_port_0_is_a_free_port_and_it_answers_at_once(server: RunningServer) -> None:
    assert server.port > 0
    assert requests.get(f"{server.url}/health", timeout=5).json()["status"] == "ok"


def test_no_answer_names_the_software(server: RunningServer) -> None:
    assert "Server" not in requests.get(f"{server.url}/health", timeout=5).headers


@pytest.mark.parametrize("size", [LIMIT + 1, 3_000_000])
def test_a_large_body_is_413_with_a_problem_document(server: RunningServer, size: int) -> None:
    answer = requests.post(f"{server.url}/bare", data=b"x" * size, timeout=5)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 413


def test_a_chunked_body_is_limited_though_it_names_no_length(server: RunningServer) -> None:
    chunks = (b"x" * 400 for _ in range(10))
    answer = requests.post(f"{server.url}/bare", data=chunks, timeout=5)
    assert answer.status_code == 413


def test_what_is_no_http_is_400_with_a_problem_document(server: RunningServer) -> None:
    answer = raw_exchange(server.port, b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
    assert answer.split()[1] == b"400"
    assert b"application/problem+json" in answer


def test_a_busy_port_is_one_line_with_the_setting_that_names_it(server: RunningServer) -> None:
    with pytest.raises(ConfigError) as caught:
        serve(build(), "127.0.0.1", server.port, 2)
    assert len(caught.value.faults) == 1
    assert "services.market_data.port" in caught.value.faults[0]
    assert str(server.port) in caught.value.faults[0]


def test_a_request_in_progress_is_answered_while_the_server_closes() -> None:
    entered, release = threading.Event(), threading.Event()
    app = build()

    @route(app, "GET", "/slow", summary="Slow")
    def slow() -> dict[str, str]:
        entered.set()
        assert release.wait(5)
        return {"done": "yes"}

    running = serve(app, "127.0.0.1", 0, 2)
    answers: list[int] = []
    asking = threading.Thread(
        target=lambda: answers.append(requests.get(f"{running.url}/slow", timeout=5).status_code)
    )
    asking.start()
    assert entered.wait(5)
    closing = threading.Thread(target=running.close)
    closing.start()
    release.set()
    closing.join(5)
    asking.join(5)
    assert answers == [200]


def test_close_frees_the_port_and_may_be_called_twice(server: RunningServer) -> None:
    server.close()
    server.close()
    again = serve(build(), "127.0.0.1", server.port, 1)
    assert requests.get(f"{again.url}/health", timeout=5).status_code == 200
    again.close()


def test_a_thread_is_started_only_when_a_request_finds_none_idle() -> None:
    arrived = threading.Barrier(3, timeout=5)
    served_by: set[str] = set()
    app = build()

    @route(app, "GET", "/alone", summary="Alone")
    def alone() -> dict[str, str]:
        served_by.add(threading.current_thread().name)
        return {}

    @route(app, "GET", "/together", summary="Together")
    def together() -> dict[str, str]:
        arrived.wait()
        return {}

    running = serve(app, "127.0.0.1", 0, 3)
    with requests.Session() as session:
        for _ in range(20):
            session.get(f"{running.url}/alone", timeout=5)
    with ThreadPoolExecutor(3) as askers:
        answers = list(
            askers.map(lambda _: requests.get(f"{running.url}/together", timeout=9), range(3))
        )
    running.close()
    assert len(served_by) <= 2  # one may still be writing its answer when the next request comes
    assert [answer.status_code for answer in answers] == [200] * 3


def test_more_requests_than_threads_wait_their_turn(caplog: pytest.LogCaptureFixture) -> None:
    entered, release = threading.Event(), threading.Event()
    app = build()

    @route(app, "GET", "/held", summary="Held")
    def held() -> dict[str, str]:
        entered.set()
        assert release.wait(5)
        return {}

    running = serve(app, "127.0.0.1", 0, 1)
    with ThreadPoolExecutor(2) as askers, caplog.at_level("WARNING", "waitress.queue"):
        first = askers.submit(requests.get, f"{running.url}/held", timeout=9)
        assert entered.wait(5)
        second = askers.submit(requests.get, f"{running.url}/health", timeout=9)
        wait_for(lambda: "Task queue depth is 1" in caplog.text, 5, "a warning of the queue")
        release.set()
        assert [first.result().status_code, second.result().status_code] == [200, 200]
    running.close()


def serve_body(size: int) -> RunningServer:
    app = build()

    @route(app, "GET", "/body", summary="So many bytes")
    def body() -> bytes:
        return b"7" * size

    return serve(app, "127.0.0.1", 0, 2)


def test_an_answer_leaves_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    send = _Channel.send

    def noted(channel: _Channel, data: bytes, **options: bool) -> int:
        sent.append(data)
        return int(send(channel, data, **options))

    monkeypatch.setattr(_Channel, "send", noted)
    running = serve_body(10)
    try:
        answer = requests.get(f"{running.url}/body", timeout=5)
    finally:
        running.close()
    assert answer.content == b"7" * 10
    assert len(sent) == 1
    assert sent[0].endswith(b"\r\n\r\n7777777777")


def test_the_loop_leaves_a_connection_alone_while_its_answer_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It went round and round otherwise: there is room to write, and another thread writes."""
    asked, woken = [], []
    send, writable = _Channel.send, _Channel.writable

    def slow(channel: _Channel, data: bytes, **options: bool) -> int:
        before = len(asked)
        channel.server.pull_trigger()
        wait_for(lambda: len(asked) > before + 2, 5, "the loop looks at the connection again")
        return int(send(channel, data, **options))

    def looked(channel: _Channel) -> bool:
        asked.append(channel)
        channel.server.pull_trigger()  # and comes back
        return writable(channel)

    monkeypatch.setattr(_Channel, "send", slow)
    monkeypatch.setattr(_Channel, "writable", looked)
    monkeypatch.setattr(_Channel, "handle_write", woken.append)
    running = serve_body(10)
    try:
        assert requests.get(f"{running.url}/body", timeout=5).status_code == 200
    finally:
        running.close()
    assert woken == []


def test_a_large_answer_arrives_whole_however_late_it_is_read() -> None:
    size = 20_000_000
    running = serve_body(size)
    try:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            connection.connect(("127.0.0.1", running.port))
            connection.sendall(
                b"GET /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            answer = b"".join(iter(lambda: connection.recv(1_000_000), b""))
    finally:
        running.close()
    assert answer.endswith(b"\r\n\r\n" + b"7" * size)
