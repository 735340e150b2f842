"""What the configuration leaves open, decided once for all parts of a run."""

from __future__ import annotations

from pathlib import Path

from engine.errors import ConfigError
from engine.settings import Settings
from launcher import ports
from launcher.components import local_services
from launcher.data_folder import DataFolder


def open_ports(settings: Settings) -> dict[str, str]:
    """Environment that gives every part with port 0 a free one."""
    open_ones = {"TRADING_ENGINE__PORT": settings.trading_engine.port}
    for name in local_services(settings):
        open_ones[f"SERVICES__{name.upper()}__PORT"] = settings.services.named(name).port
    if settings.flower.enabled:
        open_ones["FLOWER__PORT"] = settings.flower.port
    names = [name for name, port in open_ones.items() if port == 0]
    return dict(zip(names, map(str, ports.free_ports(len(names))), strict=True))


def api_environment(settings: Settings, data: DataFolder, *, make_key: bool) -> dict[str, str]:
    """Environment with the key that is kept in the data folder, when one is to be made.

    Raises ConfigError when keys of a file are configured: those are not ours to add to.
    """
    if not make_key or settings.api.key.get_secret_value():
        return {}
    if settings.api.keys_file:
        raise ConfigError(["--make-key: api.keys_file names the keys already; leave one of both"])
    return {"TRADING_ENGINE_API_KEY": data.secret("api_key")}


def prepare_ledger(settings: Settings) -> str:
    """Creates or upgrades the ledger; its address as it may be shown, without credentials.

    Raises ConfigError and LedgerUnavailable as `open_ledger` does.
    """
    # half a second of imports, after the first line is printed
    from engine.ledger.ledger import FILE_NAME, open_ledger  # noqa: PLC0415

    open_ledger(settings).dispose()
    if settings.ledger.url:
        return settings.ledger.url.rpartition("//")[2].rpartition("@")[2].partition("?")[0]
    return str(Path(settings.data_dir) / FILE_NAME)
