"""Candles that were decided on are kept once, found again to the bit, and age with their cycles."""

from __future__ import annotations

import hashlib
import random
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from sqlalchemy import func, select, text

from engine.domain import candle_rows
from engine.domain.candles import Candles
from engine.domain.kept_inputs import Window
from engine.errors import NotFound
from engine.ledger.archive_reads import windows_of
from engine.ledger.ledger import FILE_NAME, SqlLedger
from engine.ledger.migration import migrate
from engine.ledger.schema import SCHEMA_REVISION
from engine.ledger.schema_inputs import candle_blocks, candle_series, step_inputs
from engine.settings import Settings
from tests.factories import NOW
from tests.ledger_world import HOUR_S, World, judged_on
from tests.replays import HOUR_MS, waves


def part(series: Candles, first: int, last: int) -> Candles:
    return series.between(first, last)


def keep(world: World, **candles: Candles) -> dict[str, Window]:
    return world.keep(candles)


def same(left: Candles, right: Candles) -> bool:
    pairs = zip((left.time, *left.prices()), (right.time, *right.prices()), strict=True)
    return all(one.tobytes() == other.tobytes() for one, other in pairs)


def stored_bytes(ledger: SqlLedger) -> int:
    with ledger.reading() as connection:
        kept = connection.execute(select(candle_blocks.c.data)).scalars()
        return sum(len(data) for data in kept)


def test_every_window_of_a_moving_series_is_found_again_to_the_bit(world: World) -> None:
    series = {name: waves(seed, 700) for seed, name in enumerate("AB")}
    windows = []
    for end in (500, 500, 501, 503, 640, 700):
        now = {name: part(rows, end - 500, end) for name, rows in series.items()}
        windows.append((now, keep(world, **now)))
    for candles, kept in windows:
        for symbol, window in kept.items():
            assert same(world.ledger.archive.candles("1h", HOUR_S, window), candles[symbol])


def test_a_candle_is_stored_once(world: World) -> None:
    series = waves(1, 600)
    for end in range(500, 600, 7):
        keep(world, A=part(series, end - 500, end))
    newest = keep(world, A=part(series, 100, 600))["A"]
    assert newest.edition == 0
    assert stored_bytes(world.ledger) == 600 * 48


def test_blocks_of_an_older_program_are_cut_anew(
    world: World, ledger_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As schema 0008 kept them: 128 candles each."""
    series, other = waves(1, 700), waves(2, 700)
    with monkeypatch.context() as before:
        before.setattr(candle_rows, "BLOCK_CANDLES", 128)
        windows = [
            (now, keep(world, A=now)["A"])
            for now in (part(series, 0, 500), part(series, 7, 507), part(other, 7, 507))
        ]
    known = text("update alembic_version set version_num = :known")
    with world.ledger._connections.write() as connection:
        connection.execute(known, {"known": "0008"})
    address = ledger_settings.ledger.url or f"sqlite:///{ledger_settings.data_dir}/{FILE_NAME}"
    migrate(address, "0009")
    with world.ledger._connections.write() as connection:
        connection.execute(known, {"known": SCHEMA_REVISION})
    for candles, window in windows:
        assert same(world.ledger.archive.candles("1h", HOUR_S, window), candles)
    assert stored_bytes(world.ledger) == (507 + 500) * 48
    assert keep(world, A=part(other, 8, 508))["A"].edition == windows[-1][1].edition == 1
    assert stored_bytes(world.ledger) == (507 + 501) * 48
    with world.ledger.reading() as connection:
        largest = connection.execute(select(func.max(func.length(candle_blocks.c.data)))).scalar()
    assert largest == candle_rows.BLOCK_CANDLES * 48


@pytest.mark.parametrize("seed", range(12))
def test_windows_that_grow_shrink_and_step_back_are_all_found_again(
    world: World, seed: int
) -> None:
    """However a window follows the one before: by one candle, by many, longer, shorter, older."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    series, windows, end = waves(seed, 700), [], 200
    for _ in range(40):
        end = min(max(end + dice.choice([1, 1, 1, 1, 0, 2, 7, -3]), 150), 700)
        now = part(series, end - dice.choice([149, 150, 150, 150, 40]), end)
        windows.append((now, keep(world, A=now)["A"]))
    for candles, window in windows:
        assert same(world.ledger.archive.candles("1h", HOUR_S, window), candles)


@pytest.mark.parametrize("kind", ["blake2b", "sha256"])
def test_a_window_with_a_digest_of_a_kind_before_is_found(world: World, kind: str) -> None:
    """Digests were of other kinds: the first until schema 0007."""
    series = waves(1, 600)
    data = candle_rows.rows_of(part(series, 0, 500)).tobytes()
    old = {
        "blake2b": hashlib.blake2b(data, digest_size=8).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest()[:24],
    }[kind]
    window = msgspec.structs.replace(keep(world, A=part(series, 0, 500))["A"], digest=old)
    assert same(world.ledger.archive.candles("1h", HOUR_S, window), part(series, 0, 500))
    for other in ("0" * len(old), old[1:]):
        with pytest.raises(NotFound):
            world.ledger.archive.candles(
                "1h", HOUR_S, msgspec.structs.replace(window, digest=other)
            )


@pytest.mark.parametrize("moves", [1, 2])
@pytest.mark.parametrize("place", [0, 1, 250, 496, 497])
def test_a_new_candle_hides_no_change_of_the_ones_before(
    world: World, moves: int, place: int
) -> None:
    series = waves(1, 600)
    keep(world, A=part(series, 50, 549))
    before = keep(world, A=part(series, 50, 550))["A"]
    now = part(series, 50 + moves, 550 + moves)
    close = now.close.copy()
    close[place] += 0.01
    changed = Candles.of(now.time, now.open, now.high, now.low, close, now.volume)
    after = keep(world, A=changed)["A"]
    assert (before.edition, after.edition) == (0, 1)
    assert same(world.ledger.archive.candles("1h", HOUR_S, after), changed)
    assert same(world.ledger.archive.candles("1h", HOUR_S, before), part(series, 50, 550))


def test_a_past_that_was_rewritten_leaves_the_old_one_to_older_cycles(world: World) -> None:
    before = waves(1, 300)
    close = before.close.copy()
    close[40] += 0.01
    after = Candles.of(before.time, before.open, before.high, before.low, close, before.volume)
    old, new = keep(world, A=before)["A"], keep(world, A=after)["A"]
    assert (old.edition, new.edition) == (0, 1)
    assert same(world.ledger.archive.candles("1h", HOUR_S, old), before)
    assert same(world.ledger.archive.candles("1h", HOUR_S, new), after)


def test_after_a_pause_the_series_goes_on_beside_what_was_kept_before(world: World) -> None:
    series = waves(1, 900)
    early, late = part(series, 0, 100), part(series, 110, 210)
    kept = [keep(world, A=each)["A"] for each in (early, late)]
    for window, candles in zip(kept, (early, late), strict=True):
        assert same(world.ledger.archive.candles("1h", HOUR_S, window), candles)


def test_an_older_window_is_found_without_a_new_edition(world: World) -> None:
    series = waves(1, 300)
    keep(world, A=series)
    older = keep(world, A=part(series, 0, 250))["A"]
    assert older.edition == 0
    assert same(world.ledger.archive.candles("1h", HOUR_S, older), part(series, 0, 250))


def test_a_span_is_what_was_last_seen_of_a_symbol(world: World) -> None:
    series = waves(1, 300)
    keep(world, A=series)
    first, last = int(series.time[90]), int(series.time[200])
    found = world.ledger.archive.span("1h", HOUR_S, "A", first, last)
    assert same(found, part(series, 90, 201))
    assert len(world.ledger.archive.span("1h", HOUR_S, "B", first, last)) == 0


def test_rows_that_are_gone_or_differ_are_not_taken_for_what_was_decided_on(
    world: World,
) -> None:
    window = keep(world, A=waves(1, 300))["A"]
    for wrong in ({"digest": "0" * 16}, {"edition": 7}, {"count": 301}):
        with pytest.raises(NotFound, match="candles of A"):
            world.ledger.archive.candles("1h", HOUR_S, msgspec.structs.replace(window, **wrong))


def test_candles_go_with_the_last_cycle_that_was_decided_on_them(world: World) -> None:
    """A later cycle's inputs hold what reaches back into its window, and nothing older."""
    ledger, series = world.ledger, waves(1, 600)
    for end in (100, 600):
        cycle = world.open()
        world.plan(cycle, ("A",))
        seen = judged_on({"A": part(series, max(end - 200, 0), end)})
        assert world.report(cycle.cycle_id, 0, basis=seen)
        world.now += timedelta(days=20)
    ledger.prune(NOW + timedelta(days=10))
    first, last = int(series.time[0]), int(series.time[-1])
    left = ledger.archive.span("1h", HOUR_S, "A", first, last)
    assert first < int(left.time[0]) <= int(series.time[400])
    assert int(left.time[-1]) == last
    ledger.prune(NOW + timedelta(days=100))
    with ledger.reading() as connection:
        for table in (candle_blocks, candle_series, step_inputs):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_the_candles_of_a_cycle_s_symbol_can_be_asked_for(world: World) -> None:
    series = waves(1, 300)
    cycle = world.open()
    world.plan(cycle, ("A", "B"))
    seen = judged_on({"A": series, "B": waves(2, 300)})
    assert world.report(cycle.cycle_id, 0, basis=seen)
    with world.ledger.reading() as connection:
        assert windows_of(connection, cycle.cycle_id, "C") == ()
        (window,) = windows_of(connection, cycle.cycle_id, "A")
    assert same(world.ledger.archive.candles("1h", HOUR_S, window), series)


def test_gaps_in_time_are_no_obstacle(world: World) -> None:
    series = waves(1, 400)
    step = np.where(np.arange(400) < 200, 0, 5000 * HOUR_MS)
    gapped = Candles.of(series.time + step, *series.prices())
    window = keep(world, A=gapped)["A"]
    assert same(world.ledger.archive.candles("1h", HOUR_S, window), gapped)
