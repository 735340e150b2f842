"""Events that wait for monitoring: bounded, in order, once, and never for long."""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.call_deadline import deadline
from engine.domain.messages import MonitoringEvent
from engine.errors import ServiceError, ServiceRejected, ServiceUnavailable
from engine.spool import PAGE, Spool, SpooledMonitoring

NOON = datetime(2025, 11, 22, 12, tzinfo=UTC)


def event(number: int) -> MonitoringEvent:
    return MonitoringEvent(event_id=f"e{number}", type="drill", at=NOON, severity="info")


@dataclass
class Taker:
    """A monitoring service: what it took, and what it does with the next calls."""

    taken: list[str] = field(default_factory=list)
    errors: list[ServiceError | None] = field(default_factory=list)

    def publish(self, events: Sequence[MonitoringEvent]) -> None:
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        known = set(self.taken)
        self.taken += [each.event_id for each in events if each.event_id not in known]


AWAY = ServiceUnavailable("monitoring", "no answer")
REFUSED = ServiceRejected("monitoring", "no such field", status=422, kind="")
NO_KEY = ServiceRejected("monitoring", "a key is needed", status=401, kind="")


def publish(spooled: SpooledMonitoring, *numbers: int) -> bool:
    try:
        spooled.publish([event(number) for number in numbers])
    except ServiceError:
        return False
    return True


def waiting(spool: Spool) -> list[str]:
    return [each.event_id for each in spool.first(10_000)]


@settings(max_examples=50, deadline=None)
@given(answers=st.lists(st.booleans(), max_size=12), limit=st.integers(2, 6))
def test_events_arrive_in_order_and_once_whoever_is_away_in_between(
    answers: list[bool], limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool") / "s.jsonl", limit)
    taker = Taker()
    for number, is_there in enumerate(answers):
        taker.errors = [None if is_there else AWAY]
        publish(SpooledMonitoring(taker, spool), number)
        assert len(waiting(spool)) <= limit
    taker.errors = []
    publish(SpooledMonitoring(taker, spool))
    numbers = [int(name[1:]) for name in taker.taken]
    assert numbers == sorted(set(numbers))
    assert waiting(spool) == []
    if limit >= len(answers):
        assert numbers == list(range(len(answers)))


def test_what_is_refused_for_its_content_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    spool, taker = Spool(tmp_path / "s.jsonl", 100), Taker(errors=[AWAY, REFUSED])
    spooled = SpooledMonitoring(taker, spool)
    assert not publish(spooled, 1)
    assert publish(spooled)
    assert publish(spooled, 2)
    assert taker.taken == ["e2"]


def test_without_the_right_key_events_wait(tmp_path: Path) -> None:
    spool, taker = Spool(tmp_path / "s.jsonl", 100), Taker(errors=[NO_KEY])
    assert not publish(SpooledMonitoring(taker, spool), 1)
    assert waiting(spool) == ["e1"]


def test_while_somebody_else_delivers_events_are_kept_without_waiting(tmp_path: Path) -> None:
    spool, taker = Spool(tmp_path / "s.jsonl", 100), Taker()
    with (tmp_path / "s.delivery").open("a+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert publish(SpooledMonitoring(taker, spool), 1)
        assert (taker.taken, waiting(spool)) == ([], ["e1"])
    assert publish(SpooledMonitoring(taker, spool), 2)
    assert taker.taken == ["e1", "e2"]


def test_the_calls_of_a_delivery_end_soon(tmp_path: Path) -> None:
    class Watching(Taker):
        def publish(self, events: Sequence[MonitoringEvent]) -> None:
            assert deadline(0.0, 1e9) < 1e9
            super().publish(events)

    taker = Watching()
    assert publish(SpooledMonitoring(taker, Spool(tmp_path / "s.jsonl", 100)), 1)
    assert taker.taken == ["e1"]


def test_more_than_a_page_is_delivered_page_by_page(tmp_path: Path) -> None:
    spool, taker = Spool(tmp_path / "s.jsonl", 3 * PAGE), Taker(errors=[None, AWAY])
    spooled = SpooledMonitoring(taker, spool)
    assert not publish(spooled, *range(2 * PAGE))
    assert len(taker.taken) == PAGE
    assert waiting(spool)[0] == f"e{PAGE}"


def test_a_line_cut_short_by_a_crash_is_passed_over(tmp_path: Path) -> None:
    spool, taker = Spool(tmp_path / "s.jsonl", 100), Taker()
    spool.add([event(1)])
    with (tmp_path / "s.jsonl").open("ab") as file:
        file.write(b'{"event_id": "e2", "ty\n')
    assert publish(SpooledMonitoring(taker, spool), 3)
    assert taker.taken == ["e1", "e3"]


def test_a_folder_that_cannot_be_written_is_an_error_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spooled = SpooledMonitoring(Taker(), Spool(tmp_path / "file" / "s.jsonl", 100))
    with pytest.raises(ServiceUnavailable, match="spool"):
        spooled.publish([event(1)])
