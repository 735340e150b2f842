"""Records the examples of the API description: `python -m tests.record_examples`.

Each example is a real answer of a running engine on paper, its lists cut to two items.
"""

from __future__ import annotations

import json
import re
import socket
import tempfile
from pathlib import Path
from typing import Any

from tests.integration.stack import ROOT, Stack, running

TARGET = ROOT / "routes" / "examples.json"
ITEMS = 2
BODIES = {
    "POST /cycle": {"symbols": ["BTC/USD", "ETH/USD"], "dry_run": True},
    "POST /halt": {"reason": "prices look wrong", "cancel_open": True},
    "POST /reduce": {"reason": "maintenance"},
    "POST /resume": {"state": "ACTIVE", "reason": "prices checked"},
    "POST /positions/<path:symbol>/close": {"reason": "too large"},
    "POST /positions/<path:symbol>/adopt": {"strategy": "sma_cross"},
}


# What a sound run does not show.
ALERT = {
    "alert_id": "7",
    "key": "execution_down",
    "name": "execution_down",
    "severity": "critical",
    "detail": "no answer for 34 s; 2 orders UNKNOWN",
    "cycle_id": "",
    "opened_at": "2026-11-22T07:01:12Z",
    "resolved_at": None,
    "acknowledged_at": "2026-11-22T07:02:03Z",
    "acknowledged_by": "local",
    "effect": "nothing is sent; open orders cannot be looked up",
    "runbook": "docs/operations.md#execution_down",
}
ADOPTED = {"symbol": "LTC/USD", "strategy": "sma_cross", "quantity": "5", "changed": True}


def cut(value: Any) -> Any:
    """The same with short lists."""
    if isinstance(value, dict):
        return {name: cut(inner) for name, inner in value.items()}
    return [cut(inner) for inner in value[:ITEMS]] if isinstance(value, list) else value


def record(stack: Stack) -> dict[str, dict[str, Any]]:
    """Examples by operation: `body`, and the answer by status."""
    found: dict[str, dict[str, Any]] = {name: {"body": body} for name, body in BODIES.items()}

    def keep(operation: str, path: str, body: Any = None, method: str = "GET") -> Any:
        answer = stack.post(path, body) if method == "POST" else None
        document = answer.json() if answer is not None else stack.get(path)
        status = str(answer.status_code) if answer is not None else "200"
        found.setdefault(operation, {})[status] = cut(document)
        return document

    for _ in range(4):
        stack.cycle()
    order = keep("GET /orders", "/orders?state=FILLED")["items"][0]["client_order_id"]
    decision = keep("GET /decisions", "/decisions")["items"][0]["decision_id"]
    cycle_id = keep("GET /cycles", "/cycles")["items"][0]["cycle_id"]
    symbol = keep("GET /positions", "/positions")["items"][0]["symbol"]
    for operation, path in {
        "GET /status": "/status",
        "GET /health": "/health",
        "GET /health/live": "/health/live",
        "GET /health/ready": "/health/ready",
        "GET /performance": "/performance?window=all",
        "GET /strategies": "/strategies",
        "GET /orders/<client_order_id>": f"/orders/{order}",
        "GET /orders/<client_order_id>/candles": f"/orders/{order}/candles",
        "GET /decisions/<decision_id>": f"/decisions/{decision}",
        "GET /decisions/<decision_id>/candles": f"/decisions/{decision}/candles",
        "GET /cycles/<cycle_id>": f"/cycles/{cycle_id}",
        "GET /cycles/<cycle_id>/trace": f"/cycles/{cycle_id}/trace",
    }.items():
        keep(operation, path)
    close = "POST /positions/<path:symbol>/close"
    keep("POST /cycle", "/cycle", BODIES["POST /cycle"], "POST")
    keep("POST /start", "/start", {}, "POST")
    keep("POST /stop", "/stop", {}, "POST")
    keep(close, f"/positions/{symbol}/close", BODIES[close], "POST")
    keep("POST /strategies/<name>/enable", "/strategies/sma_cross/enable", {}, "POST")
    keep("POST /reduce", "/reduce", BODIES["POST /reduce"], "POST")
    keep("POST /halt", "/halt", BODIES["POST /halt"], "POST")
    keep("POST /resume", "/resume", BODIES["POST /resume"], "POST")
    keep("GET /states", "/states")
    keep("GET /audit", "/audit")
    found["GET /alerts"] = {"200": {"items": [ALERT], "next_before": None}}
    found["POST /alerts/<alert_id>/ack"] = {"200": ALERT}
    keep("GET /config", "/config")
    found["POST /positions/<path:symbol>/adopt"]["200"] = ADOPTED
    return found


def main() -> None:
    """Write the file anew."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as stack:
        found = record(stack)
    shown = json.dumps(found, indent=1, sort_keys=True).replace(f"{folder}/data", "data")
    shown = shown.replace(f"@{socket.gethostname()}", "@host")
    shown = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8001", shown)
    TARGET.write_text(shown + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
