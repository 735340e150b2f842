"""Replays candles: `python -m replay --help`."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from engine.errors import ConfigError, LedgerUnavailable, NotFound
from replay import recheck
from replay.ending import sell_all
from replay.files import metrics_json, write_all
from replay.history import History
from replay.loading import load
from replay.options import Options, read_options
from replay.report import report_html
from replay.results import Results, results_of
from replay.runner import Runner
from replay.summary import summary
from replay.terms import limits_of, strategies_of, terms_of

OK, FAULT = 0, 2
BAR = 30
PATIENCE_S = 1.0
REDRAW_S = 0.2


@dataclass(frozen=True)
class Replayed:
    """A replay that is over."""

    options: Options
    runner: Runner
    results: Results


def replay(options: Options, progress: Callable[[int, int], None]) -> Replayed:
    """Replay what the options ask for. Raises ConfigError."""
    candles = load(options)
    limits, terms = limits_of(options, candles), terms_of(options)
    history = History(candles, options, limits)
    runner = Runner(options, history, limits, terms, strategies_of(options))
    runner.run(progress)
    sell_all(runner, runner.finish(), options, terms)
    return Replayed(options, runner, results_of(runner.account))


class ProgressBar:
    """A line on a terminal, once it takes longer than a moment; nothing anywhere else."""

    def __init__(self, stream: TextIO, seconds: Callable[[], float]) -> None:
        self._stream = stream
        self._seconds = seconds
        self._due = seconds() + PATIENCE_S
        self._is_drawn = False

    def __call__(self, done: int, total: int) -> None:
        """Draw how far it is, now and then."""
        if not self._stream.isatty() or (self._seconds() < self._due and done < total):
            return
        if done == total and not self._is_drawn:
            return
        self._due, self._is_drawn = self._seconds() + REDRAW_S, True
        filled = BAR * done // total
        end = "\n" if done == total else ""
        bar = "#" * filled + "." * (BAR - filled)
        self._stream.write(f"\rreplay [{bar}] {done / total:4.0%}  {done} of {total}{end}")
        self._stream.flush()


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Replay candles, or decide a cycle anew. 2: it could not be done."""
    try:
        if recheck.is_asked(arguments):
            return recheck.run(arguments, environ)
        return _replay(read_options(arguments, environ))
    except ConfigError as error:
        sys.stderr.writelines(f"replay: {fault}\n" for fault in error.faults)
    except (LedgerUnavailable, NotFound, OSError) as error:
        sys.stderr.write(f"replay: {error}\n")
    return FAULT


def _replay(options: Options) -> int:
    """Replay, write the files, say what came out."""
    # What was imported lives to the end: the collector need not look through it again.
    gc.freeze()
    done = replay(options, ProgressBar(sys.stderr, time.monotonic))
    runner = done.runner
    write_all(options.out, done.results, runner.record, report_html(runner, done.results))
    text = metrics_json(done.results) if options.as_json else summary(runner, done.results, options)
    sys.stdout.write(text)
    return OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
