"""Serving an app with waitress in a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from engine.errors import ConfigError
from web.problems import PROBLEM_TYPE, Problem, encode_problem, phrase
from web.routing import site_of

_POLL_S = 1.0
# Waitress reads 8 kB at a time and keeps what is larger than 0.5 MB in a file: the candles of a
# batch are 0.8 MB, and came in a hundred pieces, over the disk.
_RECEIVE_BYTES = 262144
_IN_MEMORY_BYTES = 8388608
# The app answers 413 itself up to here; what is larger is refused before it is read.
_READ_BEYOND_LIMIT_BYTES = 1048576


class _ProblemTask(ErrorTask):  # type: ignore[misc]
    """Answers what is not a usable HTTP request at all."""

    def execute(self) -> None:
        """Write the problem document and close the connection."""
        error = self.request.error
        problem = Problem(error.code, phrase(error.code), str(error.body))
        body = encode_problem(problem, "")
        self.status = f"{error.code} {phrase(error.code)}"
        self.response_headers.append(("Content-Type", PROBLEM_TYPE))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Task(WSGITask):  # type: ignore[misc]
    """Sends the head of an answer together with the first piece of its body."""

    def write(self, data: bytes) -> None:
        """Write a piece of the body, and the head before the first."""
        with self.channel.together():
            super().write(data)


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection whose loop leaves it alone while the thread of a request writes to it.

    Waitress has the loop ask for room to write as soon as there is something to send. There is, and
    the thread that put it there waits for the interpreter's lock to send it: the loop went round
    some twenty times a request meanwhile, a tenth of what the services cost.
    """

    error_task_class = _ProblemTask
    task_class = _Task
    _held: list[bytes] | None = None
    _is_sending = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send what is written inside in one piece."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
        self.write_soon(b"".join(held))

    def write_soon(self, data: Any) -> int:
        """Send what the peer takes at once and leave the rest to the loop; how many bytes."""
        if self._held is not None:
            self._held.append(data)
            return len(data)
        if self.total_outbufs_len:  # the loop has to send first, and this may wait for it
            return int(super().write_soon(data))
        self._is_sending = True
        try:
            return int(super().write_soon(data))
        finally:
            self._is_sending = False
            if self.total_outbufs_len:
                self.server.pull_trigger()

    def writable(self) -> bool:
        """Whether the loop has something to do once the peer takes more."""
        return not self._is_sending and bool(super().writable())


class _Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Starts a thread when a request finds none idle, up to `most`.

    Waitress starts all of them and wakes them in turn, so that every one comes to have a stack and
    a share of the allocator's memory, although two would do.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def add_task(self, task: Any) -> None:
        """Have it served by an idle thread, else by a new one, else by the next to be done."""
        with self.lock:
            self.queue.append(task)
            self.queue_cv.notify()
            running = len(self.threads) - self.stop_count
            waiting = len(self.queue) - (running - self.active_count)
        if waiting <= 0:
            return
        if running < self._most:
            self.set_thread_count(running + 1)
        else:
            self.queue_logger.warning("Task queue depth is %d", waiting)

    def shutdown(self, *given: Any, **options: Any) -> bool:
        """End the threads, and start none again."""
        self._most = 0
        return bool(super().shutdown(*given, **options))


class RunningServer:
    """A server that listens. `close` ends it; requests in progress get `grace_s` to finish."""

    def __init__(self, server: Any, sockets: dict[int, Any], name: str) -> None:
        self._server = server
        self._sockets = sockets
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"serve-{name}", daemon=True)
        self.host: str = server.effective_host
        self.port: int = int(server.effective_port)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def _loop(self) -> None:
        while not self._stopping.is_set():
            wasyncore.loop(timeout=_POLL_S, map=self._sockets, count=1, use_poll=True)

    def close(self, grace_s: float = 3.0) -> None:
        """Stop answering and release the port. May be called twice."""
        if self._stopping.is_set():
            return
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=grace_s)
        self._stopping.set()
        self._server.pull_trigger()
        self._thread.join(timeout=_POLL_S + 1)
        wasyncore.close_all(self._sockets)


def serve(app: Flask, host: str, port: int, threads: int) -> RunningServer:
    """Listen on host and port (0: a free one) and answer with up to `threads` threads.

    Returns once it listens. Raises ConfigError with a line that names the port when it cannot.
    """
    site = site_of(app)
    try:
        listening = _listen(host, port)
    except OSError as exc:
        fault = f"{site.section}.port: cannot listen on {host}:{port} ({exc.strerror or exc})"
        remedy = f"end what listens there, or set {site.section}.port to another one"
        raise ConfigError([f"{fault}; {remedy}"]) from exc
    sockets: dict[int, Any] = {}
    server = create_server(
        app,
        map=sockets,
        sockets=[listening],
        _dispatcher=_Dispatcher(threads),
        ident=None,
        recv_bytes=_RECEIVE_BYTES,
        inbuf_overflow=_IN_MEMORY_BYTES,
        outbuf_overflow=_IN_MEMORY_BYTES,
        max_request_body_size=int(app.config["MAX_CONTENT_LENGTH"]) + _READ_BEYOND_LIMIT_BYTES,
    )
    server.channel_class = _Channel
    return RunningServer(server, sockets, site.name)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket on the first address that the name stands for."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening
