"""Brings the configured ledger to the schema of this program: `python -m launcher.migrate`."""

from __future__ import annotations

import sys

from engine.config_source import load_settings
from engine.errors import ConfigError, LedgerUnavailable
from launcher.resolve import prepare_ledger


def main() -> int:
    """Exit status 0, or 1 with one line for each fault."""
    try:
        shown = prepare_ledger(load_settings())
    except ConfigError as error:
        sys.stderr.write("".join(f"migrate: {fault}\n" for fault in error.faults))
        return 1
    except LedgerUnavailable as error:
        sys.stderr.write(f"migrate: {error}\n")
        return 1
    sys.stdout.write(f"migrate: {shown} is up to date\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
