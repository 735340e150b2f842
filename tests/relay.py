"""An HTTP relay before a service, with a switch for each thing that may go wrong on the way."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

Alter = Callable[[Any], Any]
PASSED_ON = ("Authorization", "Content-Type", "X-Request-ID", "X-Cycle-ID")
REPLY_HEADERS = ("Content-Type", "Idempotent-Replay")


class Relay:
    """Passes requests on to `upstream` until told otherwise."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.away = False
        self._alters: dict[tuple[str, str], Alter] = {}
        self._refusals: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
        self._delays: dict[tuple[str, str], float] = {}
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                relay._serve(self)

            do_POST = do_PUT = do_GET  # noqa: N815 - the names that the server looks for

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def alter(self, method: str, path: str, alter: Alter) -> None:
        """Change the JSON that comes back from a path (without its query)."""
        self._alters[method, path] = alter

    def refuse(self, method: str, path: str, status: int, problem: dict[str, Any]) -> None:
        """Answer a problem instead of asking."""
        self._refusals[method, path] = (status, problem)

    def delay(self, method: str, path: str, seconds: float) -> None:
        """Let the answer of a path wait."""
        self._delays[method, path] = seconds

    def heal(self) -> None:
        """Pass everything on again."""
        self.away = False
        for faults in (self._alters, self._refusals, self._delays):
            faults.clear()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        key = (handler.command, handler.path.partition("?")[0])
        if self.away:
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        time.sleep(self._delays.get(key, 0.0))
        try:
            status, headers, content = self._answer(handler, key, body)
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:  # whoever asked has gone, or nobody is behind us
            handler.close_connection = True

    def _answer(
        self, handler: BaseHTTPRequestHandler, key: tuple[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if key in self._refusals:
            status, problem = self._refusals[key]
            return (
                status,
                {"Content-Type": "application/problem+json"},
                json.dumps(problem).encode(),
            )
        headers = {name: handler.headers[name] for name in PASSED_ON if name in handler.headers}
        reply = requests.request(
            handler.command, self.upstream + handler.path, data=body, headers=headers, timeout=60
        )
        content = reply.content
        if key in self._alters and reply.ok:
            content = json.dumps(self._alters[key](reply.json())).encode()
        told = {name: reply.headers[name] for name in REPLY_HEADERS if name in reply.headers}
        return reply.status_code, told, content


@contextmanager
def relayed(upstream: str) -> Iterator[Relay]:
    """A relay that is closed afterwards."""
    relay = Relay(upstream)
    try:
        yield relay
    finally:
        relay.close()
