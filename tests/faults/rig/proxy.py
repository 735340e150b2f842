"""A TCP proxy that spoils HTTP exchanges by chance, and remembers every order that passes."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

HEAD_END = b"\r\n\r\n"
ABORT = struct.pack("ii", 1, 0)
LATENCY_S = 0.15
HANG_S = 20.0
LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True)
class Faults:
    """Chance of each fault, of one request."""

    latency: float = 0.0
    reset_before: float = 0.0  # the request is not handed on
    reset_after: float = 0.0  # it is, and the answer is thrown away
    half_open: float = 0.0  # handed on, and nothing ever comes back
    corrupt: float = 0.0  # the answer's bytes are no JSON any more

    def choose(self, dice: random.Random) -> str:
        """The fault of this request, or nothing."""
        draw = dice.random()
        for name in ("latency", "reset_before", "reset_after", "half_open", "corrupt"):
            draw -= getattr(self, name)
            if draw < 0:
                return name
        return ""


@dataclass(frozen=True)
class SentOrder:
    """A `POST /orders` as it came: when (epoch seconds), and what it said."""

    at: float
    client_order_id: str
    body: str
    reached: bool  # it was handed on to the service


@dataclass
class Seen:
    """What passed."""

    orders: list[SentOrder] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)


class Proxy:
    """Listens on a port of its own in front of `target`; `faults` may be changed at any time."""

    def __init__(self, name: str, listen: int, target: int, seed: int) -> None:
        self.name = name
        self.faults = Faults()
        self.seen = Seen()
        self._listen = listen
        self._target = target
        self._dice = random.Random(f"{seed}/{name}")  # noqa: S311 - no secret
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"proxy {name}", daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(5)

    def close(self) -> None:
        """Stop listening and drop what is open."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self._listen, limit=LIMIT
        )

    async def _end(self) -> None:
        self._server.close()
        left = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back: _Backend | None = None
        try:
            back = await _Backend.connect(self._target)
            while await self._exchange(reader, writer, back):
                pass
        except (OSError, asyncio.IncompleteReadError, ValueError):
            _abort(writer)
        finally:
            for each in (writer, None if back is None else back.writer):
                if each is not None:
                    with suppress(OSError, RuntimeError):
                        each.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: _Backend
    ) -> bool:
        """One request and its answer; False when the connection is to end."""
        request = await _message(reader)
        if not request:
            return False
        fault = self.faults.choose(self._dice)
        self._note(request, fault)
        if fault == "reset_before":
            _abort(writer)
            return False
        if fault == "latency":
            await asyncio.sleep(self._dice.uniform(0, LATENCY_S))
        back.writer.write(request)
        await back.writer.drain()
        answer = await _message(back.reader)
        if not answer:
            _abort(writer)
            return False
        return await self._deliver(answer, fault, writer)

    async def _deliver(self, answer: bytes, fault: str, writer: asyncio.StreamWriter) -> bool:
        if fault == "reset_after":
            _abort(writer)
            return False
        if fault == "half_open":
            await asyncio.sleep(HANG_S)
            return False
        if fault == "corrupt":
            head, _, body = answer.partition(HEAD_END)
            middle = len(body) // 2
            body = body[:middle] + b"\xff\x00\xfe"[: len(body) - middle] + body[middle + 3 :]
            answer = head + HEAD_END + body
        writer.write(answer)
        await writer.drain()
        return True

    def _note(self, request: bytes, fault: str) -> None:
        if fault:
            self.seen.faults[fault] += 1
        if not request.startswith(b"POST /orders "):
            return
        body = request.partition(HEAD_END)[2].decode(errors="replace")
        with suppress(ValueError, KeyError):
            identity = json.loads(body)["client_order_id"]
            reached = fault != "reset_before"
            self.seen.orders.append(SentOrder(time.time(), identity, body, reached))


@dataclass
class _Backend:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, port: int) -> _Backend:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LIMIT)
        return cls(reader, writer)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP message with its body; empty at the end of the connection."""
    try:
        head = await reader.readuntil(HEAD_END)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + (await reader.readexactly(length) if length else b"")


def _abort(writer: asyncio.StreamWriter) -> None:
    """A reset instead of an orderly end."""
    raw = writer.get_extra_info("socket")
    with suppress(OSError, AttributeError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    with suppress(OSError, RuntimeError):
        writer.transport.abort()
