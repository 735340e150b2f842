"""`./dev candles` against a made-up exchange: every candle once, also after it broke off."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from replay.candles import main
from services.market_data.feeds.tables import read_candles, write_candles
from tests.market_feeds import FIRST_OPEN, HOUR, FakeExchange
from tests.replays import replayed, waves

NOW = FIRST_OPEN + 100 * HOUR + HOUR // 2
Rows = Sequence[Sequence[float]]


class Listed(FakeExchange):
    """Its candles begin at hour 40, pages of 100; the open of each tells which it is."""

    def fetch_ohlcv(self, symbol: str, timeframe: str, since: int | None, limit: int) -> Rows:
        begin = (since or 0) // HOUR * HOUR
        opens = range(begin, min(begin + 100 * HOUR, self.now_ms + 1), HOUR)
        found = [at for at in opens if at >= FIRST_OPEN + 40 * HOUR]
        return [[at, 10.0 + (at - FIRST_OPEN) // HOUR, 99.0, 1.0, 9.0, 1.0] for at in found]


class Failing(FakeExchange):
    """It answers four pages."""

    def fetch_ohlcv(self, symbol: str, timeframe: str, since: int | None, limit: int) -> Rows:
        if len(self.calls) > 4:
            raise TimeoutError("no answer")
        return super().fetch_ohlcv(symbol, timeframe, since, limit)


def download(out: Path, exchange: FakeExchange, *arguments: str, since: int = 0) -> tuple[int, str]:
    told = io.StringIO()
    begin = str(FIRST_OPEN + since * HOUR)
    given = ["--exchange", "made-up", "--from", begin, "--out", str(out), *arguments]
    status = main(given, connecting=lambda _: exchange, now_s=lambda: NOW / 1000, stream=told)
    return status, told.getvalue()


def hours(out: Path, symbol: str = "BTC/USD") -> list[int]:
    """Which hours the file holds of a symbol, in its order."""
    found: list[int] = ((read_candles(out)[symbol].time - FIRST_OPEN) // HOUR).tolist()
    return found


@pytest.mark.parametrize("name", ["candles.parquet", "candles.csv"])
def test_every_closed_candle_is_written_once(tmp_path: Path, name: str) -> None:
    out = tmp_path / "new" / name
    status, told = download(out, FakeExchange(NOW), "--symbols", "BTC/USD,ETH/USD")
    assert status == 0
    assert hours(out) == hours(out, "ETH/USD") == list(range(100))
    assert told.splitlines() == [
        "BTC/USD  100 new candles, 100 in all",
        "ETH/USD  100 new candles, 100 in all",
        f"200 new candles in {out}",
    ]
    assert [path.name for path in out.parent.iterdir()] == [name]


def test_a_second_run_asks_for_nothing_that_is_there(tmp_path: Path) -> None:
    out, exchange = tmp_path / "a.parquet", FakeExchange(NOW)
    download(out, exchange, "--symbols", "BTC/USD", "--to", str(FIRST_OPEN + 60 * HOUR), since=30)
    assert hours(out) == list(range(30, 60))
    exchange.calls.clear()
    status, told = download(out, exchange, "--symbols", "BTC/USD", since=20)
    assert (status, hours(out)) == (0, list(range(20, 100)))
    assert "BTC/USD  50 new candles, 80 in all" in told
    assert exchange.calls.count("fetch_ohlcv BTC/USD") == 1 + 3
    exchange.calls.clear()
    download(out, exchange, "--symbols", "BTC/USD", since=20)
    assert "fetch_ohlcv BTC/USD" not in exchange.calls


def test_what_came_before_it_broke_off_is_kept_and_gone_on_from(tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    status, told = download(out, Failing(NOW), "--symbols", "BTC/USD")
    assert status == 1
    assert hours(out) == list(range(60))
    assert "BTC/USD: the exchange did not answer: no answer" in told
    assert "run it again to go on" in told
    assert download(out, FakeExchange(NOW), "--symbols", "BTC/USD")[0] == 0
    assert hours(out) == list(range(100))


def test_a_span_before_the_listing_is_passed_over(tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    download(out, Listed(NOW), "--symbols", "BTC/USD", since=-2500)
    assert hours(out) == list(range(40, 100))
    assert read_candles(out)["BTC/USD"].open.tolist() == list(range(50, 110))


def test_other_symbols_in_the_file_stay_as_they_are(tmp_path: Path) -> None:
    out, kept = tmp_path / "a.parquet", waves(1, 50, start_ms=FIRST_OPEN)
    write_candles(out, {"A/USD": kept})
    download(out, FakeExchange(NOW), "--symbols", "ETH/USD")
    found = read_candles(out)
    assert set(found) == {"A/USD", "ETH/USD"}
    for one, other in zip(found["A/USD"].prices(), kept.prices(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_replay_reads_the_file(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    download(out, FakeExchange(NOW), "--symbols", "BTC/USD", "ETH/USD")
    done = replayed(out, "--strategy", "sma_cross", "--param", "fast=3", "slow=8")
    assert len(done.runner.history.nows) == 99


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--symbols", "DOGE/USD"], "--symbols: made-up has no DOGE/USD"),
        (["--symbols", "BTC/USD", "--timeframe", "7m"], "--timeframe: made-up has no 7m: 1h, 1d"),
        (["--symbols", "BTC/USD", "--out", "candles.json"], "ends neither in .parquet nor in .csv"),
        (["--symbols", "BTC/USD", "--timeframe", "1d"], "holds candles of another length than 1d"),
    ],
)
def test_what_cannot_begin_is_said_in_a_line(
    tmp_path: Path, arguments: list[str], fault: str
) -> None:
    out = tmp_path / "a.parquet"
    write_candles(out, {"BTC/USD": waves(1, 50, start_ms=FIRST_OPEN)})
    status, told = download(out, FakeExchange(NOW), *arguments)
    assert status == 2
    assert told.startswith("candles: ")
    assert fault in told
    assert told.count("\n") == 1


def test_without_the_library_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    told = io.StringIO()
    given = ["--exchange", "kraken", "--symbols", "BTC/USD", "--from", "2024-01-01"]
    assert main([*given, "--out", str(tmp_path / "a.csv")], stream=told) == 2
    assert told.getvalue() == "candles: ccxt needs `pip install -r requirements-live.txt`\n"
