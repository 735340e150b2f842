"""A request leaves in as few pieces as is worth it, and by no more than its permit allows."""

from __future__ import annotations

import pytest
from urllib3.connection import HTTPConnection

from engine.clients.connection import (
    MAX_JOINED_BYTES,
    Exchange,
    PermitExpired,
    Pools,
    exchanging,
)


class Wire:
    """A socket that keeps the pieces it was given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def settimeout(self, _seconds: float | None) -> None:
        """Nothing waits here."""

    def sendall(self, data: bytes) -> None:
        """Keep a piece."""
        self.pieces.append(bytes(data))


def connection_over(wire: Wire) -> HTTPConnection:
    """One of the engine's own connections, with `wire` for its socket."""
    connection: HTTPConnection = Pools().to("http://127.0.0.1:1")._new_conn()  # type: ignore[assignment]
    connection.sock = wire  # type: ignore[assignment]
    return connection


@pytest.mark.parametrize("size", [1, MAX_JOINED_BYTES])
def test_a_short_body_leaves_in_one_piece_with_its_head(size: int) -> None:
    wire = Wire()
    connection_over(wire).request("POST", "/thing", body=b"x" * size)
    (piece,) = wire.pieces
    head, _, body = piece.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /thing HTTP/1.1\r\n")
    assert f"Content-Length: {size}".encode() in head
    assert body == b"x" * size


def test_a_long_body_is_not_copied_behind_its_head() -> None:
    wire, body = Wire(), b"x" * (MAX_JOINED_BYTES + 1)
    connection_over(wire).request("POST", "/thing", body=body)
    assert wire.pieces[1:] == [body]


def test_a_request_without_a_body_is_one_piece_too() -> None:
    wire = Wire()
    connection_over(wire).request("GET", "/thing")
    (piece,) = wire.pieces
    assert piece.startswith(b"GET /thing HTTP/1.1\r\n")
    assert piece.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("body", [b"", b"x", b"x" * (MAX_JOINED_BYTES + 1)])
def test_no_byte_leaves_by_a_permit_that_ran_out(body: bytes) -> None:
    wire = Wire()
    exchange = Exchange(ends_at=10.0, permit_until=1.0, monotonic=lambda: 2.0)
    connection = connection_over(wire)
    with exchanging(exchange), pytest.raises(PermitExpired):
        connection.request("POST", "/thing", body=body)
    assert wire.pieces == []
    assert not exchange.sent
