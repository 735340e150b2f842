"""E4: after a void the id can never be accepted any more."""

from __future__ import annotations

import pytest

from tests.contract.execution.venue import TERMINAL, Venue, at_once


def test_voiding_an_absent_id_writes_a_tombstone(venue: Venue) -> None:
    body = venue.body()
    voided = venue.void(body["client_order_id"])
    assert (voided.status_code, voided.json()["state"]) == (200, "VOIDED")
    late = venue.post(body)
    assert (late.status_code, late.json()["state"]) == (200, "VOIDED")
    assert late.headers["Idempotent-Replay"] == "true"
    assert venue.order(body["client_order_id"]).json()["state"] == "VOIDED"


def test_voiding_twice_changes_nothing(venue: Venue) -> None:
    first = venue.void("voided-twice")
    head = venue.head()
    assert venue.void("voided-twice").json() == first.json()
    assert venue.head() == head


def test_voiding_an_open_order_cancels_it(venue: Venue) -> None:
    body = venue.resting()
    assert venue.post(body).json()["state"] == "ACCEPTED"
    voided = venue.void(body["client_order_id"]).json()
    assert (voided["state"], voided["filled_quantity"]) == ("CANCELED", "0")
    assert body["client_order_id"] not in venue.open_ids()


def test_voiding_an_ended_order_answers_its_state(venue: Venue) -> None:
    body = venue.body()
    filled = venue.post(body).json()
    head = venue.head()
    assert venue.void(body["client_order_id"]).json() == filled
    assert venue.head() == head


def test_a_void_works_while_halted(venue: Venue) -> None:
    venue.halt(cancel_open=False)
    body = venue.body()
    assert venue.void(body["client_order_id"]).json()["state"] == "VOIDED"
    venue.resume()
    assert venue.post(body).json()["state"] == "VOIDED"


def test_an_id_that_could_never_be_sent_is_refused(venue: Venue) -> None:
    assert venue.void("x" * 65).status_code == 422


@pytest.mark.parametrize("attempt", range(8))
def test_a_void_that_races_an_order_has_one_winner(venue: Venue, attempt: int) -> None:
    """Either the order was there first and keeps its state, or it never comes to be."""
    head = venue.head()
    body = venue.body()
    client_order_id = body["client_order_id"]
    posted, voided = at_once(lambda: venue.post(body), lambda: venue.void(client_order_id))
    final = venue.order(client_order_id).json()["state"]
    events = venue.events_of(client_order_id, head)
    fills = [each for each in events if each["type"] == "fill"]
    assert voided.json()["state"] == final
    assert final in TERMINAL
    if final == "VOIDED":
        assert (posted.status_code, posted.json()["state"]) == (200, "VOIDED")
        assert fills == []
    else:
        assert (posted.status_code, final) == (201, "FILLED")
        assert len(fills) >= 1
