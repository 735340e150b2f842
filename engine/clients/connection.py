"""HTTP connections that keep one deadline for the whole exchange, trickling peers included.

A socket's timeout bounds one read, so a peer that sends a byte now and then holds a caller for
ever. Here every read and write gets what is left of the exchange's time, headers included, over
plain sockets and TLS alike. What was sent is known exactly: before the first byte of a request
left, it certainly had no effect.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Retry

from engine import failpoints

MAX_JOINED_BYTES = 65536
"""The longest body that is copied behind its head: a copy of more costs what one piece saves."""


class PermitExpired(Exception):
    """The permit to call ran out before the request could leave; nothing was sent."""


@dataclass
class Exchange:
    """One request and its answer: when it ends, until when it may begin, whether it began."""

    ends_at: float
    permit_until: float
    monotonic: Callable[[], float]
    sent: bool = False

    def remaining(self) -> float:
        """Seconds that are left. Raises TimeoutError when none are."""
        left = self.ends_at - self.monotonic()
        if left <= 0:
            raise TimeoutError("deadline of the call")
        return left

    def begin(self) -> None:
        """Mark that the request leaves now. Raises PermitExpired when it came too late."""
        if not self.sent and self.monotonic() > self.permit_until:
            raise PermitExpired
        self.sent = True


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[Exchange]:
    """Let the connections used inside keep to `exchange`."""
    token = _current.set(exchange)
    try:
        yield exchange
    finally:
        _current.reset(token)


class _Reader(io.RawIOBase):
    """Reads of a socket, each with the time that is left."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self._sock = sock
        # makefile counts as a user of the socket: it stays open when the connection is closed
        # while the answer is still being read.
        self._raw: Any = sock.makefile("rb", buffering=0)
        self._exchange = exchange

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Fill `buffer` with what arrives next. Raises TimeoutError at the deadline."""
        self._sock.settimeout(self._exchange.remaining())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        """Give the socket back."""
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that is read within the exchange's time, status line and headers included."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        exchange = _current.get()
        if exchange is not None:
            self.fp.close()
            self.fp = io.BufferedReader(_Reader(sock, exchange))


class _Bounded(HTTPConnection):
    """Sending within the exchange's time; notes when the first byte leaves.

    A short body leaves in one piece with its head: the server wakes up once for both.
    """

    response_class = _Response
    _gathered: list[bytes] | None = None

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
        """Send a request. Raises PermitExpired before the first byte."""
        if not isinstance(body, bytes) or len(body) > MAX_JOINED_BYTES:
            super().request(method, url, body, *args, **kwargs)
            return
        gathered = self._gathered = []
        try:
            super().request(method, url, body, *args, **kwargs)
        finally:
            self._gathered = None
        self.send(b"".join(gathered))

    def send(self, data: Any) -> None:
        """Send, connecting first where needed. Raises PermitExpired before the first byte."""
        if self._gathered is not None:
            self._gathered.append(data)
            return
        exchange = _current.get()
        if exchange is not None:
            if self.sock is None:
                self.connect()
            exchange.begin()
            self.sock.settimeout(exchange.remaining())
        super().send(data)


class _PlainConnection(_Bounded):
    pass


class _TlsConnection(_Bounded, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def _pool(base_url: str, connections: int) -> HTTPConnectionPool:
    repeats = Retry(0, read=False)
    if failpoints.bug("retry_post"):
        repeats = Retry(2, allowed_methods=None, raise_on_status=False)
    manager = urllib3.PoolManager(maxsize=connections, retries=repeats, ca_certs=certifi.where())
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
    return manager.connection_from_url(base_url)


class Pools:
    """The process's connections; a forked child gets its own, for sockets cannot be shared.

    They belong to no session: no proxy, no netrc, no cookie, no redirect that is followed.
    """

    def __init__(self, connections: int = 32) -> None:
        self._connections = connections
        self._known: dict[tuple[int, str], HTTPConnectionPool] = {}

    def to(self, base_url: str) -> HTTPConnectionPool:
        """Those of this process to where `base_url` leads. Raises LocationValueError.

        To ask urllib3's manager for them at each call would take a tenth of the call.
        """
        mine = os.getpid(), base_url
        if mine not in self._known:
            self._known.setdefault(mine, _pool(base_url, self._connections))
        return self._known[mine]
