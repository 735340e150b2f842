"""`config check`: the configuration of this machine, read as a start would read it."""

from __future__ import annotations

from collections.abc import Mapping

from command_line.verbs import DONE, REFUSED, Said
from engine.config_source import config_hash, load_settings
from engine.errors import ConfigError


def check(environ: Mapping[str, str], file: str | None) -> Said:
    """The hash of what would be in force, or one line a fault and status 1."""
    try:
        settings = load_settings(environ, file)
    except ConfigError as error:
        return Said({"valid": False, "faults": error.faults}, list(error.faults), REFUSED)
    known = config_hash(settings)
    engine = settings.trading_engine
    line = f"sound  {known}  account {engine.account}, {engine.mode}, "
    line += f"a cycle every {engine.cycle_interval:g} s"
    return Said({"valid": True, "faults": [], "config_hash": known}, [line], DONE)
