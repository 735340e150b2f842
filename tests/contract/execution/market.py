"""A market data service with prices that a test sets."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOUR = timedelta(hours=1)


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed is no error of the market."""


class FakeMarket:
    """Quotes and last volumes by symbol; `status` other than 200 is what every call gets.

    So many of the next calls as `drops` says get no answer: their connections are closed.
    """

    def __init__(self) -> None:
        self.as_of = datetime(2025, 11, 22, 12, tzinfo=UTC)
        self.quotes = {"BTC/USD": ("99.99", "100.01"), "ETH/USD": ("9.99", "10.01")}
        self.volumes = {"BTC/USD": 1000000.0, "ETH/USD": 1000000.0}
        self.status = 200
        self.raw: bytes | None = None
        self.drops = 0
        self.paths: list[str] = []
        self.authorizations: set[str | None] = set()
        market = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Stay silent."""

            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                self._answer(json.loads(self.rfile.read(length)))

            def _answer(self, body: dict[str, Any]) -> None:
                if market.drops > 0:
                    market.drops -= 1
                    self.close_connection = True
                    return
                market.paths.append(self.path)
                market.authorizations.add(self.headers.get("Authorization"))
                content = market.raw or json.dumps(market.answer(self.path, body)).encode()
                self.send_response(market.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def next_candle(self) -> None:
        """Let one candle close."""
        self.as_of += HOUR

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of the published contract."""
        about = {"as_of": self.as_of.isoformat(), "clock": "replay"}
        if path.startswith("/symbols"):
            return about | {"symbols": [_listed(symbol) for symbol in self.quotes]}
        asked = body["symbols"]
        errors = {symbol: "unknown symbol" for symbol in asked if symbol not in self.quotes}
        known = [symbol for symbol in asked if symbol in self.quotes]
        if path == "/quotes":
            quotes = {symbol: self._quote(symbol) for symbol in known}
            return about | {"quotes": quotes, "errors": errors}
        candles = {symbol: self._columns(symbol) for symbol in known}
        return about | {"timeframe": "1h", "candles": candles, "errors": errors}

    def _quote(self, symbol: str) -> dict[str, Any]:
        bid, ask = self.quotes[symbol]
        now = datetime.now(UTC).isoformat()
        return {"bid": bid, "ask": ask, "last": bid, "as_of": now}

    def _columns(self, symbol: str) -> dict[str, list[float]]:
        opened = int((self.as_of - HOUR).timestamp() * 1000)
        prices = {name: [100.0] for name in ("open", "high", "low", "close")}
        return {"time": [opened], **prices, "volume": [self.volumes[symbol]]}


def _listed(symbol: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "volume_24h": "1000000",
        "spread_bps": 2.0,
        "tick_size": "0.01",
        "lot_size": "0.001",
        "min_notional": "10",
    }
