"""E2 and E3: an id is one order for ever, and the same body again is the same order again."""

from __future__ import annotations

import json
from datetime import timedelta

from tests.contract.execution.venue import Venue, at_once, instant, kind


def test_a_new_order_is_201_with_its_whole_state(venue: Venue) -> None:
    body = venue.body()
    answer = venue.post(body)
    order = answer.json()
    assert answer.status_code == 201
    assert "Idempotent-Replay" not in answer.headers
    assert order["client_order_id"] == body["client_order_id"]
    assert order["state"] == "FILLED"
    assert float(order["filled_quantity"]) == float(body["quantity"])
    assert float(order["average_price"]) <= float(body["limit_price"])
    assert order["seq"] >= 1
    assert {"order_id", "fees", "reason"} <= order.keys()


def test_the_same_body_again_is_the_same_order_and_has_no_effect(venue: Venue) -> None:
    body = venue.body()
    first = venue.post(body).json()
    head = venue.head()
    again = venue.post(body)
    assert (again.status_code, again.json()) == (200, first)
    assert again.headers["Idempotent-Replay"] == "true"
    assert venue.head() == head


def test_the_same_content_in_another_spelling_is_the_same_body(venue: Venue) -> None:
    body = venue.body()
    venue.post(body)
    spelt = json.dumps(dict(reversed(body.items())), indent=2)
    headers = {"Content-Type": "application/json"}
    assert venue.call("POST", "/orders", data=spelt, headers=headers).status_code == 200


def test_another_body_under_a_known_id_is_a_mismatch(venue: Venue) -> None:
    body = venue.body()
    first = venue.post(body).json()
    for changed in ({"quantity": "0.4"}, {"epoch": body["epoch"] + 1}, {"side": "sell"}):
        answer = venue.post(body | changed)
        assert (answer.status_code, kind(answer)) == (409, "body-mismatch")
    assert venue.order(body["client_order_id"]).json() == first


def test_a_replay_answers_whatever_the_epoch(venue: Venue) -> None:
    body = venue.body()
    venue.post(body)
    venue.set_fence(body["epoch"] + 1)
    assert venue.post(body).status_code == 200


def test_a_replay_answers_while_halted(venue: Venue) -> None:
    body = venue.body()
    first = venue.post(body).json()
    venue.halt(cancel_open=True)
    again = venue.post(body)
    assert (again.status_code, again.json()) == (200, first)


def test_a_rejected_order_is_replayed_as_rejected(venue: Venue) -> None:
    body = venue.body(valid_until=instant(-timedelta(seconds=1)))
    assert venue.post(body).status_code == 201
    again = venue.post(body)
    assert (again.status_code, again.json()["state"]) == (200, "REJECTED")


def test_many_threads_that_send_one_id_make_one_order(venue: Venue) -> None:
    head = venue.head()
    body = venue.body()
    answers = at_once(*[lambda: venue.post(body)] * 12)
    assert sorted(each.status_code for each in answers) == [200] * 11 + [201]
    assert len({each.json()["order_id"] for each in answers}) == 1
    events = venue.events_of(body["client_order_id"], head)
    assert [each["type"] for each in events].count("order") == 1


def test_of_two_bodies_under_one_id_exactly_one_wins(venue: Venue) -> None:
    body = venue.body()
    other = body | {"strategy": "another"}
    answers = at_once(*[lambda: venue.post(body), lambda: venue.post(other)] * 4)
    statuses = [each.status_code for each in answers]
    assert statuses.count(201) == 1
    assert statuses.count(409) == 4
    assert statuses.count(200) == 3


def test_an_unknown_id_is_404(venue: Venue) -> None:
    assert venue.order("never-sent").status_code == 404


def test_a_looked_up_order_is_the_order_as_answered(venue: Venue) -> None:
    body = venue.body()
    sent = venue.post(body).json()
    assert venue.order(body["client_order_id"]).json() == sent
