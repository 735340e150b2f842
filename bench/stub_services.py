"""Market data and strategy engine with canned answers, each after a fixed time.

`python -m bench.stub_services PORT SYMBOLS MILLISECONDS`. The delay is of `/ohlcv` and
`/evaluate`; nothing is computed, so that what is measured is the engine and its workers.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

HOUR_MS = 3_600_000
CANDLES = 60
PRICE = 100.0
AS_OF = datetime(2025, 11, 21, 12, tzinfo=UTC)
SLOW = frozenset({"/ohlcv", "/evaluate"})
LINE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def columns() -> dict[str, list[float]]:
    """Closed hours up to the market's now; no two alike, none that jumps."""
    last = int(AS_OF.timestamp() * 1000) - HOUR_MS
    times = [last - HOUR_MS * back for back in range(CANDLES - 1, -1, -1)]
    close = [PRICE + 0.01 * number for number in range(CANDLES)]
    return {
        "time": list(times),
        "open": [price - 0.005 for price in close],
        "high": [price + 0.02 for price in close],
        "low": [price - 0.02 for price in close],
        "close": close,
        "volume": [1000.0 + number for number in range(CANDLES)],
    }


class Canned:
    """The answers, made once."""

    def __init__(self, symbols: int) -> None:
        self.names = [f"S{number:05d}/USD" for number in range(symbols)]
        self._now = {"as_of": AS_OF.isoformat(), "clock": "replay"}
        self._columns = columns()
        self._none: dict[str, list[float]] = {name: [] for name in self._columns}

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What a service says."""
        match path:
            case "/symbols":
                return {**self._now, "symbols": [self._instrument(name) for name in self.names]}
            case "/ohlcv":
                known = body.get("since", {})
                found = {
                    name: self._none if name in known else self._columns for name in body["symbols"]
                }
                told = {"timeframe": body["timeframe"], "candles": found, "errors": {}}
                return {**self._now, **told}
            case "/quotes":
                quote = {"bid": "99.99", "ask": "100.01", "last": "100", "as_of": AS_OF.isoformat()}
                return {**self._now, "quotes": dict.fromkeys(body["symbols"], quote)}
            case "/evaluate":
                return {"input_id": body["input_id"], "signals": [], "errors": {}}
            case _:
                return {"status": "ok"}

    def _instrument(self, name: str) -> dict[str, Any]:
        steps = {"tick_size": "0.01", "lot_size": "0.001", "min_notional": "10"}
        return {"symbol": name, "volume_24h": "100000000", "spread_bps": 2.0, **steps}


async def serve(port: int, canned: Canned, delay: timedelta) -> None:
    """Answer until the process ends."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path, length = _read(head)
                body = await reader.readexactly(length) if length else b"{}"
                if path in SLOW:
                    await asyncio.sleep(delay.total_seconds())
                answer = json.dumps(canned.answer(path, json.loads(body))).encode()
                writer.write(LINE % len(answer) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", port, limit=2**22)
    async with server:
        await server.serve_forever()


def _read(head: bytes) -> tuple[str, int]:
    lines = head.decode("latin-1").split("\r\n")
    lengths = [line for line in lines if line.lower().startswith("content-length:")]
    length = int(lengths[0].partition(":")[2]) if lengths else 0
    return lines[0].split()[1].partition("?")[0], length


if __name__ == "__main__":
    given_port, given_symbols, given_ms = (int(text) for text in sys.argv[1:4])
    asyncio.run(serve(given_port, Canned(given_symbols), timedelta(milliseconds=given_ms)))
