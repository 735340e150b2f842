"""The reference service keeps every change of fence and kill switch, with where the log stood."""

from __future__ import annotations

from tests.contract.execution.local import LocalService


def test_each_change_is_kept_with_the_seq_after_which_it_held(local: LocalService) -> None:
    venue = local.start()
    venue.set_fence(3)
    venue.set_fence(3)
    seq = venue.post(venue.body()).json()["seq"]
    venue.halt(cancel_open=False)
    venue.halt(cancel_open=False)
    venue.resume()
    answer = local.restart().call("GET", "/switches").json()
    changes = [(one["epoch"], one["halted"], one["after_seq"]) for one in answer["changes"]]
    assert changes == [(3, False, 0), (3, True, seq), (3, False, seq)]
    assert answer["log_id"] == local.restart().fence()["log_id"]


def test_an_order_past_its_validity_is_rejected_even_in_a_full_minute(local: LocalService) -> None:
    """`valid_until` is looked at before the limits, and such an order counts in none."""
    local.limits = {"orders_per_minute": 5}
    venue = local.start()
    for _ in range(4):
        assert venue.post(venue.body()).status_code == 201
    assert venue.post(venue.body()).status_code == 429
    late = venue.post(venue.body(valid_until="2020-01-01T00:00:00Z"))
    assert (late.status_code, late.json()["state"]) == (201, "REJECTED")
