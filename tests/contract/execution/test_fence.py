"""E5, E11 and the kill switch: what stands is read where an order is accepted."""

from __future__ import annotations

import threading

import requests

from tests.contract.execution.venue import Venue, kind


def test_an_epoch_below_the_fence_is_refused_and_leaves_no_row(venue: Venue) -> None:
    epoch = venue.fence()["epoch"] + 2
    assert venue.set_fence(epoch).status_code == 200
    head = venue.head()
    body = venue.body(epoch=epoch - 1)
    answer = venue.post(body)
    assert (answer.status_code, kind(answer)) == (409, "fenced")
    assert venue.order(body["client_order_id"]).status_code == 404
    assert venue.head() == head


def test_an_epoch_at_or_above_the_fence_is_accepted(venue: Venue) -> None:
    epoch = venue.fence()["epoch"] + 1
    venue.set_fence(epoch)
    assert venue.post(venue.body(epoch=epoch)).status_code == 201
    assert venue.post(venue.body(epoch=epoch + 5)).status_code == 201
    assert venue.fence()["epoch"] == epoch


def test_the_fence_only_rises(venue: Venue) -> None:
    epoch = venue.fence()["epoch"] + 3
    venue.set_fence(epoch)
    assert venue.set_fence(epoch).json()["epoch"] == epoch
    lower = venue.set_fence(epoch - 1)
    assert (lower.status_code, kind(lower), lower.json()["fence"]) == (409, "fenced", epoch)
    assert venue.fence()["epoch"] == epoch


def test_halted_refuses_new_orders_and_leaves_no_row(venue: Venue) -> None:
    answer = venue.halt(cancel_open=True)
    assert answer["halted"] is True
    assert venue.fence()["halted"] is True
    body = venue.body()
    refused = venue.post(body)
    assert (refused.status_code, kind(refused)) == (409, "halted")
    assert venue.order(body["client_order_id"]).status_code == 404
    venue.resume()
    assert venue.post(body).status_code == 201


def test_a_halt_cancels_open_orders_when_asked(venue: Venue) -> None:
    body = venue.resting()
    venue.post(body)
    answer = venue.halt(cancel_open=True)
    assert body["client_order_id"] in answer["cancelled"]
    assert venue.order(body["client_order_id"]).json()["state"] == "CANCELED"


def test_a_halt_leaves_open_orders_when_not_asked(venue: Venue) -> None:
    body = venue.resting()
    venue.post(body)
    assert venue.halt(cancel_open=False)["cancelled"] == []
    assert body["client_order_id"] in venue.open_ids()
    venue.void(body["client_order_id"])


def test_halting_comes_before_the_fence_in_the_order_of_checks(venue: Venue) -> None:
    epoch = venue.fence()["epoch"] + 2
    venue.set_fence(epoch)
    venue.halt(cancel_open=True)
    assert kind(venue.post(venue.body(epoch=epoch - 1))) == "halted"


def _flood(venue: Venue, epoch: int, stop: threading.Event) -> list[threading.Thread]:
    def send() -> None:
        while not stop.is_set():
            venue.post(venue.body(epoch=epoch))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for each in threads:
        each.start()
    return threads


def test_no_order_is_accepted_after_the_answer_to_a_fence(venue: Venue) -> None:
    """The head read after the answer is the last that an order of the old epoch can have."""
    epoch, stop = venue.fence()["epoch"], threading.Event()
    threads = _flood(venue, epoch, stop)
    _wait_for_orders(venue)
    answer = venue.set_fence(epoch + 1)
    head = venue.head()
    _settle(threads, stop)
    assert answer.status_code == 200
    assert venue.events(head) == []


def test_no_order_is_accepted_after_the_answer_to_a_halt(venue: Venue) -> None:
    epoch, stop = venue.fence()["epoch"], threading.Event()
    threads = _flood(venue, epoch, stop)
    _wait_for_orders(venue)
    venue.halt(cancel_open=True)
    head = venue.head()
    _settle(threads, stop)
    assert venue.events(head) == []


def _wait_for_orders(venue: Venue) -> None:
    start = venue.head()
    for _ in range(2000):
        if venue.head() > start + 20:
            return
    raise AssertionError("no orders came through")


def _settle(threads: list[threading.Thread], stop: threading.Event) -> None:
    """Let the senders try on for a moment, then end them."""
    stop.wait(timeout=0.1)
    stop.set()
    for each in threads:
        each.join(timeout=10)


def test_a_fence_that_is_no_epoch_is_422(venue: Venue) -> None:
    bad: list[object] = [-1, "5", 1.5, None]
    answers: list[requests.Response] = [
        venue.call("POST", "/fence", json={"epoch": each}) for each in bad
    ]
    assert [each.status_code for each in answers] == [422] * len(bad)
