"""Checks the ledger's invariants: `python -m launcher.audit [--data-dir FOLDER]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from engine.config_source import load_settings
from engine.errors import ConfigError, LedgerUnavailable
from engine.ledger.audit import audit
from engine.ledger.ledger import FILE_NAME, open_ledger
from engine.settings import Settings


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Exit status 0 when every invariant holds, 1 with a line for each finding or fault."""
    parser = argparse.ArgumentParser(
        prog="./dev audit", description="Checks the ledger's invariants."
    )
    parser.add_argument("--data-dir", metavar="FOLDER", help="whose ledger to check")
    folder = parser.parse_args(arguments).data_dir
    try:
        settings = load_settings({**environ, **({"DATA_DIR": folder} if folder else {})})
        findings = _findings(settings)
    except ConfigError as error:
        findings = error.faults
    except LedgerUnavailable as error:
        findings = [str(error)]
    for line in findings:
        sys.stderr.write(f"audit: {line}\n")
    if not findings:
        sys.stdout.write("audit: every invariant holds\n")
    return 1 if findings else 0


def _findings(settings: Settings) -> list[str]:
    path = Path(settings.data_dir) / FILE_NAME
    if not settings.ledger.url and not path.exists():
        return [f"{path}: there is no ledger; name another folder: --data-dir FOLDER"]
    ledger = open_ledger(settings)
    try:
        found = audit(ledger, datetime.now(UTC))
    finally:
        ledger.dispose()
    return [f"{one.invariant} broken by {one.subject}: {one.detail}" for one in found]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
