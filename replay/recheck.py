"""`./dev replay --cycle ID`: decides a cycle that ran once more, and prints what differs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.config_source import load_settings
from engine.domain.candles import Candles
from engine.domain.kept_inputs import KeptCycle, Window
from engine.errors import ConfigError
from engine.ledger.archive_reads import kept_cycle
from engine.ledger.ledger import FILE_NAME, SqlLedger, open_ledger
from engine.settings import Settings
from replay.cycle import Decided, decided_again, decided_then, strategies_of
from replay.cycle_diff import differences
from services.strategy.registry import load_registry

SAME, DIFFERENT = 0, 1
LAST = "last"


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether the command line names a cycle."""
    return any(each == "--cycle" or each.startswith("--cycle=") for each in arguments)


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the differences. 0: none; 1: some. Raises ConfigError, NotFound, LedgerUnavailable."""
    given = _parser().parse_args(arguments)
    folder = {"DATA_DIR": given.data_dir} if given.data_dir else {}
    settings = load_settings({**environ, **folder}, given.config)
    ledger = _opened(settings)
    try:
        return _compare(ledger, settings, given.cycle, are_stored=given.signals == "stored")
    finally:
        ledger.dispose()


def _opened(settings: Settings) -> SqlLedger:
    path = Path(settings.data_dir) / FILE_NAME
    if not settings.ledger.url and not path.exists():
        raise ConfigError([f"{path}: there is no ledger; name its folder: --data-dir FOLDER"])
    return open_ledger(settings)


def _compare(ledger: SqlLedger, settings: Settings, cycle_id: str, *, are_stored: bool) -> int:
    if cycle_id == LAST:
        newest = ledger.queries.last_cycle()
        cycle_id = LAST if newest is None else newest.cycle_id
    with ledger.reading() as connection:
        cycle = kept_cycle(connection, cycle_id)
    timeframe, length = cycle.settings.limits.timeframe, cycle.settings.limits.timeframe_s

    def read(window: Window) -> Candles:
        return ledger.archive.candles(timeframe, length, window)

    registry = load_registry(Path(settings.services.strategy.folder))
    asked = None if are_stored else strategies_of(cycle.settings, registry)
    then = decided_then(cycle)
    found = differences(then, decided_again(cycle, read, asked))
    sys.stdout.writelines(f"{line}\n" for line in found)
    about = "signals as they came" if asked is None else "signals judged anew"
    sys.stderr.write(f"cycle {cycle_id}: {_counted(cycle, then)}, {about}: {_told(found)}\n")
    return DIFFERENT if found else SAME


def _counted(cycle: KeptCycle, then: Decided) -> str:
    symbols = sum(len(batch.evaluate.windows) for batch in cycle.batches if batch.evaluate)
    signals = len(then.kept) + len(then.dropped)
    decisions = len(then.denied) + len(then.decisions)
    return f"{symbols} symbols, {signals} signals, {decisions} decisions, {len(then.orders)} orders"


def _told(found: Sequence[str]) -> str:
    return f"{len(found)} differences" if found else "no difference"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev replay",
        description="Decides a cycle that ran once more, from what was kept of it.",
        epilog="Exit status: 0 no difference, 1 differences, 2 it cannot be decided again.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--cycle", required=True, metavar="ID", help=f"of the cycle, or `{LAST}`")
    add("--config", metavar="FILE", help="the deployment's configuration")
    add("--data-dir", metavar="FOLDER", help="where its ledger is (default: as configured)")
    add(
        "--signals",
        choices=("judged", "stored"),
        default="judged",
        help="judged (default): by the strategies here, where all of them are known; "
        "stored: as the strategy engine gave them, for one of your own",
    )
    return parser
