"""A replay knows no future, repeats itself, and takes no short cut that changes a decision."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import replay.judging
import replay.runner
from engine.domain.candles import Candles
from engine.domain.limits import Limits
from engine.domain.model import Quote, Side
from replay.__main__ import Replayed
from replay.history import moment
from replay.memory import Memory
from replay.watch import Watch
from tests.replays import HOUR_MS, START_MS, replayed, waves, write

COUNT = 160
STRATEGY = ("--strategy", "sma_cross", "--param", "fast=3", "slow=8", "--slippage-bps", "3")
FOLDER = tempfile.TemporaryDirectory()  # one path, so that its options are read once
LIMITS = ({"QUALITY__MAX_SPIKE": "9", "RISK__MAX_DAILY_LOSS_SOFT": "0.05"},)


def run(candles: dict[str, Candles], *arguments: str) -> Replayed:
    path = write(Path(FOLDER.name) / "candles.parquet", candles)
    return replayed(path, *STRATEGY, *arguments, environ=LIMITS[0])


def decided_until(done: Replayed, moment: str) -> list[object]:
    return [line for line in done.runner.record.lines if str(line["time"]) <= moment]


def corrupted(series: Candles, row: int, seed: int, factor: float) -> Candles:
    """Every candle from `row` on shifted and shaken, with other decimals than before."""
    random = np.random.default_rng(seed)
    columns = [column.copy() for column in series.prices()]
    for column in columns:
        column[row:] *= factor * (1 + 0.3 * random.random(len(series) - row))
    return Candles.of(series.time.copy(), *columns)


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
    assert traces(first) == traces(second)
    assert first.results.performance == second.results.performance
    assert first.results.curve.equity.tolist() == second.results.curve.equity.tolist()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), strategy=st.sampled_from(["sma_cross", "donchian"]))
def test_looking_at_whole_columns_first_changes_nothing(seed: int, strategy: str) -> None:
    candles = {"A/USD": waves(seed, COUNT), "B/USD": with_gaps(waves(seed + 1, COUNT), seed)}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = write(Path(folder) / "candles.parquet", candles)
        options = ("--strategy", strategy, "--limits", "none", "--candles", "60")
        fast = replayed(path, *options)
        patch.setattr(
            replay.judging,
            "_may_judge",
            lambda history, _symbol, _asked: np.ones((2, len(history.nows)), dtype=np.bool_),
        )
        slow = replayed(path, *options)
    assert fast.runner.account.fills == slow.runner.account.fills
    decided = [
        [line for line in done.runner.record.lines if line["kind"] != "skipped"]
        for done in (fast, slow)
    ]
    assert decided[0] == decided[1]


EXITS = (
    ("--stop", "fraction=0.02"),
    ("--stop", "atr=1", "--target", "fraction=0.03"),
    ("--trailing", "fraction=0.04", "--time-candles", "9"),
    ("--trailing", "atr=2"),
    ("--stop", "fraction=0.02", "--exits", "quote", "--spread-bps", "7"),
    ("--target", "atr=2", "--exits", "quote", "--fill", "close"),
)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), strategy=st.sampled_from(["sma_cross", "donchian"]))
def test_asking_only_about_what_may_be_bought_or_sold_changes_no_line(
    seed: int, strategy: str
) -> None:
    """Symbols that are passed over with a reason are so as often as if all were asked about."""
    names = ("A/USD", "B/USD", "C/EUR")
    candles = {name: waves(seed + at, COUNT) for at, name in enumerate(names)}
    candles["B/USD"] = with_gaps(candles["B/USD"], seed)
    arguments = ("--strategy", strategy, "--sizing", "fraction=0.3", "--candles", "60")
    path = write(Path(FOLDER.name) / "candles.parquet", candles)
    quick = replayed(path, *arguments, environ=LIMITS[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            replay.runner, "to_judge", lambda due, _holdings: [each.symbol for each in due]
        )
        slow = replayed(path, *arguments, environ=LIMITS[0])
    assert quick.runner.record.lines == slow.runner.record.lines
    assert quick.runner.record.skips == slow.runner.record.skips
    assert traces(quick) == traces(slow)
    assert quick.results.curve.equity.tolist() == slow.results.curve.equity.tolist()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), exits=st.sampled_from([(), ("--stop", "fraction=0.02")]))
def test_without_limits_the_rules_need_to_know_no_more_than_is_looked_up(
    seed: int, exits: tuple[str, ...]
) -> None:
    candles = {f"{name}/USD": waves(seed + at, COUNT) for at, name in enumerate("ABC")}
    options = (*exits, "--limits", "none", "--sizing", "fraction=0.6")
    quick = run(candles, *options)

    def enforced(limits: Limits) -> Limits:
        risk = msgspec.structs.replace(limits.risk, is_enforced=True)
        return msgspec.structs.replace(limits, risk=risk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay.runner, "Memory", lambda limits: Memory(enforced(limits)))
        whole = run(candles, *options)
    assert traces(quick) == traces(whole)


class Restless(Watch):
    """Looks at every holding in every step."""

    def due(self, _step: int) -> list[str]:
        return sorted(self._alerts)

    def next(self, step: int) -> int:
        return step


def with_gaps(series: Candles, seed: int) -> Candles:
    """The same with some candles missing, and some that are none."""
    random = np.random.default_rng(seed)
    left = random.random(len(series)) > 0.02
    close = np.where(random.random(len(series)) > 0.005, series.close, np.nan)
    columns = (series.open, series.high, series.low, close, series.volume)
    return Candles.of(series.time[left], *(column[left] for column in columns))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    exits=st.sampled_from(EXITS),
    limits=st.sampled_from(["config", "none"]),
    spoilt=st.sampled_from(["none", "gaps"]),
)
def test_steps_that_are_passed_over_would_have_changed_nothing(
    seed: int, exits: tuple[str, ...], limits: str, spoilt: str
) -> None:
    candles = {f"{name}/USD": waves(seed + at, COUNT) for at, name in enumerate("ABC")}
    if spoilt == "gaps":
        candles["B/USD"] = with_gaps(candles["B/USD"], seed)
    options = (*exits, "--limits", limits, "--sizing", "fraction=0.3")
    quick = run(candles, *options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay.runner, "Watch", Restless)
        slow = run(candles, *options)
    assert quick.runner.steps_taken < slow.runner.steps_taken == COUNT - 1
    for left, right in zip(*(traces(done) for done in (quick, slow)), strict=True):
        assert left == right
    np.testing.assert_allclose(quick.results.curve.equity, slow.results.curve.equity, rtol=1e-12)


def traces(done: Replayed) -> tuple[object, ...]:
    """Everything that a replay leaves behind but its curve, which is a float."""
    account, record = done.runner.account, done.runner.record
    lines = [line for line in record.lines if line["kind"] != "skipped"]
    return account.fills, account.account, account.cash, lines, record.latches, done.results.trades


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    spread=st.sampled_from(["0", "7"]),
    fill=st.sampled_from(["next_open", "close"]),
)
def test_the_curve_is_the_exact_account_at_every_moment(seed: int, spread: str, fill: str) -> None:
    """Cash and holdings of the fills so far, at each moment's exact bid, in Decimals."""
    candles = {f"{name}/USD": waves(seed + at, COUNT) for at, name in enumerate("AB")}
    terms = ("--spread-bps", spread, "--fill", fill)
    done = run(candles, "--limits", "none", "--sizing", "fraction=0.4", *terms)
    history, fills = done.runner.history, list(done.runner.account.fills)
    cash, held = done.results.start_equity, {symbol: Decimal(0) for symbol in candles}
    for step, now_ms in enumerate(history.nows.tolist()):
        while fills and fills[0].filled_at.timestamp() * 1000 <= now_ms:
            each = fills.pop(0)
            sign = 1 if each.side is Side.BUY else -1
            held[each.symbol] += sign * each.quantity
            cash -= sign * each.quantity * each.price + each.fee
        quotes = {s: history.quote(s, now_ms) for s, quantity in held.items() if quantity}
        filled_now = {f.symbol for f in done.runner.account.fills if f.filled_at == moment(now_ms)}
        if not filled_now:
            known = {s: quote for s, quote in quotes.items() if isinstance(quote, Quote)}
            equity = cash + sum(held[s] * quote.bid for s, quote in known.items())
            assert done.results.curve.equity[step + 1] == pytest.approx(float(equity), rel=1e-14)
        assert done.results.cash[step + 1] == cash
