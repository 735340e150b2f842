"""E7, E9 and E12: the log is gap-free, in commit order, and adds up to the orders."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

from tests.contract.execution.venue import Venue, at_once


def test_fills_come_before_their_order_event(venue: Venue) -> None:
    head = venue.head()
    body = venue.body()
    order = venue.post(body).json()
    events = venue.events_of(body["client_order_id"], head)
    assert [each["type"] for each in events] == ["fill", "order"]
    assert events[-1]["seq"] == order["seq"]
    told = {name: value for name, value in events[-1].items() if name not in {"type", "at"}}
    assert told == order


def test_seq_is_gap_free_under_concurrent_orders(venue: Venue) -> None:
    head = venue.head()
    bodies = [venue.body() for _ in range(16)]
    at_once(*[lambda body=body: venue.post(body) for body in bodies])
    numbers = [each["seq"] for each in venue.events(head, limit=3)]
    assert numbers == list(range(head + 1, head + 1 + len(numbers)))
    assert len(numbers) >= 32


def test_who_saw_n_never_later_sees_a_smaller_new_one(venue: Venue) -> None:
    """A reader that goes on from the last seq it saw misses nothing."""
    head = venue.head()
    seen: list[int] = []
    done = threading.Event()

    def follow() -> None:
        last = head
        while True:
            finished = done.is_set()
            page = venue.events(last, limit=7)
            seen.extend(each["seq"] for each in page)
            last = seen[-1] if seen else head
            if finished and not page:
                return

    reader = threading.Thread(target=follow)
    reader.start()
    for _ in range(5):
        bodies = [venue.body() for _ in range(4)]
        at_once(*[lambda body=body: venue.post(body) for body in bodies])
    done.set()
    reader.join(timeout=20)
    assert seen == list(range(head + 1, venue.head() + 1))


def test_fills_add_up_to_the_order_and_keep_its_bounds(venue: Venue) -> None:
    head = venue.head()
    buy = venue.body()
    limit = str(venue.price * Decimal("0.99"))
    sell = venue.body(side="sell", limit_price=limit, reduce_only=True)
    for body in (buy, sell):
        order = venue.post(body).json()
        fills = _fills(venue, body["client_order_id"], head)
        assert sum(Decimal(each["quantity"]) for each in fills) == Decimal(order["filled_quantity"])
        assert Decimal(order["filled_quantity"]) <= Decimal(body["quantity"])
        assert sum(Decimal(each["fee"]) for each in fills) == Decimal(order["fees"])
        for each in fills:
            worse = Decimal(each["price"]) - Decimal(body["limit_price"])
            assert (worse if body["side"] == "buy" else -worse) <= 0
            assert (each["side"], each["symbol"]) == (body["side"], venue.symbol)
            assert each["strategy"] == "conformance"


def test_fill_ids_are_unique(venue: Venue) -> None:
    head = venue.head()
    for _ in range(5):
        venue.post(venue.body())
    ids = [each["fill_id"] for each in venue.events(head) if each["type"] == "fill"]
    assert len(ids) == len(set(ids)) == 5


def test_the_log_has_one_identity(venue: Venue) -> None:
    page = venue.call("GET", "/events", params={"after": 0, "limit": 1}).json()
    assert page["log_id"]
    assert page["log_id"] == venue.fence()["log_id"]
    assert page["head"] == venue.head()


def test_a_page_has_at_most_limit_events(venue: Venue) -> None:
    for _ in range(2):
        venue.post(venue.body())
    page = venue.call("GET", "/events", params={"after": 0, "limit": 3}).json()
    assert [each["seq"] for each in page["events"]] == [1, 2, 3]


def test_a_page_is_bounded(venue: Venue) -> None:
    for bad in ({"limit": 5001}, {"limit": 0}, {"after": -1}, {"before": 3}):
        assert venue.call("GET", "/events", params=bad).status_code == 422


def test_open_orders_are_listed_until_they_end(venue: Venue) -> None:
    body = venue.resting()
    venue.post(body)
    assert body["client_order_id"] in venue.open_ids()
    venue.void(body["client_order_id"])
    assert body["client_order_id"] not in venue.open_ids()


def _fills(venue: Venue, client_order_id: str, after: int) -> list[dict[str, Any]]:
    events = venue.events_of(client_order_id, after)
    return [each for each in events if each["type"] == "fill"]
