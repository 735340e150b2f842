"""Checks over several settings at once; each fault is one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from engine import failpoints
from engine.config_faults import Origins, named, shown
from engine.config_keys import LEAVES, Path
from engine.service_settings import SERVICES
from engine.settings import Settings

_HTTP = ("http", "https")
_REDIS = ("redis", "rediss", "unix")
_LEDGER = ("sqlite", "postgresql")


def split_address(url: str) -> SplitResult | None:
    """An address in its parts; None when it is none."""
    try:
        parts = urlsplit(url)
        # The port is read only when it is asked for.
        _ = parts.port
    except ValueError:
        return None
    return parts


def address_faults(settings: Settings, origins: Origins) -> list[str]:
    """Every address that is set must be one of a kind that can be reached."""
    return [
        f"{named(path, origins)}: was {shown(path, url)}; allowed: an address of the form {form}"
        for path, url, schemes, form in _addresses(settings)
        if url and not _is_address(url, schemes)
    ]


def _addresses(settings: Settings) -> Iterator[tuple[Path, str, tuple[str, ...], str]]:
    for name in SERVICES:
        url = settings.services.named(name).url
        yield ("services", name, "url"), url, _HTTP, "http://host:port"
    for webhook in settings.services.monitoring.webhooks:
        yield ("services", "monitoring", "webhooks"), webhook.url, _HTTP, "https://host/path"
    yield ("redis", "url"), settings.redis.url, _REDIS, "redis://host:port/0"
    forms = "sqlite:///file or postgresql+psycopg://user:password@host/database"
    yield ("ledger", "url"), settings.ledger.url, _LEDGER, forms


def _is_address(url: str, schemes: tuple[str, ...]) -> bool:
    parts = split_address(url)
    if parts is None or parts.scheme.partition("+")[0] not in schemes:
        return False
    return bool(parts.hostname) or parts.scheme.partition("+")[0] in {"sqlite", "unix"}


def port_faults(settings: Settings) -> list[str]:
    """Two servers of this deployment cannot listen on one port."""
    ports = {"trading_engine.port": settings.trading_engine.port}
    ports |= {
        f"services.{name}.port": settings.services.named(name).port
        for name in SERVICES
        if not settings.services.named(name).url
    }
    if settings.flower.enabled:
        ports["flower.port"] = settings.flower.port
    faults: list[str] = []
    seen: dict[int, str] = {}
    for key, port in ports.items():
        if port and port in seen:
            faults.append(f"{key}: was {port}; allowed: a port other than that of {seen[port]}")
        seen.setdefault(port, key)
    return faults


def live_faults(settings: Settings, data: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Real money needs the operator's word for it, every limit in writing, and real services."""
    engine, services = settings.trading_engine, settings.services
    faults = [
        f"{'.'.join(path)}: must be set explicitly for mode live"
        for path in LEAVES
        if _is_limit(path) and not _is_set(data, path)
    ]
    if environ.get("LIVE_ACK") != engine.account:
        faults.append(
            f'trading_engine.mode: was "live"; allowed with LIVE_ACK={engine.account} '
            "in the environment only"
        )
    if not services.market_data.url and services.market_data.feed != "ccxt":
        faults.append(
            f'services.market_data.feed: was "{services.market_data.feed}"; '
            "allowed for mode live: ccxt, or the url of a live service"
        )
    if not services.execution.url:
        faults.append(
            'services.execution.url: was ""; allowed for mode live: the address of your own '
            "execution service (the reference service trades on paper)"
        )
    return faults + failpoints.live_faults(environ)


def _is_limit(path: Path) -> bool:
    return path[0] == "risk" or path in {
        ("trading_engine", "max_risk_per_trade"),
        ("trading_engine", "max_position_size_pct"),
    }


def _is_set(data: Any, path: Path) -> bool:
    for part in path:
        if not isinstance(data, dict) or part not in data:
            return False
        data = data[part]
    return True
