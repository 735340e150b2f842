"""An execution service as its callers see it: a base URL and HTTP, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import requests

TIMEOUT_S = 10
TERMINAL = {"FILLED", "CANCELED", "EXPIRED", "REJECTED", "VOIDED"}


class Venue:
    """One service under test, and one symbol that it trades near `price`."""

    def __init__(
        self, url: str, *, account: str, symbol: str, price: str, quantity: str, key: str = ""
    ) -> None:
        self.url = url.rstrip("/")
        self.account = account
        self.symbol = symbol
        self.price = Decimal(price)
        self.quantity = quantity
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._local = threading.local()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Venue:
        """The service that CONFORM_EXECUTION_URL names."""
        return cls(
            environ["CONFORM_EXECUTION_URL"],
            account=environ.get("CONFORM_ACCOUNT", "paper"),
            symbol=environ.get("CONFORM_SYMBOL", "BTC/USD"),
            price=environ["CONFORM_PRICE"],
            quantity=environ["CONFORM_QUANTITY"],
            key=environ.get("CONFORM_KEY", ""),
        )

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """One request, on a connection of the calling thread."""
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.headers.update(self._headers)
        answer: requests.Response = session.request(
            method, self.url + path, timeout=TIMEOUT_S, **arguments
        )
        return answer

    def body(self, **changed: Any) -> dict[str, Any]:
        """A limit order that fills at once, at the present epoch; None drops a field."""
        fields = {
            "client_order_id": str(uuid4()),
            "account": self.account,
            "epoch": self.fence()["epoch"],
            "symbol": self.symbol,
            "side": "buy",
            "type": "limit",
            "time_in_force": "IOC",
            "quantity": self.quantity,
            "limit_price": str(self.price * Decimal("1.01")),
            "reference_price": str(self.price),
            "reduce_only": False,
            "strategy": "conformance",
            "valid_until": instant(timedelta(seconds=60)),
        } | changed
        return {name: value for name, value in fields.items() if value is not None}

    def resting(self, **changed: Any) -> dict[str, Any]:
        """A limit order that waits below the market."""
        limit = str(self.price * Decimal("0.9"))
        return self.body(**{"time_in_force": "GTC", "limit_price": limit} | changed)

    def post(self, body: Mapping[str, Any]) -> requests.Response:
        """Send an order."""
        return self.call("POST", "/orders", json=body)

    def order(self, client_order_id: str) -> requests.Response:
        """Look an order up."""
        return self.call("GET", f"/orders/{client_order_id}")

    def void(self, client_order_id: str) -> requests.Response:
        """Void an id."""
        return self.call("PUT", f"/orders/{client_order_id}/void")

    def fence(self) -> dict[str, Any]:
        """Fence, log identity and kill switch."""
        fence: dict[str, Any] = self.call("GET", "/fence").json()
        return fence

    def set_fence(self, epoch: int) -> requests.Response:
        """Raise the fence."""
        return self.call("POST", "/fence", json={"epoch": epoch})

    def halt(self, *, cancel_open: bool) -> dict[str, Any]:
        """Set the kill switch."""
        body = {"reason": "conformance", "cancel_open": cancel_open}
        answer = self.call("POST", "/halt", json=body)
        assert answer.status_code == 200
        halted: dict[str, Any] = answer.json()
        return halted

    def resume(self) -> None:
        """Release the kill switch."""
        answer = self.call("POST", "/resume", json={"reason": "conformance"})
        assert (answer.status_code, answer.json()["halted"]) == (200, False)

    def open_ids(self) -> set[str]:
        """Ids of the open orders."""
        orders = self.call("GET", "/orders", params={"state": "open"}).json()["orders"]
        return {order["client_order_id"] for order in orders}

    def head(self) -> int:
        """The newest seq of the log."""
        page = self.call("GET", "/events", params={"after": 2**60, "limit": 1}).json()
        head: int = page["head"]
        return head

    def events(self, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Every event above `after`, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", "/events", params={"after": after, "limit": limit}).json()
            found += page["events"]
            if not page["events"]:
                return found
            after = page["events"][-1]["seq"]

    def events_of(self, client_order_id: str, after: int = 0) -> list[dict[str, Any]]:
        """The events of one order."""
        return [each for each in self.events(after) if each["client_order_id"] == client_order_id]


def instant(delta: timedelta) -> str:
    """Now and `delta`, as the wire has it."""
    return (datetime.now(UTC) + delta).isoformat().replace("+00:00", "Z")


def kind(answer: requests.Response) -> str:
    """How a problem's type ends."""
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    ending: str = answer.json()["type"].rpartition("/")[2]
    return ending


def at_once(*calls: Callable[[], requests.Response]) -> list[requests.Response]:
    """The answers to calls that threads make at the same moment, in the order of the calls."""
    answers: list[requests.Response | None] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(index: int) -> None:
        barrier.wait(timeout=TIMEOUT_S)
        answers[index] = calls[index]()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=2 * TIMEOUT_S)
    assert None not in answers
    return [answer for answer in answers if answer is not None]
