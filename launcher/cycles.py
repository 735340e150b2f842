"""One readable line for each closed cycle, read from the engine's own API."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import requests

from launcher.terminal import Terminal

POLL_S = 2.0
ASK_S = 2.0
ASKED = 20
SHOWN = 200
TONES = {"COMPLETED": "good", "DEGRADED": "warn", "SKIPPED": "warn"}

Json = Mapping[str, Any]


def describe(report: Json, status: Json, currency: str) -> str:
    """The line for a closed cycle: a CycleReport and `GET /status` as JSON."""
    orders, signals = report["orders"], report["signals"]
    words = [
        str(report["finished_at"])[11:19],
        "SIMULATED" if status.get("simulated") else str(status.get("mode", "paper")).upper(),
        f"{report['status']:<9}",
        _count(report["symbols"]["selected"], "symbol"),
        _count(signals["received"], "signal"),
        f"{_count(orders['filled'], 'order')} filled, {orders['denied']} denied",
        f"equity {_money((status.get('portfolio') or {}).get('equity'))} {currency}",
        f"{report.get('duration_s') or 0:.1f} s",
    ]
    degraded = ", ".join(str(one.get("service")) for one in report.get("degraded") or ())
    return "  ".join([*words, f"degraded: {degraded}"] if degraded else words)


def _count(number: int, noun: str) -> str:
    return f"{number:>3} {noun}{' ' if number == 1 else 's'}"


def _money(text: object) -> str:
    try:
        return f"{Decimal(str(text)):,.2f}"
    except InvalidOperation:
        return "not known"


class CycleWatch(threading.Thread):
    """Asks the API each second and prints the cycles closed since `since`, each once."""

    def __init__(
        self, *, terminal: Terminal, base_url: str, key: str, currency: str, since: datetime
    ) -> None:
        super().__init__(name="cycle-watch", daemon=True)
        self._terminal = terminal
        self._base_url = base_url
        self._currency = currency
        self._ended = threading.Event()
        self._session = requests.Session()
        self._session.trust_env = False
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"
        self._since = since
        self._shown: deque[str] = deque(maxlen=SHOWN)

    def run(self) -> None:
        """Until `end` is called."""
        while not self._ended.wait(POLL_S):
            self.look()

    def end(self) -> None:
        """Ends the watch; it prints nothing more."""
        self._ended.set()

    def look(self) -> None:
        """Prints what was closed since the last look, the oldest first. Never raises."""
        try:
            reports = self._get(f"/cycles?limit={ASKED}")["items"]
            fresh = [one for one in reversed(reports) if self._is_fresh(one)]
            status = self._get("/status") if fresh else {}
            for report in fresh:
                self._shown.append(report["cycle_id"])
                line = describe(report, status, self._currency)
                tone = TONES.get(report["status"], "bad")
                if not self._ended.is_set():
                    self._terminal.line(self._terminal.paint(tone, line))
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return  # the supervisor says what is wrong with the API

    def _is_fresh(self, report: Json) -> bool:
        closed_at = report.get("finished_at")
        if not closed_at or report["cycle_id"] in self._shown:
            return False
        return datetime.fromisoformat(closed_at) >= self._since

    def _get(self, path: str) -> Json:
        reply = self._session.get(self._base_url + path, timeout=ASK_S)
        reply.raise_for_status()
        answer: Json = reply.json()
        return answer
