"""The cache: what comes back is what was kept, signed, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cache import LONG_LIVES, RedisCandleCache
from engine.domain.candles import Candles
from engine.domain.messages import SymbolList
from engine.domain.model import Instrument, MarketClock, Quote
from engine.ports import SeriesEnd
from tests.clients_kit import RedisSwitch

SECRET = b"s" * 32
NOON = datetime(2025, 11, 22, 12, tzinfo=UTC)


def candles(count: int = 3, start: int = 0) -> Candles:
    times = np.arange(start, start + count, dtype=np.int64) * 3_600_000
    return Candles.of(times, *(np.arange(count) + 0.1 * column for column in range(5)))


def make_cache(
    switch: RedisSwitch, *, secret: bytes = SECRET, namespace: str = "simulated|7", at: float = 0.0
) -> RedisCandleCache:
    return RedisCandleCache(
        switch.link(), secret=secret, namespace=namespace, ttl_s=60, wall=lambda: at
    )


def same(one: Candles, other: Candles) -> bool:
    return np.array_equal(one.block, other.block)


def test_candles_come_back_as_they_were_kept() -> None:
    switch = RedisSwitch()
    kept = {f"S{index}": candles(index + 1) for index in range(250)}
    make_cache(switch).save(kept, "1h")
    found = make_cache(switch).load([*kept, "OTHER"], "1h")
    assert set(found) == set(kept)
    assert all(same(found[symbol], kept[symbol]) for symbol in kept)


def test_no_candles_and_a_slice_of_candles_are_kept_too() -> None:
    cache = make_cache(RedisSwitch())
    cache.save({"NONE": candles(0), "SLICE": candles(9).tail(2)}, "1h")
    found = cache.load(["NONE", "SLICE"], "1h")
    assert len(found["NONE"]) == 0
    assert same(found["SLICE"], candles(9).tail(2))


def test_timeframes_and_feeds_share_nothing() -> None:
    switch = RedisSwitch()
    make_cache(switch).save({"A": candles()}, "1h")
    assert make_cache(switch).load(["A"], "1m") == {}
    assert make_cache(switch, namespace="files|x").load(["A"], "1h") == {}


def test_who_is_quiet_is_kept_with_the_candle_and_what_it_is_about() -> None:
    switch = RedisSwitch()
    series = {"A": candles(9), "B": candles(5), "C": candles(7), "NONE": candles(0)}
    make_cache(switch).save(series, "1h", ["A", "B", "NONE"], "abc")
    newest = {name: int(series[name].time[-1]) for name in ("A", "B")}
    names = [*series, "D"]
    for about, is_quiet in (("abc", True), ("def", False)):
        ends = {name: SeriesEnd(at, is_quiet) for name, at in newest.items()}
        assert make_cache(switch).load_ends(names, "1h", about) == ends
    assert make_cache(switch).load_ends(names, "1m", "abc") == {}
    assert make_cache(switch, secret=b"y" * 32).load_ends(names, "1h", "abc") == {}


def test_what_is_quiet_with_a_new_candle_is_kept_beside_it_until_a_candle_says_more() -> None:
    switch, series = RedisSwitch(), candles(12)
    cache = make_cache(switch)
    cache.save({"A": part(series, 0, 8)}, "1h")
    for length, quiet in ((9, ["A"]), (10, ["A"]), (11, []), (12, ["A"])):
        cache.load_ends(["A"], "1h", "abc")
        assert same(cache.load(["A"], "1h")["A"], part(series, 0, length - 1))
        cache.save({"A": part(series, 0, length)}, "1h", quiet, "abc")
        found = make_cache(switch).load_ends(["A"], "1h", "abc")
        assert found == {"A": SeriesEnd(int(series.time[length - 1]), is_quiet=bool(quiet))}


def test_candles_that_are_not_signed_with_the_ledgers_key_are_a_miss() -> None:
    switch = RedisSwitch()
    make_cache(switch, secret=b"attacker" * 4).save({"A": candles()}, "1h")
    assert make_cache(switch).load(["A"], "1h") == {}


def test_candles_moved_to_another_symbol_are_a_miss() -> None:
    switch = RedisSwitch()
    cache = make_cache(switch)
    cache.save({"A": candles(), "B": candles(5)}, "1h")
    (a_key,) = switch.client.keys("*:1h:A")
    switch.client.set(a_key.replace(b":A", b":B"), switch.client.get(a_key))
    assert list(cache.load(["A", "B"], "1h")) == ["A"]


@pytest.mark.parametrize("position", [0, 31, 32, 33, 40, -1])
def test_a_changed_byte_is_a_miss(position: int) -> None:
    switch = RedisSwitch()
    cache = make_cache(switch)
    cache.save({"A": candles()}, "1h")
    (key,) = switch.client.keys("*")
    value = bytearray(switch.client.get(key))
    value[position] ^= 1
    switch.client.set(key, bytes(value))
    assert cache.load(["A"], "1h") == {}


@pytest.mark.parametrize("value", [b"", b"x", b"x" * 32, b"x" * 500])
def test_nonsense_is_a_miss(value: bytes) -> None:
    switch = RedisSwitch()
    cache = make_cache(switch)
    cache.save({"A": candles()}, "1h")
    for key in switch.client.keys("*"):
        switch.client.set(key, value)
    assert cache.load(["A"], "1h") == {}
    assert cache.load_symbols() is None


def test_what_is_kept_ends() -> None:
    switch = RedisSwitch()
    make_cache(switch).save({"A": candles()}, "1h")
    make_cache(switch).save_symbols(SYMBOLS)
    left = sorted(switch.client.pttl(key) for key in switch.client.keys("*"))
    assert 0 < left[0] <= 60_000 < left[1] <= LONG_LIVES * 60_000


def test_with_redis_away_everything_is_a_miss_and_nothing_raises() -> None:
    switch = RedisSwitch()
    cache = make_cache(switch)
    cache.save({"A": candles()}, "1h")
    switch.off()
    cache.save({"A": candles(5)}, "1h")
    cache.save_symbols(SYMBOLS)
    assert cache.load(["A"], "1h") == {}
    assert cache.load_symbols() is None


def test_quotes_come_back_of_whatever_age_and_only_as_they_were_signed() -> None:
    switch = RedisSwitch()
    quote = Quote(bid=Decimal("1.10"), ask=Decimal(2), last=Decimal(1), as_of=NOON)
    make_cache(switch).save_quotes({"A": quote, "B": quote})
    assert make_cache(switch).load_quotes(["A", "C"]) == {"A": quote}
    for key in switch.client.keys("*quote:B"):
        switch.client.set(key, switch.client.get(key).replace(b"1.10", b"9.10"))
    assert make_cache(switch).load_quotes(["B"]) == {}


SYMBOLS = SymbolList(
    as_of=datetime(2025, 11, 22, tzinfo=UTC),
    clock=MarketClock.LIVE,
    symbols=(
        Instrument(
            symbol="BTC/USD",
            volume_24h=Decimal(1),
            spread_bps=1.0,
            tick_size=Decimal("0.01"),
            lot_size=Decimal("0.0001"),
            min_notional=Decimal(10),
        ),
    ),
)


def test_the_symbol_list_comes_back_with_its_age() -> None:
    switch = RedisSwitch()
    make_cache(switch, at=1000.0).save_symbols(SYMBOLS)
    assert make_cache(switch, at=1090.0).load_aged_symbols() == (SYMBOLS, 90.0)
    assert make_cache(switch).load_symbols() == SYMBOLS
    assert make_cache(switch, secret=b"other" * 8).load_symbols() is None


def part(series: Candles, begin: int, end: int) -> Candles:
    return series.between(begin, end)


def going_on(switch: RedisSwitch, series: Candles, first: int, steps: int) -> RedisCandleCache:
    """A cache that read and saved a window of `first` candles at each of `steps` new candles."""
    cache = make_cache(switch)
    cache.save({"A": part(series, 0, first)}, "1h")
    for step in range(1, steps + 1):
        cache.load(["A"], "1h")
        cache.save({"A": part(series, step, first + step)}, "1h")
    return cache


@given(first=st.integers(1, 60), steps=st.integers(0, 110))
def test_a_window_that_moves_on_comes_back_as_it_was_kept(first: int, steps: int) -> None:
    switch, series = RedisSwitch(), candles(first + steps)
    going_on(switch, series, first, steps)
    assert same(make_cache(switch).load(["A"], "1h")["A"], part(series, steps, first + steps))


def test_a_new_candle_is_written_without_the_series_before_it() -> None:
    switch = RedisSwitch()
    going_on(switch, candles(520), 500, 20)
    sizes = sorted(switch.client.strlen(key) for key in switch.client.keys("*"))
    assert sizes[0] < 21 * 48 + 100
    assert sizes[1] > 500 * 48


def test_series_first_kept_at_once_are_written_whole_again_at_different_times() -> None:
    switch, series = RedisSwitch(), candles(110)
    cache, symbols = make_cache(switch), [f"S{number}" for number in range(50)]

    def kept(step: int) -> dict[bytes, bytes]:
        cache.load(symbols, "1h")
        cache.save(dict.fromkeys(symbols, part(series, step, 60 + step)), "1h")
        return {key: switch.client.get(key) for key in switch.client.keys("*[0-9]")}

    written: list[int] = []
    before = kept(0)
    for step in range(1, 50):
        after = kept(step)
        written.append(sum(after[key] != before[key] for key in before))
        before = after
    assert sum(written) >= len(symbols)
    assert max(written) < len(symbols) / 4


def test_the_candles_behind_a_lost_or_another_series_are_not_taken() -> None:
    switch, series = RedisSwitch(), candles(12)
    cache = going_on(switch, series, 9, 2)
    (tail_key,) = switch.client.keys("*:tail")
    tail = switch.client.get(tail_key)
    make_cache(switch).save({"A": part(series, 0, 8)}, "1h")
    switch.client.set(tail_key, tail)
    assert same(cache.load(["A"], "1h")["A"], part(series, 0, 8))
    switch.client.delete(tail_key.removesuffix(b":tail"))
    assert cache.load(["A"], "1h") == {}


@pytest.mark.parametrize("position", [0, 32, 34, 70, -1])
def test_a_changed_byte_behind_a_series_costs_what_is_behind_it(position: int) -> None:
    switch, series = RedisSwitch(), candles(12)
    cache = going_on(switch, series, 9, 2)
    (tail_key,) = switch.client.keys("*:tail")
    value = bytearray(switch.client.get(tail_key))
    value[position] ^= 1
    switch.client.set(tail_key, bytes(value))
    assert same(cache.load(["A"], "1h")["A"], part(series, 0, 9))


def changed(series: Candles, row: int) -> Candles:
    closes = series.close.copy()
    closes[row] += 1
    return Candles.of(series.time, series.open, series.high, series.low, closes, series.volume)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(changed(candles(12), 4), id="a candle was corrected"),
        pytest.param(part(candles(12), 6, 12), id="shorter"),
        pytest.param(candles(9, start=40), id="after a gap"),
        pytest.param(candles(0), id="nothing"),
    ],
)
def test_a_series_that_does_not_just_go_on_is_kept_whole(other: Candles) -> None:
    switch = RedisSwitch()
    cache = going_on(switch, candles(12), 9, 2)
    cache.load(["A"], "1h")
    cache.save({"A": other}, "1h")
    assert same(make_cache(switch).load(["A"], "1h")["A"], other)


def test_what_a_series_goes_on_from_stays_longer_than_the_series() -> None:
    switch = RedisSwitch()
    going_on(switch, candles(12), 9, 2)
    (base_key, tail_key) = sorted(switch.client.keys("*"), key=len)
    assert switch.client.pttl(tail_key) <= 60_000 < switch.client.pttl(base_key)
