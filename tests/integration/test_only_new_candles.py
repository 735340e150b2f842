"""Without a new candle nothing is decided anew, and what is decided stays the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.domain.candles import Candles
from engine.domain.cycle import BatchInput, BatchRef, OutcomeStatus, Stage
from engine.domain.messages import EvaluateAnswer
from engine.pipeline import fetch
from engine.pipeline.steps import BatchWork
from engine.ports import SeriesEnd, StrategyEngine
from tests.deployment import Deployment

STILL = {"SERVICES__MARKET_DATA__CANDLES_PER_CYCLE": "0"}


class Listening:
    """The strategy engine, and whom it was asked about."""

    def __init__(self, strategy: StrategyEngine) -> None:
        self._strategy = strategy
        self.asked: set[str] = set()
        self.said: set[str] = set()

    def evaluate(
        self, timeframe: str, choices: Sequence[Any], candles: dict[str, Candles], *more: Any
    ) -> EvaluateAnswer:
        answer = self._strategy.evaluate(timeframe, choices, candles, *more)
        self.asked |= set(candles)
        self.said |= {signal.symbol for signal in answer.signals}
        return answer


class Observed:
    """A deployment whose market stands still until it is moved."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.deployment = Deployment(folder, {**STILL, **more})
        self.strategy = Listening(self.deployment.engine.strategy)
        self.deployment.engine = replace(self.deployment.engine, strategy=self.strategy)

    def cycle(self) -> tuple[set[str], set[str]]:
        """A cycle: who was asked about, and who had a signal."""
        self.strategy.asked, self.strategy.said = set(), set()
        self.report = self.deployment.cycle()
        return self.strategy.asked, self.strategy.said

    def move(self, name: str) -> None:
        """One new candle of each symbol."""
        self.deployment.engine.market_data.advance(name, 1)

    def a_quiet_one(self) -> str:
        """After a cycle, a symbol that nobody had anything to say of."""
        everybody, said = self.cycle()
        return min(everybody - said - self.held())

    def held(self) -> set[str]:
        """Symbols of the account's positions."""
        snapshot = self.deployment.engine.portfolio.snapshot()
        return {position.symbol for position in snapshot.positions}


def part(series: Candles, count: int) -> Candles:
    """The first candles of a series."""
    return series.between(0, count)


def is_whole(series: Candles) -> bool:
    """As many candles as are asked for, and none missing between them."""
    return len(series) == 500 and set(np.diff(series.time).tolist()) == {3_600_000}


@pytest.fixture
def observed(tmp_path: Path) -> Iterator[Observed]:
    made = Observed(tmp_path, QUALITY__MAX_GAPS="5")  # so that nothing hides a candle that is lost
    yield made
    made.deployment.close()


def test_only_what_is_held_or_had_a_signal_is_judged_again(observed: Observed) -> None:
    everybody, said = observed.cycle()
    held = observed.held()
    again, _ = observed.cycle()
    assert held
    assert held < everybody
    assert again == (said | held) & everybody
    assert observed.report.symbols.evaluated == len(everybody)
    cycle = observed.deployment.ledger.queries.cycle(observed.report.cycle_id)
    unchanged = {outcome.symbol for outcome in cycle.outcomes if outcome.reason == "no new candle"}
    assert unchanged == everybody - again


def test_a_new_candle_has_everybody_judged_again(observed: Observed) -> None:
    everybody, _ = observed.cycle()
    observed.move("a")
    assert observed.cycle()[0] == everybody
    cached = observed.deployment.engine.cache.load(sorted(everybody), "1h")
    assert {len(series) for series in cached.values()} == {500}


def test_a_quiet_symbol_whose_cached_series_ends_elsewhere_is_fetched_whole(
    observed: Observed,
) -> None:
    cache, symbol = observed.deployment.engine.cache, observed.a_quiet_one()
    series = cache.load([symbol], "1h")[symbol]
    cache.save({symbol: part(series, len(series) - 1)}, "1h")
    observed.move("a")
    assert symbol in observed.cycle()[0]
    assert is_whole(cache.load([symbol], "1h")[symbol])


def test_a_mark_from_before_the_newest_cached_candle_loses_none(observed: Observed) -> None:
    """It stays when a later candle has a signal: what is asked for since then joins the cache."""
    cache, symbol = observed.deployment.engine.cache, observed.a_quiet_one()
    newest = int(cache.load([symbol], "1h")[symbol].time[-1])
    about = observed.deployment.engine.settings_hash
    whole = cache.load([symbol], "1h")[symbol]
    cache.save({symbol: part(whole, len(whole) - 3)}, "1h", [symbol], about)
    cache.save({symbol: whole}, "1h")
    before = SeriesEnd(newest - 3 * 3_600_000, is_quiet=True)
    assert cache.load_ends([symbol], "1h", about) == {symbol: before}
    assert symbol in observed.cycle()[0]
    assert is_whole(cache.load([symbol], "1h")[symbol])
    assert cache.load_ends([symbol], "1h", about) == {symbol: SeriesEnd(newest, is_quiet=True)}


def test_a_quiet_symbol_whose_series_is_lost_is_never_judged_on_its_new_candles_alone(
    observed: Observed,
) -> None:
    cache, symbol = observed.deployment.engine.cache, observed.a_quiet_one()
    cache.save({symbol: part(cache.load([symbol], "1h")[symbol], 0)}, "1h")
    for name in ("a", "b", "c"):
        observed.move(name)
    assert symbol in observed.cycle()[0]
    assert is_whole(cache.load([symbol], "1h")[symbol])


def test_other_settings_find_nobody_quiet(observed: Observed) -> None:
    everybody, _ = observed.cycle()
    engine = observed.deployment.engine
    section = engine.settings.trading_engine.model_copy(update={"min_confidence": 0.7})
    other = engine.settings.model_copy(update={"trading_engine": section})
    observed.deployment.engine = replace(engine, settings=other)
    assert observed.cycle()[0] == everybody


def test_a_quiet_symbol_without_the_candle_that_is_due_is_stale(observed: Observed) -> None:
    observed.cycle()
    plan = observed.deployment.open()
    assert plan is not None
    batch = plan.batches[-1]
    ref = BatchRef(cycle_id=plan.cycle_id, batch=batch.number, symbols=batch.symbols)
    engine = observed.deployment.engine
    given = engine.ledger.cycles.claim(ref, "test", engine.clock.now())
    assert given is not None
    now, later = (fetched(observed, given, hours) for hours in (0, 5))
    assert any(outcome.reason == "no new candle" for outcome in now)
    assert all(outcome.status is OutcomeStatus.SKIPPED for outcome in later)
    assert all(outcome.reason.startswith("stale: ") for outcome in later)


def fetched(observed: Observed, given: BatchInput, hours: int) -> Sequence[Any]:
    moved = msgspec.structs.replace(given, market_time=given.market_time + timedelta(hours=hours))
    work = fetch.run(observed.deployment.engine, moved, BatchWork(symbols=given.ref.symbols))
    return [outcome for outcome in work.outcomes if outcome.stage is Stage.FETCH]


def test_the_orders_are_those_of_judging_everybody_each_time(tmp_path: Path) -> None:
    orders: list[list[tuple[str, ...]]] = []
    asked: list[int] = []
    for name, flag in (("each", "false"), ("new", "true")):
        observed = Observed(tmp_path / name, TRADING_ENGINE__ONLY_NEW_CANDLES=flag)
        asked.append(0)
        for number in range(9):
            if number % 3 == 0:
                observed.move(f"move-{number}")
            asked[-1] += len(observed.cycle()[0])
        found = observed.deployment.ledger.queries.orders
        orders.append(
            [(o.symbol, o.side, str(o.quantity)) for o in found(100, None, None, None).items]
        )
        observed.deployment.close()
    assert asked[1] < asked[0] / 2
    assert len(orders[0]) > 5
    assert orders[0] == orders[1]
