"""The controls' own arithmetic and order: quantiles, slots, windows, calls side by side."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.control import figures
from engine.control.desk import Switch
from engine.control.lifecycle import slot
from engine.control.parallel import in_parallel
from engine.control.performance import MAX_CURVE, length, thinned
from engine.domain.account_history import EquityAt
from engine.domain.performance import Point, curve_of, last_of_each
from engine.errors import Refused

START = datetime(2025, 1, 1, tzinfo=UTC)
SECONDS = st.floats(min_value=0, max_value=1e6)


@hypothesis_settings(max_examples=100)
@given(st.lists(SECONDS, min_size=1, max_size=40), st.floats(min_value=0, max_value=1))
def test_a_quantile_is_interpolated_between_ranks(values: list[float], share: float) -> None:
    expected = float(np.quantile(values, share))
    assert figures.quantile(values, share) == pytest.approx(expected, abs=1e-6)


def test_figures_of_nothing_are_unknown_rather_than_zero() -> None:
    assert figures.quantile([], 0.5) is None
    assert figures.ratio(0, 0) is None
    assert figures.cycle_success_rate({"RUNNING": 1, "SKIPPED": 3}) is None


def test_cycle_success_counts_what_ended_and_not_what_was_skipped() -> None:
    counts = {"COMPLETED": 6, "DEGRADED": 1, "FAILED": 2, "ABORTED": 3, "SKIPPED": 9, "RUNNING": 1}
    assert figures.cycle_success_rate(counts) == 0.5


@hypothesis_settings(max_examples=100)
@given(
    st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2035, 1, 1)),  # noqa: DTZ001
    st.sampled_from([5.0, 7.5, 60.0, 120.0, 86400.0]),
)
def test_a_slot_holds_its_instant(naive: datetime, interval_s: float) -> None:
    now = naive.replace(tzinfo=UTC)
    begins = datetime.fromisoformat(slot(now, interval_s))
    assert begins <= now < begins + timedelta(seconds=interval_s)
    assert begins.timestamp() % interval_s == 0


@pytest.mark.parametrize(
    ("window", "expected"),
    [("24h", timedelta(days=1)), ("7d", timedelta(days=7)), ("all", None)],
)
def test_a_window_is_a_duration(window: str, expected: timedelta | None) -> None:
    assert length(window) == expected


def test_returns_are_those_of_whole_candles() -> None:
    """Thirty cycles within one candle are one point: the last."""
    minutes = (0, 2, 58, 60, 119)
    curve = curve_of(Point(START + timedelta(minutes=each), Decimal(each)) for each in minutes)
    assert last_of_each(curve, 3600).equity.tolist() == [58, 119]


@hypothesis_settings(max_examples=50)
@given(st.integers(min_value=0, max_value=5000))
def test_a_thinned_curve_keeps_its_ends_and_its_order(count: int) -> None:
    curve = [
        EquityAt(time=START + timedelta(hours=hour), equity=Decimal(hour), cash=Decimal(0))
        for hour in range(count)
    ]
    kept = thinned(curve)
    assert len(kept) == min(count, MAX_CURVE)
    assert list(kept) == sorted(kept, key=lambda point: point.time)
    if curve:
        assert (kept[0], kept[-1]) == (curve[0], curve[-1])


def test_calls_side_by_side_end_each_for_itself() -> None:
    release = threading.Event()

    def fails() -> None:
        raise Refused("no")

    outcomes = in_parallel({"good": lambda: 1, "bad": fails, "slow": release.wait}, timeout_s=0.2)
    release.set()
    assert outcomes["good"].value == 1
    assert isinstance(outcomes["bad"].error, Refused)
    assert isinstance(outcomes["slow"].error, TimeoutError)


def test_a_resume_that_began_before_a_halt_gives_up() -> None:
    switch = Switch()
    before = switch.halts
    switch.require(before)
    switch.note_halt()
    with pytest.raises(Refused):
        switch.require(before)
    switch.require(switch.halts)


def test_a_resume_that_began_while_a_halt_was_in_progress_gives_up() -> None:
    switch = Switch()
    with switch.halting():
        during = switch.halts
        with pytest.raises(Refused):
            switch.require(during)
    with pytest.raises(Refused):
        switch.require(during)
    switch.require(switch.halts)
