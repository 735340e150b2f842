"""The files feed: what it derives, where it starts, and what it refuses in one line."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import ConfigError, DataQualityError
from services.market_data.feeds.build import build_feed, check_mode
from services.market_data.feeds.files import FilesFeed
from services.market_data.feeds.tables import read_candles
from tests.market_feeds import FIRST_OPEN, HOUR, market_settings, rows_of, write_csv, write_parquet


def files_feed(path: Path, history: int = 10, start_ms: int | None = None) -> FilesFeed:
    return FilesFeed(
        read_candles(path),
        timeframe="1h",
        step_s=3600,
        history=history,
        spread_bps=5,
        start_ms=start_ms,
    )


def changed(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def test_tick_and_lot_come_from_the_decimals_seen(tmp_path: Path) -> None:
    feed = files_feed(write_parquet(tmp_path / "a.parquet", rows_of("A/USD", 100.0)))
    (instrument,) = feed.instruments(feed.start_ms)
    assert instrument.tick_size == Decimal("0.01")
    assert instrument.lot_size == Decimal("0.1")
    assert instrument.min_notional == 10
    assert instrument.spread_bps == 5


def test_volume_is_the_quote_volume_of_the_last_24_hours(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows_of("A/USD", 100.0))
    feed = files_feed(path, start_ms=FIRST_OPEN + 30 * HOUR)
    (instrument,) = feed.instruments(feed.start_ms)
    closes = [100.5 + number for number in range(6, 30)]
    assert instrument.volume_24h == Decimal(f"{12.5 * sum(closes):.2f}")


def test_what_is_no_volume_adds_nothing_to_the_volume_of_a_day(tmp_path: Path) -> None:
    rows = rows_of("A/USD", 100.0)
    volume: list[object] = rows["volume"].to_pylist()
    for row, what in ((10, np.nan), (11, np.inf), (12, -3.0)):
        volume[row] = what
    path = write_parquet(tmp_path / "a.parquet", changed(rows, "volume", volume))
    feed = files_feed(path, start_ms=FIRST_OPEN + 30 * HOUR)
    (instrument,) = feed.instruments(feed.start_ms)
    closes = [100.5 + number for number in range(6, 30) if number not in {10, 11, 12}]
    assert instrument.volume_24h == Decimal(f"{12.5 * sum(closes):.2f}")


def test_the_clock_starts_where_most_symbols_have_their_history(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "a.parquet",
        rows_of("A/USD", 100.0),
        rows_of("B/USD", 10.0, count=35, first=FIRST_OPEN + 5 * HOUR),
        rows_of("C/USD", 10.0, count=3, first=FIRST_OPEN + 37 * HOUR),
    )
    feed = files_feed(path)
    assert feed.start_ms == FIRST_OPEN + 15 * HOUR
    assert {each.symbol for each in feed.instruments(feed.start_ms)} == {"A/USD", "B/USD"}


def test_a_symbol_is_listed_from_its_first_closed_candle(tmp_path: Path) -> None:
    late = rows_of("B/USD", 10.0, count=20, first=FIRST_OPEN + 20 * HOUR)
    feed = files_feed(write_parquet(tmp_path / "a.parquet", rows_of("A/USD", 100.0), late))
    listed = [
        {each.symbol for each in feed.instruments(FIRST_OPEN + hour * HOUR)} for hour in (20, 21)
    ]
    assert listed == [{"A/USD"}, {"A/USD", "B/USD"}]


def test_moves_skip_the_hours_in_which_nothing_closed(tmp_path: Path) -> None:
    early = rows_of("A/USD", 100.0, count=20)
    late = rows_of("A/USD", 200.0, count=20, first=FIRST_OPEN + 100 * HOUR)
    feed = files_feed(write_parquet(tmp_path / "a.parquet", early, late))
    friday = FIRST_OPEN + 20 * HOUR
    assert feed.later(friday - HOUR, 1) == friday
    assert feed.later(friday, 1) == FIRST_OPEN + 101 * HOUR
    assert feed.prices("A/USD", friday).last == 200


def test_a_symbol_without_the_next_candle_has_no_price(tmp_path: Path) -> None:
    short = rows_of("B/USD", 10.0, count=20)
    feed = files_feed(write_parquet(tmp_path / "a.parquet", rows_of("A/USD", 100.0), short))
    with pytest.raises(DataQualityError, match="no price"):
        feed.prices("B/USD", FIRST_OPEN + 20 * HOUR)


def test_candles_keep_the_files_order_gaps_and_repeats(tmp_path: Path) -> None:
    table = rows_of("A/USD", 100.0)
    rows = [*range(10), 12, 11, 11, *range(13, 40)]
    feed = files_feed(write_parquet(tmp_path / "a.parquet", table.take(rows)))
    candles = feed.candles("A/USD", "1h", FIRST_OPEN + 15 * HOUR, 500, None)
    assert ((candles.time - FIRST_OPEN) // HOUR).tolist() == [*range(10), 12, 11, 11, 13, 14]


def test_nothing_that_closes_later_is_shown_even_in_a_disordered_file(tmp_path: Path) -> None:
    table = rows_of("A/USD", 100.0).take(list(reversed(range(40))))
    feed = files_feed(write_parquet(tmp_path / "a.parquet", table))
    now = FIRST_OPEN + 15 * HOUR
    candles = feed.candles("A/USD", "1h", now, 500, FIRST_OPEN + 5 * HOUR)
    assert len(candles) == 9
    assert candles.time.max() + HOUR == now


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_what_json_cannot_say_is_an_error_that_names_the_candle(
    tmp_path: Path, value: float | None
) -> None:
    table = rows_of("A/USD", 100.0)
    closes: list[object] = table.column("close").to_pylist()
    closes[12] = value
    feed = files_feed(write_parquet(tmp_path / "a.parquet", changed(table, "close", closes)))
    with pytest.raises(DataQualityError, match="2025-03-01T12:00:00Z"):
        feed.candles("A/USD", "1h", FIRST_OPEN + 20 * HOUR, 500, None)
    assert len(feed.candles("A/USD", "1h", FIRST_OPEN + 20 * HOUR, 5, None)) == 5


def test_times_may_be_timestamps_or_milliseconds(tmp_path: Path) -> None:
    table = rows_of("A/USD", 100.0)
    stamps = pa.array(table.column("ts").to_pylist(), pa.timestamp("ms", tz="UTC"))
    stamped = table.set_column(1, "ts", stamps)
    plain = read_candles(write_parquet(tmp_path / "a.parquet", table))
    for file in (
        write_parquet(tmp_path / "b.parquet", stamped),
        write_csv(tmp_path / "c.csv", stamped),
    ):
        assert np.array_equal(read_candles(file)["A/USD"].time, plain["A/USD"].time)


def one_line(path: Path, history: int = 10, start_ms: int | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        files_feed(path, history, start_ms)
    assert len(caught.value.faults) == 1
    assert "\n" not in caught.value.faults[0]
    return caught.value.faults[0]


@pytest.mark.parametrize("name", ["symbol", "ts", "open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_missing_column_is_named_with_its_file(tmp_path: Path, suffix: str, name: str) -> None:
    write = write_csv if suffix == "csv" else write_parquet
    path = write(tmp_path / f"a.{suffix}", rows_of("A/USD", 100.0).drop_columns([name]))
    line = one_line(path)
    assert str(path) in line
    assert f"lacks the column {name}" in line


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.parquet", b"not a parquet file", "cannot be read"),
        ("a.parquet", b"", "cannot be read"),
        ("a.csv", b"", "cannot be read"),
        ("a.csv", b"symbol,ts,open,high,low,close,volume\n", "has no candles"),
        ("a.csv", b"symbol,ts,open,high,low,close,volume\nA,1,x,2,3,4,5\n", "column open"),
        ("a.csv", b"symbol,ts,open,high,low,close,volume\nA,x,1,2,3,4,5\n", "column ts"),
        ("a.txt", b"", "neither .parquet nor .csv"),
    ],
)
def test_an_unreadable_file_is_one_line(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    line = one_line(path)
    assert str(path) in line
    assert words in line


def test_a_missing_path_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    assert "does not exist" in one_line(tmp_path / "none")
    assert "holds no" in one_line(tmp_path)


def test_candles_of_another_length_are_refused(tmp_path: Path) -> None:
    table = rows_of("A/USD", 100.0).take(list(range(0, 40, 4)))
    line = one_line(write_parquet(tmp_path / "a.parquet", table))
    assert "14400 s apart" in line
    assert "default_timeframe 1h" in line


def test_too_little_history_says_what_to_change(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows_of("A/USD", 100.0))
    assert "lower trading_engine.candles" in one_line(path, history=41)


def test_a_start_outside_the_file_says_what_it_spans(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows_of("A/USD", 100.0))
    assert "2025-03-01T01:00:00Z" in one_line(path, start_ms=0)


def test_a_start_that_is_no_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clock_start"):
        build_feed(market_settings(tmp_path, clock_start="yesterday"))


def test_a_replay_is_refused_in_live_mode(tmp_path: Path) -> None:
    settings = market_settings(tmp_path)
    engine = settings.trading_engine.model_copy(update={"mode": "live"})
    live = settings.model_copy(update={"trading_engine": engine})
    with pytest.raises(ConfigError, match="live"):
        check_mode(live, build_feed(settings))
