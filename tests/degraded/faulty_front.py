"""A service's front door that can be told to go wrong: it hands requests on and spoils answers."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.faulty_server import HANG, HTML, HUGE, RESET, Asked, FaultyServer, Reply, problem

LATE_S = 0.6
SHIFTED_CANDLES = 3
HOUR_MS = 3_600_000
INSTANT = re.compile(r"^\d{4}-\d\d-\d\dT[0-9:.]+Z$")
LISTS = ("symbols", "candles", "quotes", "signals", "positions", "events", "orders")
Spoil = Callable[[Any], Any]


def wrong_types(value: Any) -> Any:
    """Every leaf is a list instead."""
    if isinstance(value, dict):
        return {name: wrong_types(part) for name, part in value.items()}
    if isinstance(value, list):
        return [wrong_types(part) for part in value]
    return [value]


def not_numbers(value: Any, name: str = "") -> Any:
    """Every price, quantity and column is NaN."""
    if isinstance(value, dict):
        return {key: not_numbers(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [not_numbers(part, name) for part in value]
    if isinstance(value, str):
        return "NaN" if re.fullmatch(r"-?\d+(\.\d+)?", value) else value
    if isinstance(value, float) or name in {"epoch", "seq", "head", "applied_seq"}:
        return float("nan")
    return value


def emptied(value: Any) -> Any:
    """The proper shape with nothing in it."""
    if not isinstance(value, dict):
        return value
    cleared = {name: type(part)() for name, part in value.items() if name in LISTS}
    return {**value, **cleared}


def shifted(seconds: float, candles: int) -> Spoil:
    """Wall times of quotes, accounts and events moved, and candles by so many places."""

    def shift(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            if isinstance(value.get("time"), list):
                return {**value, "time": [at + candles * HOUR_MS for at in value["time"]]}
            return {key: shift(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [shift(part, name) for part in value]
        if name == "candle_time":
            return value + candles * HOUR_MS
        if isinstance(value, str) and INSTANT.match(value) and name in {"as_of", "at", "filled_at"}:
            moved = datetime.fromisoformat(value) + timedelta(seconds=seconds)
            return moved.isoformat().replace("+00:00", "Z")
        return value

    def spoil(answer: Any) -> Any:
        if isinstance(answer, dict) and answer.get("clock") == "replay":
            # The market's own now stays: only what is said about it is from another time.
            return {**shift(answer), "as_of": answer["as_of"]}
        if isinstance(answer, dict) and "head" in answer and seconds < 0:
            return {**answer, "events": [], "head": 0}
        return shift(answer)

    return spoil


def contradicting(answer: Any) -> Any:
    """An account whose sums are wrong."""
    if isinstance(answer, dict) and "equity" in answer and "cash" in answer:
        return {**answer, "equity": "1" + answer["equity"]}
    return answer


SPOILS: dict[str, Spoil] = {
    "wrong types": wrong_types,
    "NaN": not_numbers,
    "empty": emptied,
    "stale": shifted(-60, -SHIFTED_CANDLES),
    "future": shifted(3600, SHIFTED_CANDLES),
    "contradiction": contradicting,
}
INSTEAD: dict[str, Reply] = {
    "down": RESET,
    "hangs": HANG,
    "500": problem(500),
    "503": problem(503, headers={"Retry-After": "1"}),
    "429": problem(429),
    "HTML": HTML,
    "huge": HUGE,
}


class Front(FaultyServer):
    """Listens in front of `target`; `fault` names what goes wrong, `only` limits it to a path.

    `spoil` is a fault of one's own: what it makes of each decoded answer. `reached` holds every
    request that the service itself answered, and `told` hears of each before it is.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self.fault = ""
        self.only = ""
        self.spoil: Spoil | None = None
        self.told: Callable[[Asked], object] = lambda _asked: None
        self.reached: list[Asked] = []
        self._target = target
        super().__init__(self._reply, port)

    def _reply(self, asked: Asked) -> Reply:
        fault = self.fault if f"{asked.method} {asked.path}".startswith(self.only) else ""
        if fault in INSTEAD and not self.only:
            return INSTEAD[fault]
        answer = self._hand_on(asked)
        if fault in INSTEAD:  # the service acted, and nobody hears of it
            return INSTEAD[fault]
        if fault == "slow":
            return replace(answer, delay_s=LATE_S)
        if fault == "half JSON":
            return replace(answer, body=answer.body[: len(answer.body) // 2])
        spoil = self.spoil or SPOILS.get(fault)
        if spoil is not None and answer.status < 300:
            spoiled = spoil(json.loads(answer.body))
            return replace(answer, body=json.dumps(spoiled).encode())
        return answer

    def refuse(self) -> None:
        """Nobody listens any more, and what is connected is cut."""
        self.fault, self.only = "down", ""
        self._server.shutdown()
        self._server.server_close()

    def heal(self) -> None:
        """All is well again."""
        self.fault, self.only, self.spoil = "", "", None

    def _hand_on(self, asked: Asked) -> Reply:
        self.told(asked)
        connection = http.client.HTTPConnection("127.0.0.1", self._target, timeout=10)
        names = ("content-type", "idempotency-key")
        headers = {name: asked.headers[name] for name in names if name in asked.headers}
        try:
            connection.request(asked.method, asked.path, asked.body, headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        self.reached.append(asked)
        content_type = answer.getheader("Content-Type", "application/json")
        return Reply(body=body, status=answer.status, content_type=content_type)
