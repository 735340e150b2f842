"""Checks the invariants I1 to I12: `python -m launcher.audit [--data-dir FOLDER]`.

Without a folder the services of the configuration are asked over HTTP, with one the files of the
reference services are read, for a deployment that is stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from engine.audit import service_books
from engine.audit.books import Books
from engine.audit.checks import check
from engine.audit.ledger_book import known_orders, read_ledger
from engine.bootstrap import build_transports
from engine.clients.execution import HttpExecution
from engine.clients.portfolio import HttpPortfolio
from engine.config_source import load_settings
from engine.connections import redis_client
from engine.errors import ConfigError, LedgerUnavailable, ServiceError
from engine.ledger.ledger import FILE_NAME, SqlLedger, open_ledger
from engine.redis_link import RedisLink
from engine.settings import Settings
from engine.wall_clock import WallClock
from launcher import audit_files

CLEAN, BREACH, UNREADABLE = 0, 1, 2


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """A line for each invariant. 0: all hold; 1: a breach; 2: something could not be read."""
    parser = argparse.ArgumentParser(
        prog="./dev audit", description="Checks ledger, execution service and portfolio."
    )
    parser.add_argument(
        "--data-dir", metavar="FOLDER", help="read the files of a deployment that is stopped"
    )
    folder = parser.parse_args(arguments).data_dir
    try:
        settings = load_settings({**environ, **({"DATA_DIR": folder} if folder else {})})
        lines = check(read_books(settings, from_files=folder is not None))
    except ConfigError as error:
        return _unreadable(error.faults)
    except (LedgerUnavailable, ServiceError) as error:
        hint = "" if folder else "; is it running? Of what is stopped: --data-dir FOLDER"
        return _unreadable([f"{error}{hint}"])
    for line in lines:
        sys.stdout.write(f"{line.text()}\n")
    return CLEAN if all(line.ok for line in lines) else BREACH


def _unreadable(reasons: Sequence[str]) -> int:
    sys.stderr.writelines(f"audit: {reason}\n" for reason in reasons)
    return UNREADABLE


def read_books(settings: Settings, *, from_files: bool) -> Books:
    """All three stores, the portfolio first.

    Raises ConfigError, LedgerUnavailable and ServiceError.
    """
    path = Path(settings.data_dir) / FILE_NAME
    if not settings.ledger.url and not path.exists():
        raise ConfigError([f"{path}: there is no ledger; name its folder: --data-dir FOLDER"])
    ledger = open_ledger(settings)
    try:
        return _from_files(settings, ledger) if from_files else _over_http(settings, ledger)
    finally:
        ledger.dispose()


def _from_files(settings: Settings, ledger: SqlLedger) -> Books:
    folder = Path(settings.data_dir)
    account = audit_files.read_account(folder)
    book = read_ledger(ledger, None)
    venue = audit_files.read_venue(folder)
    return Books(
        ledger=book,
        venue=venue,
        account=account,
        known=known_orders(ledger),
        max_fee=settings.risk.max_fee,
    )


def _over_http(settings: Settings, ledger: SqlLedger) -> Books:
    transports = build_transports(settings, WallClock(), RedisLink(redis_client(settings)))
    portfolio = HttpPortfolio(transports["portfolio"], settings.trading_engine.account)
    account = service_books.read_account(portfolio)
    book = read_ledger(ledger, datetime.now(UTC))
    venue = service_books.read_venue(HttpExecution(transports["execution"]), book.orders)
    return Books(
        ledger=book,
        venue=venue,
        account=account,
        known=known_orders(ledger),
        max_fee=settings.risk.max_fee,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
