"""Command-line options of the launcher, handed on to every part through the environment."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What was asked for. `environment` holds settings under their environment names."""

    environment: dict[str, str] = field(default_factory=dict)
    quiet: bool = False
    make_key: bool = False


def parse(arguments: Sequence[str]) -> Options:
    """Options from the command line; prints help or a fault and raises SystemExit as argparse."""
    given = _parser().parse_args(arguments)
    named = {
        "CONFIG_FILE": _absolute(given.config),
        "TRADING_ENGINE__CYCLE_INTERVAL": given.interval,
        "TRADING_ENGINE__HOST": given.host,
        "TRADING_ENGINE__PORT": given.port,
        "DATA_DIR": _absolute(given.data_dir),
        "SERVICES__MARKET_DATA__SYMBOLS": given.symbols,
    }
    environment = {name: value for name, value in named.items() if value is not None}
    return Options(environment=environment, quiet=given.quiet, make_key=given.make_key)


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="app.py",
        description="Runs the whole trading engine on this machine. Ctrl-C stops it.",
        epilog="Any key of config.yaml can be set from the environment as well: "
        "TRADING_ENGINE__BATCH_SIZE=50.",
    )
    add = parser.add_argument
    add("--interval", metavar="SECONDS", help="seconds from cycle to cycle (at least 5)")
    add("--config", metavar="FILE", help="settings, instead of config.yaml")
    add("--host", metavar="ADDRESS", help="where the API listens; off loopback it needs a key")
    add("--port", metavar="PORT", help="port of the API; 0 takes a free one")
    add("--data-dir", metavar="FOLDER", help="where account, ledger and logs are kept")
    add("--symbols", metavar="COUNT", help="how many symbols the simulated market has")
    add("--quiet", action="store_true", help="no line for each cycle; only warnings and errors")
    add(
        "--make-key",
        action="store_true",
        help="without a configured API key, make one, keep it in the data folder and print it",
    )
    return parser
