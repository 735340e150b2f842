"""When a cause is over, when a market is not trusted, and how long a step's calls may last."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain import degraded
from engine.domain.cycle import (
    Batch,
    CycleReport,
    CycleStatus,
    Degradation,
    OutcomeStatus,
    Stage,
    SymbolOutcome,
    Trigger,
)
from engine.domain.limits import QualityLimits
from engine.domain.model import OrderStatus
from engine.domain.timing import call_timeout_s, calls_until, cycle_times
from engine.service_settings import SERVICES
from tests.factories import NOW, make_order

LIMITS = QualityLimits(
    stale_grace_s=90, max_gaps=0, max_spike=0.5, frozen_candles=24, max_bad_share=0.2
)
STEPS = (Stage.SELECT, Stage.FETCH, Stage.EVALUATE, Stage.ALLOCATE, Stage.EXECUTE, Stage.FINISH)


def report(minutes: int, status: CycleStatus = CycleStatus.COMPLETED, *lacking: str) -> CycleReport:
    return CycleReport(
        cycle_id=f"c{minutes}",
        epoch=1,
        trigger=Trigger.SCHEDULE,
        status=status,
        scheduled_at=NOW,
        started_at=NOW + timedelta(minutes=minutes),
        finished_at=NOW + timedelta(minutes=minutes + 1),
        duration_s=60.0,
        config_hash="h",
        dry_run=False,
        degraded=tuple(Degradation(service=name, reason="away") for name in lacking),
    )


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        ([report(4), report(2)], True),
        ([report(4, CycleStatus.DEGRADED, "monitoring"), report(2)], True),
        ([report(4)], False),
        ([report(4), report(-2)], False),
        ([report(4, CycleStatus.DEGRADED, "portfolio"), report(2)], False),
        ([report(6), report(4, CycleStatus.DEGRADED, "portfolio")], False),
        ([report(4, CycleStatus.ABORTED), report(2)], False),
        ([report(4), report(2, CycleStatus.FAILED)], False),
        ([report(6), report(4), report(2, CycleStatus.DEGRADED, "portfolio")], True),
    ],
)
def test_two_whole_cycles_with_the_service_end_its_cause(
    newest: list[CycleReport], *, expected: bool
) -> None:
    assert degraded.has_recovered("portfolio", NOW, newest) is expected


def outcome(symbol: str, stage: Stage = Stage.FETCH) -> SymbolOutcome:
    status = OutcomeStatus.SKIPPED
    return SymbolOutcome(symbol=symbol, batch=0, stage=stage, status=status, reason="stale: x")


@pytest.mark.parametrize(("bad", "trusted"), [(0, True), (2, True), (3, False)])
def test_a_market_is_not_trusted_beyond_a_share_of_bad_symbols(bad: int, *, trusted: bool) -> None:
    names = tuple(f"S{number}" for number in range(10))
    batches = (Batch(number=0, symbols=names[:4]), Batch(number=1, symbols=names[4:]))
    outcomes = [*map(outcome, names[:bad]), outcome(names[9], Stage.EVALUATE)]
    found = degraded.distrust(batches, outcomes, LIMITS)
    assert (found is None) is trusted


def test_a_service_that_lacked_before_lacks_since_then() -> None:
    lacking = [Degradation(service="strategy", reason="away")]
    before = msgspec.structs.replace(
        report(0), degraded=degraded.explained(lacking, (), NOW - timedelta(hours=1))
    )
    [told] = degraded.explained(lacking, [before], NOW)
    assert told.since == NOW - timedelta(hours=1)
    assert told.effect == "no signals, so no entries; protective exits still run"
    [fresh] = degraded.explained(lacking, [report(0)], NOW)
    assert fresh.since == NOW


def test_every_service_has_words_for_what_is_not_done() -> None:
    assert set(SERVICES) <= degraded.EFFECTS.keys()


@given(st.floats(5, 86_400))
def test_calls_of_a_step_end_before_those_of_the_next_and_all_before_the_cycle(
    interval: float,
) -> None:
    times = cycle_times(NOW, interval, barrier_s=54, send_cutoff_s=85, deadline_s=100, close_s=110)
    ends = [calls_until(times, step) for step in STEPS]
    assert ends == sorted(set(ends))
    assert ends[2] < times.allocate_by < ends[3] < times.cutoff_at
    assert ends[-1] <= times.close_by


@pytest.mark.parametrize(
    ("timeout_s", "interval", "expected"),
    [(10, 120, 10), (10, 3600, 10), (10, 60, 5), (10, 5, 1), (0.5, 5, 0.5), (3, 120, 3)],
)
def test_a_shorter_cycle_waits_less_for_a_service(
    timeout_s: float, interval: float, expected: float
) -> None:
    assert call_timeout_s(timeout_s, interval) == expected


def test_orders_of_unknown_fate_are_the_execution_services_silence() -> None:
    settled, doubtful = (
        make_order(status=OrderStatus.FILLED),
        make_order(status=OrderStatus.UNKNOWN),
    )
    assert degraded.doubt([settled]) is None
    found = degraded.doubt([settled, doubtful])
    assert found is not None
    assert (found.service, found.reason) == ("execution", "1 orders of unknown fate")
