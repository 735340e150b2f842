"""`./dev candles`: public candles of an exchange into a file that a replay reads; it resumes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from engine.domain.candles import Candles, joined
from engine.errors import ConfigError
from replay.history import moment
from replay.options import parse_moment
from services.market_data.feeds.ccxt import PAGE, Exchange, connect
from services.market_data.feeds.tables import SUFFIXES, read_candles, write_candles

OK, BROKEN_OFF, FAULT = 0, 1, 2
MILLISECONDS = 1000
SHORTEST_PAGE = 100  # candles that every exchange gives at once
ROW = 6  # time, open, high, low, close, volume

Connect = Callable[[str], Exchange]


@dataclass(frozen=True)
class Wanted:
    """What is asked for. Times are open times in epoch ms; `to_ms` is left out."""

    symbols: tuple[str, ...]
    timeframe: str
    step_ms: int
    from_ms: int
    to_ms: int
    out: Path


class BrokenOff(Exception):
    """The exchange did not answer any more; what it gave is kept."""


class Download:
    """Fetches what a file lacks, a page at a time, and keeps it after each symbol."""

    def __init__(self, exchange: Exchange, wanted: Wanted, told: Callable[[str], None]) -> None:
        self._exchange = exchange
        self._wanted = wanted
        self._told = told
        self._candles = _known(wanted)

    def run(self) -> int:
        """Fetch every symbol; how many candles were new. Raises BrokenOff and OSError."""
        return sum(self._symbol(symbol) for symbol in self._wanted.symbols)

    def _symbol(self, symbol: str) -> int:
        known = self._candles.get(symbol)
        before = 0 if known is None else len(known)
        pages: list[Candles] = []
        try:
            for first, last in self._missing(known):
                for page in self._pages(symbol, first, last):
                    pages.append(page)
                    count = sum(len(each) for each in pages)
                    self._told(f"{symbol}  {count} new candles, to {moment(int(page.time[-1]))}")
        finally:
            if pages:
                parts = [*([] if known is None else [known]), *pages]
                self._candles[symbol] = _merged(parts)
                write_candles(self._wanted.out, self._candles)
        fresh = len(self._candles[symbol]) - before if symbol in self._candles else 0
        self._told(f"{symbol}  {fresh} new candles, {before + fresh} in all\n")
        return fresh

    def _missing(self, known: Candles | None) -> list[tuple[int, int]]:
        """Spans that the file lacks at its ends; a gap inside is the exchange's."""
        begin, end = self._wanted.from_ms, self._wanted.to_ms
        if known is None or len(known) == 0:
            return [(begin, end)]
        first, last = int(known.time.min()), int(known.time.max())
        spans = [(begin, min(first, end)), (max(last + self._wanted.step_ms, begin), end)]
        return [span for span in spans if span[0] < span[1]]

    def _pages(self, symbol: str, first: int, last: int) -> Iterator[Candles]:
        """Closed candles with first <= time < last, page after page."""
        step = self._wanted.step_ms
        while first < last:
            rows = self._ask(symbol, first)
            fresh = [row for row in rows if first <= row[0] < last]
            if fresh:
                page = _columns(fresh)
                first = int(page.time[-1]) + step
                yield page
            else:
                # Before the listing, or a long pause: nothing within a page, however short it is.
                first += SHORTEST_PAGE * step

    def _ask(self, symbol: str, since: int) -> Sequence[Sequence[float]]:
        try:
            return self._exchange.fetch_ohlcv(symbol, self._wanted.timeframe, since, PAGE)
        except Exception as exc:
            reason = " ".join(str(exc).split()) or type(exc).__name__
            raise BrokenOff(f"{symbol}: the exchange did not answer: {reason}") from exc


def _known(wanted: Wanted) -> dict[str, Candles]:
    """What the file holds already. Raises ConfigError for candles of another length."""
    if not wanted.out.exists():
        return {}
    candles = read_candles(wanted.out)
    for symbol, rows in candles.items():
        steps = np.diff(np.unique(rows.time)).astype(np.int64)
        if np.any(steps % wanted.step_ms != 0):
            length = f"--out: {wanted.out} holds candles of another length than {wanted.timeframe}"
            raise ConfigError([f"{length} ({symbol})"])
    return candles


def main(
    arguments: Sequence[str],
    *,
    connecting: Connect = connect,
    now_s: Callable[[], float] = time.time,
    stream: TextIO = sys.stderr,
) -> int:
    """Download. 0: all is there; 1: it broke off, run it again to go on; 2: it cannot begin."""
    given = _parser().parse_args(arguments)
    try:
        exchange = connecting(given.exchange)
        wanted = _wanted(given, exchange, now_s())
        count = Download(exchange, wanted, _teller(stream)).run()
    except ConfigError as error:
        stream.writelines(f"candles: {_plain(fault)}\n" for fault in error.faults)
        return FAULT
    except OSError as error:
        stream.write(f"candles: {error}\n")
        return FAULT
    except BrokenOff as error:
        stream.write(f"\ncandles: {error}; what came is in {given.out}, run it again to go on\n")
        return BROKEN_OFF
    stream.write(f"{count} new candles in {wanted.out}\n")
    return OK


def _wanted(given: argparse.Namespace, exchange: Exchange, now_s: float) -> Wanted:
    """What is asked for, checked against the exchange. Raises ConfigError."""
    if given.timeframe not in exchange.timeframes:
        offered = ", ".join(exchange.timeframes)
        raise ConfigError([f"--timeframe: {given.exchange} has no {given.timeframe}: {offered}"])
    try:
        markets = exchange.load_markets()
    except Exception as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise ConfigError([f"{given.exchange} does not answer: {reason}"]) from exc
    symbols = tuple(part for text in given.symbols for part in text.split(",") if part)
    unknown = [symbol for symbol in symbols if symbol not in markets]
    if unknown:
        raise ConfigError([f"--symbols: {given.exchange} has no {', '.join(unknown)}"])
    if given.out.suffix.lower() not in SUFFIXES:
        raise ConfigError([f"--out: {given.out} ends neither in .parquet nor in .csv"])
    step_ms = exchange.parse_timeframe(given.timeframe) * MILLISECONDS
    # The candle that is forming now is not over.
    closed_ms = int(now_s * MILLISECONDS) // step_ms * step_ms
    return Wanted(
        symbols=symbols,
        timeframe=given.timeframe,
        step_ms=step_ms,
        from_ms=-(-given.since // step_ms) * step_ms,
        to_ms=closed_ms if given.to is None else min(given.to, closed_ms),
        out=given.out,
    )


def _plain(fault: str) -> str:
    """A fault of the feed's settings without their names: here they are options."""
    return fault.removeprefix("services.market_data.").removeprefix("feed: ")


def _teller(stream: TextIO) -> Callable[[str], None]:
    """Progress: one line that is written over on a terminal, else only the last of each symbol."""

    def told(text: str) -> None:
        is_last = text.endswith("\n")
        if stream.isatty():
            stream.write(f"\r\x1b[2K{text}")
        elif is_last:
            stream.write(text)
        stream.flush()

    return told


def _columns(rows: Sequence[Sequence[float]]) -> Candles:
    numbers = [[np.nan if cell is None else cell for cell in row[:ROW]] for row in rows]
    table = np.asarray(numbers, dtype=np.float64)
    return _merged([Candles.of(table[:, 0], *table[:, 1:].T)])


def _merged(parts: Sequence[Candles]) -> Candles:
    """All parts in order of time, each candle once: of two the later one."""
    whole = joined(parts)
    _, from_behind = np.unique(whole.time[::-1], return_index=True)
    return whole.chosen(len(whole) - 1 - from_behind)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev candles",
        description="Writes public candles of an exchange into a file that ./dev replay reads.",
        epilog="An existing file is continued; it may be broken off and run again at any time.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--exchange", required=True, metavar="ID", help="of ccxt, such as kraken")
    add("--symbols", required=True, nargs="+", metavar="S", help="such as BTC/USD ETH/USD")
    add("--timeframe", default="1h", metavar="LENGTH", help="default: %(default)s")
    add("--from", dest="since", required=True, type=parse_moment, metavar="TIME")
    add("--to", type=parse_moment, metavar="TIME", help="left out (default: all that has closed)")
    add(
        "--out",
        type=Path,
        default=Path("data/candles.parquet"),
        metavar="FILE",
        help=".parquet or .csv (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
