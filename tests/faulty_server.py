"""An HTTP server that answers by script: what a broken, slow or hostile service does on the wire.

It writes bytes itself, so that half an answer, a reset or a trickle are exactly that.
"""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; `at` is monotonic."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What the server does with a request.

    `how`: `plain` answers; `hang` says nothing until the server closes; `reset` cuts the
    connection hard; `half` sends half of the promised body and closes; `trickle` and
    `trickle_headers` send one byte every `pause_s`; `endless` sends body until nobody reads.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    how: str = "plain"
    delay_s: float = 0.0
    pause_s: float = 0.05

    def head(self) -> bytes:
        """Status line and headers."""
        headers = {
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} Scripted", *(f"{k}: {v}" for k, v in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(value: Any, status: int = 200, **headers: str) -> Reply:
    """A proper JSON answer; header names with `_` for `-`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(body=json.dumps(value).encode(), status=status, headers=named)


def problem(
    status: int, kind: str = "about:blank", headers: dict[str, str] | None = None, **more: Any
) -> Reply:
    """A problem document."""
    body = {"type": f"https://errors.example/{kind}", "title": "Scripted", "status": status, **more}
    return Reply(
        body=json.dumps(body).encode(),
        status=status,
        headers=headers or {},
        content_type="application/problem+json",
    )


HTML = Reply(body=b"<html><body>Bad gateway</body></html>", content_type="text/html")
HALF_JSON = Reply(body=b'{"as_of": "2025-11-2')
NAN = Reply(body=b'{"value": NaN}')
REDIRECT = Reply(status=302, headers={"Location": "http://127.0.0.1:1/elsewhere"})
HANG = Reply(how="hang")
RESET = Reply(how="reset")
HALF_BODY = Reply(body=b'{"value": 1}          ', how="half")
TRICKLE = Reply(body=b'{"value": 1}' + b" " * 200, how="trickle")
TRICKLE_HEADERS = Reply(body=b'{"value": 1}', how="trickle_headers")
HUGE = Reply(how="endless", headers={"Content-Length": str(1 << 40)})

Script = Reply | Sequence[Reply] | Callable[[Asked], Reply]


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        try:
            while self._one():
                pass
        except OSError:
            return  # the client went away: often what the test is about

    def _one(self) -> bool:
        asked = self._read()
        if asked is None:
            return False
        return self._act(self.server.owner.take(asked))

    def _read(self) -> Asked | None:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.request.recv(65536)
            if not chunk:
                return None
            data += chunk
        at = time.monotonic()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += self.request.recv(65536)
        method, path, _ = first.split(" ")
        return Asked(method, path, headers, body, at)

    def _act(self, reply: Reply) -> bool:
        if self.server.owner.stopping.wait(reply.delay_s):
            return False
        if reply.how == "plain":
            self.request.sendall(reply.head() + reply.body)
            return True
        getattr(self, f"_{reply.how}")(reply)
        return False

    def _hang(self, _reply: Reply) -> None:
        self.server.owner.stopping.wait()

    def _reset(self, _reply: Reply) -> None:
        linger = struct.pack("ii", 1, 0)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _half(self, reply: Reply) -> None:
        self.request.sendall(reply.head() + reply.body[: len(reply.body) // 2])

    def _trickle(self, reply: Reply) -> None:
        self.request.sendall(reply.head())
        self._slowly(reply.body, reply.pause_s)

    def _trickle_headers(self, reply: Reply) -> None:
        self._slowly(reply.head() + reply.body, reply.pause_s)

    def _slowly(self, data: bytes, pause_s: float) -> None:
        for index in range(len(data)):
            self.request.sendall(data[index : index + 1])
            if self.server.owner.stopping.wait(pause_s):
                return

    def _endless(self, reply: Reply) -> None:
        self.request.sendall(reply.head())
        while not self.server.owner.stopping.is_set():
            self.request.sendall(b" " * 65536)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128
    owner: FaultyServer


class FaultyServer:
    """Answers by `script`: one reply for ever, a sequence (its last one repeats), or a function.

    Counts what arrives in `asked`. Use it as a context manager.
    """

    def __init__(self, script: Script, port: int = 0) -> None:
        self.asked: list[Asked] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._served = 0
        self.script = script
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def script(self) -> Script:
        """What it answers; a new script starts at its first reply."""
        return self._script

    @script.setter
    def script(self, script: Script) -> None:
        with self._lock:
            self._script, self._served = script, 0

    def take(self, asked: Asked) -> Reply:
        """Note a request and choose the reply."""
        with self._lock:
            self.asked.append(asked)
            index, self._served = self._served, self._served + 1
            script = self._script
        if isinstance(script, Reply):
            return script
        if callable(script):
            return script(asked)
        return script[min(index, len(script) - 1)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
