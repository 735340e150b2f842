"""Copies what outlives a run, while it runs: `python -m launcher.backup FOLDER`.

Files of SQLite only; a ledger in PostgreSQL is copied by its own tools. The ledger is copied
first and the execution service's file last: a copied ledger that lags behind a copied log catches
up, the other way round would be an execution log that lost what the ledger knows.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.config_source import load_settings
from engine.errors import ConfigError

IN_ORDER = ("ledger", "market_clock", "monitoring", "portfolio", "execution")
PRIVATE = 0o700


def copy(source: Path, target: Path) -> list[str]:
    """Copies each file that is there; their names. Raises ConfigError, or sqlite3.Error."""
    if target.exists() and any(target.iterdir()):
        raise ConfigError([f"{target} is not empty: name a new folder for each copy"])
    names = [f"{name}.sqlite" for name in IN_ORDER if (source / f"{name}.sqlite").exists()]
    if not names:
        raise ConfigError([f"data_dir: {source} holds nothing to copy"])
    target.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    for name in names:
        _copy_database(source / name, target / name)
    return names


def _copy_database(source: Path, target: Path) -> None:
    """One state of the database, whoever writes meanwhile; it is read back once."""
    reading = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
    writing = sqlite3.connect(target)
    try:
        reading.backup(writing)
        verdict = writing.execute("pragma integrity_check").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"{source.name}: {verdict}")
    finally:
        writing.close()
        reading.close()


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Exit status 0, or 1 with one line."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: ./dev backup FOLDER\n")
        return 2
    target = Path(arguments[0])
    try:
        names = copy(Path(load_settings(environ).data_dir), target)
    except ConfigError as error:
        sys.stderr.writelines(f"backup: {fault}\n" for fault in error.faults)
        return 1
    except (sqlite3.Error, OSError) as error:
        sys.stderr.write(f"backup: {error}\n")
        return 1
    sys.stdout.write(f"{target}: {', '.join(names)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
