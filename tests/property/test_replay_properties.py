"""A replay knows no future, repeats itself, and takes no short cut that changes a decision."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import replay.judging
from engine.domain.model import Candles
from replay.__main__ import Replayed
from tests.replays import HOUR_MS, START_MS, replayed, waves, write

COUNT = 160
STRATEGY = ("--strategy", "sma_cross", "--param", "fast=3", "slow=8", "--slippage-bps", "3")
LIMITS = ({"QUALITY__MAX_SPIKE": "9", "RISK__MAX_DAILY_LOSS_SOFT": "0.05"},)


def run(candles: dict[str, Candles], *arguments: str) -> Replayed:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "candles.parquet", candles)
        return replayed(path, *STRATEGY, *arguments, environ=LIMITS[0])


def decided_until(done: Replayed, moment: str) -> list[object]:
    return [line for line in done.runner.record.lines if str(line["time"]) <= moment]


def corrupted(series: Candles, row: int, seed: int, factor: float) -> Candles:
    """Every candle from `row` on shifted and shaken, with other decimals than before."""
    random = np.random.default_rng(seed)
    columns = [column.copy() for column in series.prices()]
    for column in columns:
        column[row:] *= factor * (1 + 0.3 * random.random(len(series) - row))
    return Candles(series.time.copy(), *columns)


@pytest.mark.parametrize("fill", ["next_open", "close"])
@pytest.mark.parametrize("limits", ["config", "none"])
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    row=st.integers(30, COUNT - 2),
    factor=st.sampled_from([0.3, 1.0, 7.0]),
)
def test_later_candles_change_no_earlier_decision(
    fill: str, limits: str, seed: int, row: int, factor: float
) -> None:
    """With the next open as quote, a decision may know that one price of the candle after it."""
    candles = {"A/USD": waves(seed, COUNT), "B/USD": waves(seed + 1, COUNT, price=30.0)}
    options = ("--fill", fill, "--limits", limits, "--sizing", "fraction=0.4")
    whole = run(candles, *options)
    other = run(
        {symbol: corrupted(series, row, seed, factor) for symbol, series in candles.items()},
        *options,
    )
    # The decision after the candle before `row` already meets the corrupted open.
    last_ms = START_MS + (row - 1 if fill == "next_open" else row) * HOUR_MS
    last = f"{np.datetime64(last_ms, 'ms').astype('datetime64[s]')}Z"
    assert decided_until(whole, last) == decided_until(other, last)
    assert len(whole.runner.record.lines) > 0


def test_the_same_replay_twice_is_the_same() -> None:
    candles = {"A/USD": waves(11, COUNT), "B/USD": waves(12, COUNT)}
    first, second = run(candles), run(dict(reversed(candles.items())))
    assert first.runner.record.lines == second.runner.record.lines
    assert first.results == second.results


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), strategy=st.sampled_from(["sma_cross", "donchian"]))
def test_looking_at_whole_columns_first_changes_nothing(seed: int, strategy: str) -> None:
    candles = {"A/USD": waves(seed, COUNT), "B/USD": waves(seed + 1, COUNT)}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = write(Path(folder) / "candles.parquet", candles)
        options = ("--strategy", strategy, "--limits", "none", "--candles", "60")
        fast = replayed(path, *options)
        patch.setattr(
            replay.judging,
            "_may_judge",
            lambda history, _symbol, _asked: np.ones(len(history.nows), dtype=np.bool_),
        )
        slow = replayed(path, *options)
    assert fast.runner.account.fills == slow.runner.account.fills
    decided = [
        [line for line in done.runner.record.lines if line["kind"] != "skipped"]
        for done in (fast, slow)
    ]
    assert decided[0] == decided[1]
